"""
Discounts on the lines of one document: how much each takes, and from which lines.

Rules: a discount takes from the lines it is meant for, by charge and by plan, and only from those above zero: a
credit, a waived line and a line of zero are left alone, and no line ever falls below zero. Discounts take one after
another from what those before them left, in one order whatever order they are given in: limited to charges, then
limited to plans, then general; inside a class fixed amounts before percentages, then the older one, then by `id`. A
percentage is rounded once over the sum of its lines, halves up. What a discount takes is split over its lines by
largest remainder, so the parts sum to the whole. A fixed amount above what is left of the lines ends there: the rest
is not carried to another document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from apps.engine.allocation import allocate
from apps.engine.errors import CurrencyMismatch, InvalidDiscount
from apps.engine.exact import Rounding, decimal_text, round_ratio

PERCENT_MAX: Final = Decimal(100)


class DiscountKind(StrEnum):
    """What a discount takes: an amount of money, or a part of what it is taken from."""

    FIXED = "fixed"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountTerms:
    """What one discount takes and from what; `id` says whose it is, `applied_at` how old it is."""

    id: str
    code: str
    name: str
    kind: DiscountKind
    applied_at: datetime
    amount_minor: int | None = None
    currency: str | None = None  # of a fixed amount
    percent: Decimal | None = None
    charges: tuple[str, ...] = ()  # codes of charges; empty: all
    plans: tuple[str, ...] = ()  # codes of plans; empty: all

    def __post_init__(self) -> None:
        path = f"discounts.{self.code}"
        if self.kind is DiscountKind.FIXED:
            if self.amount_minor is None or self.amount_minor <= 0:
                raise InvalidDiscount("give an amount above zero", path=f"{path}.amount_minor")
            if self.currency is None:
                raise InvalidDiscount("say in which currency the amount is", path=f"{path}.currency")
            if self.percent is not None:
                raise InvalidDiscount("leave it out of a fixed discount", path=f"{path}.percent")
            return
        if self.amount_minor is not None or self.currency is not None:
            raise InvalidDiscount("leave amount and currency out of a percentage", path=f"{path}.amount_minor")
        if self.percent is None or not self.percent.is_finite() or not 0 < self.percent <= PERCENT_MAX:
            raise InvalidDiscount("give a percentage above 0 and up to 100", path=f"{path}.percent")

    def is_for(self, line: "DiscountableLine") -> bool:
        """Tell whether the discount is meant for a line and the line has something to take from."""
        is_charge_meant = not self.charges or line.code in self.charges
        is_plan_meant = not self.plans or line.plan_code in self.plans
        return is_charge_meant and is_plan_meant and line.net_minor > 0

    def to_document(self) -> dict[str, Any]:
        """Return the terms as JSON."""
        return {
            "id": self.id,
            "code": self.code,
            "name": self.name,
            "kind": self.kind.value,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "percent": None if self.percent is None else decimal_text(self.percent),
            "charges": list(self.charges),
            "plans": list(self.plans),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountableLine:
    """What a discount needs to know of a line; the net amount in minor units."""

    code: str
    plan_code: str
    net_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAmount:
    """What one discount takes, in minor units: in all, and from each line in the order of the lines."""

    terms: DiscountTerms
    amount_minor: int
    parts_minor: tuple[int, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the terms and amounts as JSON."""
        return {**self.terms.to_document(), "taken_minor": self.amount_minor, "parts_minor": list(self.parts_minor)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountResult:
    """What the discounts take, in the order in which they take it, and the sum per line, in minor units."""

    discounts: tuple[AppliedAmount, ...]
    line_totals_minor: tuple[int, ...]

    @property
    def total_minor(self) -> int:
        """What all discounts take from all lines, in minor units."""
        return sum(self.line_totals_minor)


def discounts_apply(
    *, lines: Sequence[DiscountableLine], discounts: Sequence[DiscountTerms], currency: str
) -> DiscountResult:
    """
    Let each discount take its amount from the lines it is meant for; a discount that finds nothing takes zero.

    :raises InvalidDiscount: if one discount is given twice
    :raises CurrencyMismatch: if a fixed amount is in another currency than the lines
    """
    ids = [terms.id for terms in discounts]
    for terms in discounts:
        path = f"discounts.{terms.code}"
        if ids.count(terms.id) > 1:
            raise InvalidDiscount("is given twice; a discount takes once per document", path=path)
        if terms.currency not in (None, currency):
            raise CurrencyMismatch(f"is in {terms.currency}, the lines in {currency}; end it", path=path)
    left = list(lines)
    applied = []
    for terms in sorted(discounts, key=_order_of):
        parts_minor = _parts(terms, left)
        left = [
            DiscountableLine(code=line.code, plan_code=line.plan_code, net_minor=line.net_minor - part_minor)
            for line, part_minor in zip(left, parts_minor, strict=True)
        ]
        applied.append(AppliedAmount(terms=terms, amount_minor=sum(parts_minor), parts_minor=parts_minor))
    taken_minor = (before.net_minor - after.net_minor for before, after in zip(lines, left, strict=True))
    return DiscountResult(discounts=tuple(applied), line_totals_minor=tuple(taken_minor))


def _order_of(terms: DiscountTerms) -> tuple[int, bool, datetime, str]:
    reach = 0 if terms.charges else 1 if terms.plans else 2
    return reach, terms.kind is not DiscountKind.FIXED, terms.applied_at, terms.id


def _parts(terms: DiscountTerms, lines: Sequence[DiscountableLine]) -> tuple[int, ...]:
    weights = [line.net_minor if terms.is_for(line) else 0 for line in lines]
    available_minor = sum(weights)
    if not available_minor:
        return (0,) * len(lines)
    if terms.amount_minor is not None:
        amount_minor = min(terms.amount_minor, available_minor)
    else:
        assert terms.percent is not None  # noqa: S101  terms have one of the two
        numerator, denominator = terms.percent.as_integer_ratio()
        amount_minor = round_ratio(available_minor * numerator, denominator * 100, Rounding.HALF_UP)
    return tuple(allocate(amount_minor, weights=weights))
