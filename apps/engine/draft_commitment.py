"""
The lines that a commitment adds to a draft.

Rules: a minimum counts everything that is billed for the period, fees and usage; a commitment counts usage at its list
price. Either changes nothing on the lines that it counts: what it gives and takes stands on lines of its own.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from apps.engine.charge_models import ChargeTerms, Rated
from apps.engine.commitments import DISCOUNT_CODE, OVERAGE_CODE, SHORTFALL_CODE, CommitmentLine, commitment_lines
from apps.engine.draft_values import SIGNS, ChargeInput, DraftFacts, Effect
from apps.engine.errors import InvalidDraft
from apps.engine.money import minor_to_text

COMMITMENT_CODES: Final = (DISCOUNT_CODE, OVERAGE_CODE, SHORTFALL_CODE)


def commitment_inputs(*, rated: Iterable[tuple[ChargeInput, Rated]], facts: DraftFacts) -> Iterator[ChargeInput]:
    """
    Yield what tops a period up to its minimum, or what its commitment changes; nothing without either.

    :raises InvalidDraft: if both are given, or the minimum is negative
    """
    if facts.minimum_commitment_minor is not None and facts.commitment is not None:
        raise InvalidDraft("a period has a minimum or a commitment, not both; remove one", path="commitment")
    in_period = [(charge, rating) for charge, rating in rated if _is_in_period(charge, facts)]
    if facts.minimum_commitment_minor is not None:
        yield from _shortfall(facts.minimum_commitment_minor, in_period, facts)
    if facts.commitment is not None:
        lines = commitment_lines(
            terms=facts.commitment,
            counted_minor=sum(_billed_minor(item) for item in in_period if item[0].terms.is_metered),
            billed_before_minor=facts.commitment_billed_before_minor,
            factor=facts.commitment_factor,
            currency=facts.currency,
            rounding=facts.rounding,
        )
        for line in lines:
            yield _input(line, facts)


def _shortfall(
    minimum_minor: int, in_period: Iterable[tuple[ChargeInput, Rated]], facts: DraftFacts
) -> Iterator[ChargeInput]:
    if minimum_minor < 0:
        raise InvalidDraft("must not be below zero", path="minimum_commitment_minor")
    counted_minor = facts.commitment_billed_before_minor + sum(_billed_minor(item) for item in in_period)
    if minimum_minor > counted_minor:
        usage = {"minimum_minor": str(minimum_minor), "counted_minor": str(counted_minor)}
        line = CommitmentLine(
            code=SHORTFALL_CODE,
            description="Minimum commitment",
            amount_minor=minimum_minor - counted_minor,
            usage=usage,
        )
        yield _input(line, facts)


def _input(line: CommitmentLine, facts: DraftFacts) -> ChargeInput:
    terms = ChargeTerms(
        code=line.code,
        model="flat",
        amount=Decimal(minor_to_text(abs(line.amount_minor), facts.currency)),
        prorate=False,
        description=line.description,
    )
    effect: Effect = "bill" if line.amount_minor >= 0 else "credit"
    return ChargeInput(terms=terms, usage=line.usage, tax=facts.commitment_tax, effect=effect)


def _is_in_period(charge: ChargeInput, facts: DraftFacts) -> bool:
    # A fee in advance is for the next period and counts there; an adjustment is for an earlier one.
    if charge.adjusts is not None:
        return False
    return charge.service_period is None or facts.period.contains(charge.service_period.starts_at)


def _billed_minor(item: tuple[ChargeInput, Rated]) -> int:
    charge, rating = item
    return SIGNS[charge.effect] * rating.amount_minor
