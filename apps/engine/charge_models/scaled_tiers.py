"""
Tiers, and the same tiers as whole numbers.

Rules: scaling is exact. All bounds share one denominator and all prices another, so that walking the tiers is
integer arithmetic with one division at the very end.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from apps.engine.exact import Ratio, decimal_text


class TierTexts(NamedTuple):
    """The numbers of a tier as text."""

    up_to: str | None
    rate: str | None
    percent: str | None
    flat_fee: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeTier:
    """A band of units: above the tier before it, up to and including `up_to` (None: without end)."""

    up_to: Decimal | None
    unit_rate: Decimal = Decimal(0)
    flat_fee: Decimal = Decimal(0)
    rate_percent: Decimal | None = None  # instead of the rate, where the units are an amount of money
    # The same four as text, written once: every line that enters the tier shows and hashes them.
    texts: "TierTexts" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = TierTexts(
            up_to=None if self.up_to is None else decimal_text(self.up_to),
            rate=None if self.rate_percent is not None else decimal_text(self.unit_rate),
            percent=None if self.rate_percent is None else decimal_text(self.rate_percent),
            flat_fee=decimal_text(self.flat_fee),
        )
        object.__setattr__(self, "texts", texts)

    @property
    def rate(self) -> Ratio:
        """The price of one unit; of a percentage, its hundredth."""
        if self.rate_percent is None:
            return self.unit_rate.as_integer_ratio()
        numerator, denominator = self.rate_percent.as_integer_ratio()
        return numerator, denominator * 100

    def to_document(self) -> dict[str, str | None]:
        """Return the tier as the pricing document writes it."""
        texts = self.texts
        rate = {"unit_rate": texts.rate} if texts.percent is None else {"rate_percent": texts.percent}
        return {"up_to": texts.up_to, **rate, "flat_fee": texts.flat_fee}


@dataclass(frozen=True, slots=True)
class ScaledTiers:
    """The bounds over one denominator, and (upper bound or None, rate, flat fee) per tier over another."""

    bound_denominator: int
    price_denominator: int
    bands: tuple[tuple[int | None, int, int], ...]


def scale_tiers(tiers: tuple[ChargeTier, ...]) -> ScaledTiers:
    """Return the tiers as whole numbers over their smallest common denominators."""
    bound_denominator = math.lcm(*(tier.up_to.as_integer_ratio()[1] for tier in tiers if tier.up_to is not None))
    price_denominator = math.lcm(
        *(price[1] for tier in tiers for price in (tier.rate, tier.flat_fee.as_integer_ratio()))
    )
    return ScaledTiers(
        bound_denominator=bound_denominator,
        price_denominator=price_denominator,
        bands=tuple(
            (
                None if tier.up_to is None else _scaled(tier.up_to.as_integer_ratio(), bound_denominator),
                _scaled(tier.rate, price_denominator),
                _scaled(tier.flat_fee.as_integer_ratio(), price_denominator),
            )
            for tier in tiers
        ),
    )


def _scaled(value: Ratio, denominator: int) -> int:
    numerator, own_denominator = value
    return numerator * (denominator // own_denominator)
