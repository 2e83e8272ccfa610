"""
What a plan would charge: the engine's own invoice draft, for usage that somebody merely thought of.

Pure: nothing is read and nothing is stored. Golden examples and estimates pass through here and through the same engine
as invoices do, so neither can disagree with an invoice. Totals are before tax, because a tax needs a customer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine.charge_models import NO_BASIS, ChargeTerms, Measured
from apps.engine.commitments import CommitmentTerms, minimum_part_minor
from apps.engine.errors import InvalidPeriod
from apps.engine.exact import Rounding
from apps.engine.explain import explain_line
from apps.engine.invoice_draft import ChargeInput, DraftFacts, InvoiceDraft, build_invoice_draft
from apps.engine.money import minor_to_text
from apps.engine.periods import Interval, Period, anchor_at, period_containing
from apps.engine.proration import ProrationMode, proration_factor
from apps.plans.documents.canonical import CanonicalPlan
from apps.plans.documents.usage_by_hand import NO_USAGE, UsageByHand, measure

_ONE: Final = Decimal(1)
_WHOLE: Final = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedOffer:
    """What is to be priced: charges with the currency, rounding, interval and commitments they belong to."""

    code: str
    version: int
    currency: str
    rounding: Rounding
    interval: Interval
    charges: tuple[ChargeTerms, ...]
    proration: str = ProrationMode.BY_SECOND
    minimum_commitment_minor: int | None = None
    commitment: CommitmentTerms | None = None

    @classmethod
    def of_plan(cls, plan: CanonicalPlan, *, version: int = 0) -> "PricedOffer":
        """Return what a pricing document offers."""
        return cls(
            code=plan.code,
            version=version,
            currency=plan.currency,
            rounding=plan.rounding,
            interval=plan.interval,
            charges=plan.charges,
            proration=plan.proration,
            minimum_commitment_minor=plan.minimum_commitment_minor,
            commitment=plan.commitment,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The time that is priced, and which part of a whole period it is."""

    period: Period
    factor: Fraction = _WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleMismatch:
    """A golden example that does not come out; totals in minor units, before tax."""

    position: int
    name: str
    expected_minor: int
    actual_minor: int


def whole_period(*, interval: Interval, at: datetime) -> Served:
    """Return the whole period that begins at an instant."""
    anchor = anchor_at(kind="anniversary", starts_at=at.astimezone(UTC), timezone="UTC")
    return Served(period=period_containing(anchor=anchor, interval=interval, at=at))


def part_of_period(*, offer: PricedOffer, starts_at: datetime, ends_at: datetime) -> Served:
    """
    Return a part of the whole period that begins with it, and which part it is; days are those of UTC.

    :raises InvalidPeriod: if it is empty, or longer than a whole period
    """
    whole = whole_period(interval=offer.interval, at=starts_at).period
    served = Period(starts_at.astimezone(UTC), ends_at.astimezone(UTC))
    if served.ends_at > whole.ends_at:
        raise InvalidPeriod(
            f"must end by {whole.ends_at.isoformat()}, where a whole period ends; price longer times period by period",
            path="period.ends_at",
        )
    factor = proration_factor(served=served, full=whole, mode=offer.proration, timezone="UTC")
    return Served(period=served, factor=factor)


def measures_by_hand(*, charges: Iterable[ChargeTerms], usage: Mapping[str, UsageByHand]) -> dict[str, Measured]:
    """
    Return quantity and basis by charge code; a meter without usage counts zero.

    :raises InvalidTerms: if a charge needs usage written in another way
    :raises UnitsOutOfRange: if a value cannot be priced
    """
    return {
        terms.code: measure(usage=usage.get(terms.meter or terms.code, NO_USAGE), terms=terms)
        for terms in charges
        if terms.is_metered
    }


def offer_draft(
    *, offer: PricedOffer, measures: Mapping[str, Measured], served: Served, quantity: Decimal = _ONE
) -> InvoiceDraft:
    """
    Return the draft of a period, with all fees of the period and its usage; amounts in minor units.

    :param measures: quantity and basis by charge code, for every metered charge
    :param quantity: of the subscription, such as its seats
    :raises EngineError: if a quantity cannot be priced
    """
    inputs = []
    for terms in offer.charges:
        fixed = (quantity if terms.per_quantity else _ONE, NO_BASIS)
        units, basis = measures[terms.code] if terms.is_metered else fixed
        # What an event cost when it was billed stays, however its period ends.
        factor = _WHOLE if terms.is_metered and terms.timing == "advance" else served.factor
        inputs.append(ChargeInput(terms=terms, quantity=units, basis=basis, factor=factor))
    minimum_minor = offer.minimum_commitment_minor
    if minimum_minor is not None:
        minimum_minor = minimum_part_minor(whole_minor=minimum_minor, factor=served.factor)
    return build_invoice_draft(
        facts=DraftFacts(
            currency=offer.currency,
            rounding=offer.rounding,
            period=served.period,
            charges=tuple(inputs),
            plan_code=offer.code,
            plan_version=offer.version,
            minimum_commitment_minor=minimum_minor,
            commitment=offer.commitment,
            commitment_factor=served.factor,
        )
    )


def examples_mismatched(*, plan: CanonicalPlan) -> list[ExampleMismatch]:
    """Return the golden examples of a plan that do not come out as they say."""
    offer = PricedOffer.of_plan(plan)
    served = whole_period(interval=offer.interval, at=plan.effective_at)
    mismatches = []
    for position, example in enumerate(plan.examples):
        measures = measures_by_hand(charges=offer.charges, usage=example.usage)
        draft = offer_draft(offer=offer, measures=measures, served=served, quantity=example.quantity)
        if draft.subtotal_minor != example.total_minor:
            mismatches.append(
                ExampleMismatch(
                    position=position,
                    name=example.name,
                    expected_minor=example.total_minor,
                    actual_minor=draft.subtotal_minor,
                )
            )
    return mismatches


def estimate_document(*, draft: InvoiceDraft) -> dict[str, Any]:
    """Return a draft as JSON: amounts as decimal strings in major units, each line with its explanation."""
    return {
        "currency": draft.currency,
        "period": draft.period.to_document(),
        "lines": [
            {
                "code": line.code,
                "kind": line.kind,
                "description": line.description,
                "quantity": line.decision["quantity"],
                "unit": line.unit,
                "net": _money(line.net_minor, draft.currency),
                "explanation": explain_line(decision=line.decision, recomputed=None).to_document(),
            }
            for line in draft.lines
        ],
        "total": _money(draft.subtotal_minor, draft.currency),
        "is_before_tax": True,
        "hash": draft.hash,
    }


def meters_of(*, charges: Iterable[ChargeTerms]) -> frozenset[str]:
    """Return the codes of the meters that charges are on."""
    return frozenset(terms.meter for terms in charges if terms.meter)


def _money(minor: int, currency: str) -> dict[str, str]:
    return {"amount": minor_to_text(minor, currency), "currency": currency}
