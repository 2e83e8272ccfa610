"""
Rating: from terms and a quantity to an amount that explains itself.

Rules: the modifiers act in this order: unit transform, included units, price, discount, maximum, minimum. Everything
before the last line is exact; the amount is rounded once, to the currency's minor unit, with the rounding that was
named. No clock, no chance: the same inputs give the same line, the same steps and the same two hashes, today and in ten
years.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from apps.engine.charge_models.basis import NO_BASIS, Basis, BasisNeed, basis_needed, empty_basis
from apps.engine.charge_models.billable import WHOLE, billable_parts, billable_units
from apps.engine.charge_models.line_steps import adjustments, line_steps
from apps.engine.charge_models.registry import CHARGE_MODELS
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.charge_models.writing import canonical_text
from apps.engine.errors import UnitsOutOfRange
from apps.engine.exact import Ratio, Rounding, decimal_text, fraction_text
from apps.engine.hashing import canonical_json, plain_json, text_hash
from apps.engine.money import minor_to_text, round_ratio_to_minor

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
    basis: Basis = NO_BASIS

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
        parts = billable_parts(self.terms, self.quantity, self.factor, self.basis)
        return sum((Fraction(*part.billable.units) for part in parts), Fraction(0))

    @property
    def steps(self) -> tuple[RatedStep, ...]:
        """How the exact amount came about; the amounts of the steps sum to it."""
        return tuple(line_steps(self.terms, self.quantity, self.factor, self.basis))

    @property
    def input_hash(self) -> str:
        """The hash of everything that rating was given."""
        # The canonical JSON of the five or six inputs, put together by hand: none but the terms, whose text is kept,
        # holds anything that JSON would have to escape.
        basis = "" if not self.terms.needs_basis else f'"basis":{canonical_json(self.basis.to_document())},'
        return text_hash(
            f'{{{basis}"currency":"{self.currency}","factor":"{fraction_text(self.factor)}",'
            f'"quantity":"{decimal_text(self.quantity)}","rounding":"{self.rounding.value}",'
            f'"terms":{canonical_text(self.terms)}}}'
        )

    @property
    def output_hash(self) -> str:
        """The hash of everything that rating answered."""
        return text_hash(plain_json(self._answer()))

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

    def _answer(self) -> dict[str, Any]:
        return {
            "billable_quantity": text_of(self.billable_quantity.as_integer_ratio()),
            "amount_exact": text_of(self.amount_exact_ratio),
            "amount_minor": str(self.amount_minor),
            "currency": self.currency,
            "steps": [step.to_document() for step in self.steps],
        }


def rate_charge(
    *,
    terms: ChargeTerms,
    quantity: Decimal,
    currency: str,
    rounding: Rounding,
    factor: Fraction = WHOLE,
    basis: Basis = NO_BASIS,
) -> RatedLine:
    """
    Price a quantity on the terms of a charge; the amount is rounded once, to minor units of the currency.

    `factor` is the served part of the period: a flat amount shrinks with it, and so do included units, minimum and
    maximum of a charge whose terms say `prorate: true`. `basis` is what `basis_needed` names; nothing measured (a
    quantity of zero) needs none.

    :raises UnitsOutOfRange: if the quantity is below zero or too large, the factor is not from 0 to 1, or the basis is
        not the one that the terms need
    :raises CurrencyUnknown: if the currency is missing or not on the ISO list, even when the amount is zero
    """
    ensure_priceable_inputs(quantity, factor)
    if basis is not NO_BASIS or terms.needs_basis:
        basis = _checked_basis(terms, quantity, basis)
    amount = exact_amount(terms, quantity, factor, basis)
    return RatedLine(
        terms=terms,
        quantity=quantity,
        currency=currency,
        rounding=rounding,
        factor=factor,
        amount_exact_ratio=amount,
        amount_minor=round_ratio_to_minor(*amount, currency=currency, rounding=rounding),
        basis=basis,
    )


def ensure_priceable_inputs(quantity: Decimal, factor: Fraction) -> None:
    """
    Check that a quantity is one, and that the factor is a part of a period.

    :raises UnitsOutOfRange: naming which of the two is not
    """
    if not quantity.is_finite() or not 0 <= quantity <= UNITS_MAX:
        raise UnitsOutOfRange(
            f"{quantity} units cannot be priced; correct the usage so that it lies from 0 to 10^30", path="quantity"
        )
    if factor is not WHOLE and not 0 <= factor <= 1:
        raise UnitsOutOfRange(f"{factor} is not a part of a period; it lies from 0 to 1", path="factor")


def exact_amount(terms: ChargeTerms, quantity: Decimal, factor: Fraction, basis: Basis) -> Ratio:
    """Return the amount in major units before it is rounded, of inputs that were checked."""
    if terms.prices_by is None:
        amount = CHARGE_MODELS[terms.model].price(terms, billable_units(terms, quantity, factor, basis))
    else:
        priced = (
            Fraction(*CHARGE_MODELS[part.terms.model].price(part.terms, part.billable))
            for part in billable_parts(terms, quantity, factor, basis)
        )
        amount = sum(priced, Fraction(0)).as_integer_ratio()
    changes = tuple(adjustments(terms, amount, factor))
    return changes[-1][1] if changes else amount


def _checked_basis(terms: ChargeTerms, quantity: Decimal, basis: Basis) -> Basis:
    """Return the basis as the terms need it; the empty one of a quantity of zero is filled in."""
    need = basis_needed(terms)
    given = {name for name in ("units_by_cell", "amount", "events") if getattr(basis, name) is not None}
    wanted = {BasisNeed.EVENT_VALUES: "events"}.get(need, need.value)
    if given - {wanted}:
        raise UnitsOutOfRange(f"must not have {', '.join(sorted(given - {wanted}))}; remove it", path="basis")
    if need is BasisNeed.NOTHING:
        return NO_BASIS
    if not given and quantity == 0:
        return empty_basis(terms)
    if not given:
        raise UnitsOutOfRange(f'must have {wanted} to price "{terms.code}"; read it from the events', path="basis")
    _ensure_priceable(terms, basis)
    return basis


def _ensure_priceable(terms: ChargeTerms, basis: Basis) -> None:
    cells = 0 if terms.prices_by is None else len(terms.prices_by.cells)
    if basis.units_by_cell is not None and len(basis.units_by_cell) != cells:
        raise UnitsOutOfRange(
            f"has {len(basis.units_by_cell)} cells and the terms {cells}; fold the events with these terms",
            path="basis.units_by_cell",
        )
    for name, value in (("amount", basis.amount), *(("units_by_cell", units) for units in basis.units_by_cell or ())):
        if value is not None and not (value.is_finite() and 0 <= value <= UNITS_MAX):
            raise UnitsOutOfRange(
                f"{value} cannot be priced; correct the usage so that it lies from 0 to 10^30", path=f"basis.{name}"
            )
