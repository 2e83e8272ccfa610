"""
Percentage: a part of the value of each event, plus a fixed fee per event.

Rules: value x rate + fixed fee, held between the minimum and the maximum per event, summed over the events that are not
free. Which those are, and which were clamped, `basis.fold_events` finds out; from its totals the sum is exact.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from apps.engine.charge_models.basis import EventTotals
from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ZERO, ChargeTerms
from apps.engine.exact import Ratio, decimal_text


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    totals = _totals(billable)
    amount = (
        _plain_amount(terms, totals)
        + totals.events_at_minimum * Fraction(terms.min_per_event or ZERO)
        + totals.events_at_maximum * Fraction(terms.max_per_event or ZERO)
    )
    return amount.as_integer_ratio()


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield what was free, then the events charged plainly, then those held at the minimum and at the maximum."""
    totals = _totals(billable)
    assert terms.rate_percent is not None  # noqa: S101  # the terms require it; this line is for the type checker
    if totals.free_events or totals.free_value:
        yield RatedStep(
            kind="free_events", count=str(totals.free_events), units=decimal_text(totals.free_value), amount="0"
        )
    yield RatedStep(
        kind="events",
        count=str(totals.charged_events),
        units=decimal_text(totals.charged_value),
        percent=decimal_text(terms.rate_percent),
        flat_fee=decimal_text(terms.fixed_fee),
        amount=text_of(_plain_amount(terms, totals).as_integer_ratio()),
    )
    if totals.events_at_minimum:
        yield _clamped("events_at_minimum", totals.events_at_minimum, terms.min_per_event)
    if totals.events_at_maximum:
        yield _clamped("events_at_maximum", totals.events_at_maximum, terms.max_per_event)


def _plain_amount(terms: ChargeTerms, totals: EventTotals) -> Fraction:
    assert terms.rate_percent is not None  # noqa: S101
    by_value = Fraction(totals.charged_value) * Fraction(terms.rate_percent)
    return Fraction(by_value, 100) + totals.charged_events * Fraction(terms.fixed_fee)


def _clamped(kind: Literal["events_at_minimum", "events_at_maximum"], count: int, limit: Decimal | None) -> RatedStep:
    assert limit is not None  # noqa: S101  # no event is held at a limit that the terms do not have
    return RatedStep(
        kind=kind,
        count=str(count),
        rate=decimal_text(limit),
        amount=text_of((count * Fraction(limit)).as_integer_ratio()),
    )


def _totals(billable: BillableUnits) -> EventTotals:
    return billable.basis.events or EventTotals()
