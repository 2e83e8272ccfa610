"""
Rating: from terms and a quantity to an amount that explains itself.

Rules: the modifiers act in this order: included units, price, maximum, minimum. Everything before the last line is
exact; the amount is rounded once, to the currency's minor unit, with the rounding that was named. No clock, no chance:
the same inputs give the same line, the same steps and the same two hashes, today and in ten years.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine.charge_models.billable import BillableUnits, billable_units
from apps.engine.charge_models.registry import CHARGE_MODELS
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms, charge_to_document
from apps.engine.errors import UnitsOutOfRange
from apps.engine.exact import Ratio, Rounding, decimal_text, fraction_text
from apps.engine.hashing import canonical_hash
from apps.engine.money import minor_to_text, round_ratio_to_minor

WHOLE: Final = Fraction(1)
UNITS_MAX: Final = Decimal(10) ** 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedLine:
    """
    The result of rating one charge.

    `amount_minor` is in minor units, `amount_exact` in major units before rounding. Steps and hashes are derived on
    request, because a preview of a thousand lines reads neither.
    """

    terms: ChargeTerms
    quantity: Decimal
    currency: str
    rounding: Rounding
    factor: Fraction
    amount_exact_ratio: Ratio
    amount_minor: int

    @property
    def code(self) -> str:
        """The code of the charge."""
        return self.terms.code

    @property
    def model(self) -> str:
        """The name of the charge model."""
        return self.terms.model

    @property
    def amount_exact(self) -> Fraction:
        """The amount in major units before rounding."""
        return Fraction(*self.amount_exact_ratio)

    @property
    def billable_quantity(self) -> Fraction:
        """Units minus included units, never below zero; exact, so not always a finite decimal after proration."""
        return Fraction(*self._billable.units)

    @property
    def steps(self) -> tuple[RatedStep, ...]:
        """How the exact amount came about; the amounts of the steps sum to it."""
        return tuple(_steps(self.terms, self.quantity, self._billable, self.factor))

    @property
    def input_hash(self) -> str:
        """The hash of everything that rating was given."""
        return canonical_hash(
            {
                "terms": charge_to_document(self.terms),
                "quantity": self.quantity,
                "factor": fraction_text(self.factor),
                "currency": self.currency,
                "rounding": self.rounding,
            }
        )

    @property
    def output_hash(self) -> str:
        """The hash of everything that rating answered."""
        return canonical_hash(self._answer())

    def to_document(self) -> dict[str, Any]:
        """Return the line as JSON with text only."""
        return {
            **self._answer(),
            "code": self.code,
            "model": self.model,
            "quantity": decimal_text(self.quantity),
            "factor": fraction_text(self.factor),
            "amount": minor_to_text(self.amount_minor, self.currency),
            "rounding": self.rounding.value,
            "input_hash": self.input_hash,
            "output_hash": self.output_hash,
        }

    @property
    def _billable(self) -> BillableUnits:
        return billable_units(self.terms, self.quantity, self.factor)

    def _answer(self) -> dict[str, Any]:
        return {
            "billable_quantity": text_of(self._billable.units),
            "amount_exact": text_of(self.amount_exact_ratio),
            "amount_minor": str(self.amount_minor),
            "currency": self.currency,
            "steps": [step.to_document() for step in self.steps],
        }


def rate_charge(
    *, terms: ChargeTerms, quantity: Decimal, currency: str, rounding: Rounding, factor: Fraction = WHOLE
) -> RatedLine:
    """
    Price a quantity on the terms of a charge; the amount is rounded once, to minor units of the currency.

    `factor` is the served part of the period: a flat amount shrinks with it, and so do included units, minimum and
    maximum of a charge whose terms say `prorate: true`.

    :raises UnitsOutOfRange: if the quantity is below zero or too large, or the factor is not from 0 to 1
    :raises CurrencyUnknown: if the currency is missing or not on the ISO list, even when the amount is zero
    """
    if not quantity.is_finite() or not 0 <= quantity <= UNITS_MAX:
        raise UnitsOutOfRange(
            f"{quantity} units cannot be priced; correct the usage so that it lies from 0 to 10^30", path="quantity"
        )
    if factor is not WHOLE and not 0 <= factor <= 1:
        raise UnitsOutOfRange(f"{factor} is not a part of a period; it lies from 0 to 1", path="factor")
    priced = CHARGE_MODELS[terms.model].price(terms, billable_units(terms, quantity, factor), factor)
    limits = tuple(_limits(terms, priced, factor))
    amount = limits[-1][1] if limits else priced
    return RatedLine(
        terms=terms,
        quantity=quantity,
        currency=currency,
        rounding=rounding,
        factor=factor,
        amount_exact_ratio=amount,
        amount_minor=round_ratio_to_minor(*amount, currency=currency, rounding=rounding),
    )


def _limits(terms: ChargeTerms, priced: Ratio, factor: Fraction) -> Iterator[tuple[str, Ratio]]:
    """Yield each limit that changed the amount, with the amount it left."""
    amount = priced
    if terms.max_amount is not None:
        maximum = terms.prorated(terms.max_amount, factor)
        if _is_above(amount, maximum):
            amount = maximum
            yield "maximum", amount
    if terms.min_amount is not None:
        minimum = terms.prorated(terms.min_amount, factor)
        if _is_above(minimum, amount):
            yield "minimum", minimum


def _steps(terms: ChargeTerms, quantity: Decimal, billable: BillableUnits, factor: Fraction) -> Iterator[RatedStep]:
    if terms.included_units:
        used = Fraction(quantity) - Fraction(*billable.units)
        yield RatedStep(
            kind="included",
            # Where they lie is said only where it matters: tiers count them, a plain rate does not.
            from_units="0" if terms.tiers else None,
            to_units=text_of((billable.start, billable.denominator)),
            units=text_of(used.as_integer_ratio()),
            rate="0",
            amount="0",
        )
    model = CHARGE_MODELS[terms.model]
    yield from model.steps(terms, billable, factor)
    before = model.price(terms, billable, factor)
    for kind, after in _limits(terms, before, factor):
        difference = Fraction(*after) - Fraction(*before)
        yield RatedStep(
            kind="maximum" if kind == "maximum" else "minimum",
            flat_fee=text_of(after),
            amount=text_of(difference.as_integer_ratio()),
        )
        before = after


def _is_above(left: Ratio, right: Ratio) -> bool:
    return left[0] * right[1] > right[0] * left[1]
