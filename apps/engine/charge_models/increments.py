"""
What one more event costs, for charges that are billed when it happens.

Rules: the price with the event less the price without it, each rounded as a line of its own, so that the increments of
a period sum to the price of the period, to the minor unit. Before the first event nothing was billed, so the first one
also carries what is due from zero units on.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from apps.engine.charge_models.basis import Basis
from apps.engine.charge_models.billable import WHOLE
from apps.engine.charge_models.rating import RatedLine, rate_charge
from apps.engine.charge_models.steps import RatedStep
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.errors import InvalidTerms
from apps.engine.exact import Rounding, decimal_text
from apps.engine.hashing import canonical_hash
from apps.engine.money import minor_to_text

# The quantity of a period up to some event, and what else rating needs of those events.
Measured = tuple[Decimal, Basis]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedIncrement:
    """The price of what happened between two states of a period: `after` includes the event, `before` does not."""

    before: RatedLine | None  # None: nothing was billed before
    after: RatedLine

    @property
    def terms(self) -> ChargeTerms:
        """The terms of the charge."""
        return self.after.terms

    @property
    def code(self) -> str:
        """The code of the charge."""
        return self.after.code

    @property
    def model(self) -> str:
        """The name of the charge model."""
        return self.after.model

    @property
    def currency(self) -> str:
        """The currency of the amount."""
        return self.after.currency

    @property
    def rounding(self) -> Rounding:
        """How both prices were rounded."""
        return self.after.rounding

    @property
    def factor(self) -> Fraction:
        """The served part of the period."""
        return self.after.factor

    @property
    def quantity(self) -> Decimal:
        """The quantity of the period with the event; a decision stores it beside the one without."""
        return self.after.quantity

    @property
    def basis(self) -> Basis:
        """The basis of the period with the event."""
        return self.after.basis

    @property
    def billable_quantity(self) -> Fraction:
        """How many more units are billed."""
        return self.after.billable_quantity - (self.before.billable_quantity if self.before else 0)

    @property
    def amount_minor(self) -> int:
        """The price with the event less the price without it, in minor units."""
        return self.after.amount_minor - (self.before.amount_minor if self.before else 0)

    @property
    def amount_exact(self) -> Fraction:
        """The same in major units: both prices were rounded, so nothing is left to round."""
        return Fraction(minor_to_text(self.amount_minor, self.currency))

    @property
    def steps(self) -> tuple[RatedStep, ...]:
        """The price with the event, and the price without it, which is taken off."""
        steps = [_cumulative_step("with_event", self.after, self.after.amount_minor)]
        if self.before is not None:
            steps.append(_cumulative_step("without_event", self.before, -self.before.amount_minor))
        return tuple(steps)

    @property
    def input_hash(self) -> str:
        """The hash of everything that rating was given, both times."""
        return canonical_hash(
            {"before": self.before.input_hash if self.before else None, "after": self.after.input_hash}
        )

    @property
    def output_hash(self) -> str:
        """The hash of everything that rating answered, both times."""
        return canonical_hash(
            {
                "before": self.before.output_hash if self.before else None,
                "after": self.after.output_hash,
                "amount_minor": str(self.amount_minor),
            }
        )

    def to_document(self) -> dict[str, Any]:
        """Return the increment as JSON with text only."""
        return {
            "before": None if self.before is None else self.before.to_document(),
            "after": self.after.to_document(),
            "amount_minor": str(self.amount_minor),
            "amount": minor_to_text(self.amount_minor, self.currency),
            "input_hash": self.input_hash,
            "output_hash": self.output_hash,
        }


Rated = RatedLine | RatedIncrement


def rate_increment(
    *,
    terms: ChargeTerms,
    before: Measured | None,
    after: Measured,
    currency: str,
    rounding: Rounding,
    factor: Fraction = WHOLE,
) -> RatedIncrement:
    """
    Price what happened between two states of a period, each a quantity with its basis; `before` is None at first.

    :raises InvalidTerms: if the charge is not billed per event (a metered one with `timing: advance` is)
    :raises UnitsOutOfRange: as `rate_charge`
    """
    if not (terms.is_metered and terms.timing == "advance"):
        raise InvalidTerms('must be "advance" on a metered charge to bill each event', path="timing")

    def rated(measured: Measured) -> RatedLine:
        """Rate one of the two states."""
        quantity, basis = measured
        return rate_charge(
            terms=terms, quantity=quantity, currency=currency, rounding=rounding, factor=factor, basis=basis
        )

    return RatedIncrement(before=None if before is None else rated(before), after=rated(after))


def _cumulative_step(kind: Literal["with_event", "without_event"], line: RatedLine, amount_minor: int) -> RatedStep:
    amount = decimal_text(Decimal(minor_to_text(amount_minor, line.currency)))
    return RatedStep(kind=kind, units=decimal_text(line.quantity), amount=amount)
