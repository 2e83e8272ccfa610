"""
The wide-spread shape of pricing files: a list of tiers with base prices, included usage and overage rates.

Each tier becomes a plan of ours and each metric an overage charge on the meter of that code, in the letters that codes
of meters have: `apiCalls` is charged by `api_calls`. What has no meaning here
is refused by name and place, or left out when whoever imports says so; nothing is passed over in silence. Numbers may
be written as numbers: our readers keep every digit of them.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from apps.common.errors import FieldProblem
from apps.engine.exact import Rounding, decimal_text
from apps.plans.documents.problems import pointer_of, refusal, shown
from apps.plans.documents.schema import WILDCARD
from apps.plans.errors import PlanDocumentInvalid

# What such a file may say and a plan of ours cannot: each may be left out by name.
LEAVABLE: Final[Mapping[str, str]] = {
    "version": "is not kept: versions are counted here, one for each change that is applied",
    "tax": "is no term of a plan: rates are kept under Taxes, and places without a tax decision are never untaxed",
    "customContract": "has no price of its own: agree prices on the customer's subscription, on a plan that is sold",
}
_FILE_FIELDS: Final = ("version", "effectiveDate", "meteringWindow", "roundingRule", "tiers", "tax")
_TIER_FIELDS: Final = (
    *("id", "name", "basePrice", "currency", "includedUsage", "overageRates", "features", "customContract"),
)
_UNITS: Final = {
    **dict.fromkeys(("day", "daily"), "day"),
    **dict.fromkeys(("week", "weekly"), "week"),
    **dict.fromkeys(("month", "monthly"), "month"),
    **dict.fromkeys(("year", "yearly", "annual"), "year"),
}
_ROUNDINGS: Final = {"ceil": Rounding.CEIL, "floor": Rounding.FLOOR, "nearest": Rounding.HALF_UP}
_NUMBER: Final = 'a number of zero or more, such as 0.002 or "0.002"'
# Where a word begins inside `apiCalls` or `APICalls`.
_WORD_BEGINS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TIERS_MAX: Final = 100
# Text of a number that has an exponent could otherwise unfold into gigabytes of zeros.
_DIGITS_MAX: Final = 40

Parts = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPlan:
    """A tier as a pricing document of ours, and where in the file each of its parts stands."""

    document: dict[str, Any]
    places: Mapping[str, str]

    def place_of(self, pointer: str) -> str:
        """Return the place in the file that a place in the document was made of."""
        while pointer and pointer not in self.places:
            pointer = pointer.rpartition("/")[0]
        return self.places.get(pointer, "")

    def in_file(self, error: PlanDocumentInvalid) -> PlanDocumentInvalid:
        """Return a refusal of the document as one of the file: the same problems at their places there."""
        return refusal(
            FieldProblem(self.place_of(problem.pointer), problem.code, problem.detail) for problem in error.problems
        )


def plans_of_tier_file(*, document: Mapping[str, Any], left_out: Collection[str] = ()) -> tuple[TierPlan, ...]:
    """
    Return the plans that a file of tiers describes, in its order; each is yet to be validated.

    :param left_out: names of `LEAVABLE` that whoever imports does without; a tier with a custom contract is one of them
    :raises PlanDocumentInvalid: naming all that cannot be mapped, with its place in the file
    """
    reader = _Reader(left_out=frozenset(left_out))
    plans = tuple(reader.plans(document))
    if not plans and not reader.problems:
        reader.refuse(("tiers",), "required", "must hold at least one tier that is sold")
    if reader.problems:
        raise refusal(reader.problems)
    return plans


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a file of tiers and collects what is wrong with it."""

    left_out: frozenset[str]
    problems: list[FieldProblem] = field(default_factory=list)

    def refuse(self, parts: Parts, code: str, detail: str) -> None:
        self.problems.append(FieldProblem(pointer_of(parts), code, detail))

    def plans(self, document: Mapping[str, Any]) -> Iterator[TierPlan]:
        self.names(document, (), known=_FILE_FIELDS)
        for name in ("version", "tax"):
            if document.get(name) is not None:
                self.leave(name, (name,))
        header = {
            "interval": self.interval(document.get("meteringWindow")),
            "effective_at": self.effective_at(document.get("effectiveDate")),
            "rounding": self.rounding(document.get("roundingRule")),
        }
        tiers = document.get("tiers")
        if not isinstance(tiers, list) or len(tiers) > _TIERS_MAX:
            self.refuse(("tiers",), "type", f"must be a list of 1 to {_TIERS_MAX} tiers, not {shown(tiers)}")
            return
        seen: dict[str, int] = {}
        for position, tier in enumerate(tiers):
            if not isinstance(tier, Mapping):
                self.refuse(
                    ("tiers", position), "type", f"must be an object with id, name and basePrice, not {shown(tier)}"
                )
                continue
            code = str(tier.get("id"))
            if code in seen:
                detail = f'is "{code}" like /tiers/{seen[code]}/id; each tier becomes a plan with a code of its own'
                self.refuse(("tiers", position, "id"), "duplicate", detail)
            seen[code] = position
            if self.is_sold(tier, ("tiers", position)):
                yield self.plan(tier, ("tiers", position), header)

    def is_sold(self, tier: Mapping[str, Any], parts: Parts) -> bool:
        """Tell whether a tier has a price that anybody may buy at."""
        is_custom = tier.get("customContract")
        if is_custom not in (None, False, True):
            self.refuse((*parts, "customContract"), "type", f"must be true or false, not {shown(is_custom)}")
        if is_custom is not True:
            return True
        self.leave("customContract", (*parts, "customContract"))
        return False

    def plan(self, tier: Mapping[str, Any], parts: Parts, header: Mapping[str, Any]) -> TierPlan:
        self.names(tier, parts, known=_TIER_FIELDS)
        plan_code, name, currency = (self.words(tier, parts, field) for field in ("id", "name", "currency"))
        base_price = self.number(tier.get("basePrice"), (*parts, "basePrice"))
        included = self.numbers(tier, parts, "includedUsage")
        rates = self.numbers(tier, parts, "overageRates")
        for metric in sorted(included.keys() - rates.keys()):
            detail = 'has no rate in overageRates; say what a unit above costs there, "0" for nothing'
            self.refuse((*parts, "includedUsage", metric), "rate_missing", detail)
        codes = self.meter_codes(sorted(rates), (*parts, "overageRates"))
        usage = {code: included.get(metric, "0") for metric, code in codes.items()}
        document = {
            "plan": plan_code,
            "name": name,
            "currency": currency,
            **header,
            "base_fee": None if base_price == "0" else {"amount": base_price, "timing": "advance"},
            "charges": [
                {
                    "code": code,
                    "meter": code,
                    "model": "overage",
                    "included_units": included.get(metric, "0"),
                    "unit_rate": rates[metric],
                }
                for metric, code in codes.items()
            ],
            "features": self.features(tier.get("features"), (*parts, "features")),
            # What the file itself says of a price: all that is included costs the base price, and nothing more.
            "examples": [{"name": "All that is included", "usage": usage, "total": base_price}],
        }
        return TierPlan(document=document, places=dict(_places(parts, list(codes), included)))

    def meter_codes(self, metrics: Iterable[str], parts: Parts) -> dict[str, str]:
        """Return the code of the meter for each metric."""
        codes: dict[str, str] = {}
        for metric in metrics:
            code = _WORD_BEGINS.sub("_", metric).lower()
            if code in codes.values():
                first = next(known for known, taken in codes.items() if taken == code)
                detail = f'would be charged by the meter "{code}" like "{first}"; rename one of them'
                self.refuse((*parts, metric), "duplicate", detail)
            codes[metric] = code
        return codes

    def names(self, found: Mapping[str, Any], parts: Parts, *, known: tuple[str, ...]) -> None:
        for name in found:
            if name not in known:
                detail = f"has no meaning here; remove it. Known are: {', '.join(known)}"
                self.refuse((*parts, name), "unknown_field", detail)

    def leave(self, name: str, parts: Parts) -> None:
        if name not in self.left_out:
            self.refuse(parts, "not_mapped", f"{LEAVABLE[name]}; to import without it, add --leave-out {name}")

    def interval(self, window: Any) -> dict[str, Any]:
        unit = _UNITS.get(window) if isinstance(window, str) else None
        if unit is None:
            detail = (
                f"must be one of {', '.join(_UNITS)}, not {shown(window)}; plans are billed in whole days or longer"
            )
            self.refuse(("meteringWindow",), "unknown_window", detail)
        return {"unit": unit, "count": 1}

    def effective_at(self, text: Any) -> str:
        try:
            moment = datetime.fromisoformat(text)
            if "T" not in text.upper():
                moment = datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC)
        except (TypeError, ValueError):
            moment = None
        if moment is None or moment.tzinfo is None:
            detail = (
                f'must be a day such as "2026-01-01" (from midnight UTC) or an instant with offset, not {shown(text)}'
            )
            self.refuse(("effectiveDate",), "not_an_instant", detail)
            return ""
        return moment.isoformat()

    def rounding(self, rule: Any) -> str:
        if rule is None:
            return Rounding.HALF_UP.value
        if not isinstance(rule, str) or rule not in _ROUNDINGS:
            self.refuse(("roundingRule",), "unknown_rule", f"must be one of {', '.join(_ROUNDINGS)}, not {shown(rule)}")
            return Rounding.HALF_UP.value
        return _ROUNDINGS[rule].value

    def words(self, tier: Mapping[str, Any], parts: Parts, name: str) -> str:
        value = tier.get(name)
        if isinstance(value, str) and value.strip():
            return value
        self.refuse((*parts, name), "required", f"must be text, not {shown(value)}")
        return ""

    def numbers(self, tier: Mapping[str, Any], parts: Parts, name: str) -> dict[str, str]:
        values = tier.get(name) or {}
        if not isinstance(values, Mapping):
            self.refuse((*parts, name), "type", f"must be an object from metric to number, not {shown(values)}")
            return {}
        return {metric: self.number(value, (*parts, name, metric)) for metric, value in values.items()}

    def number(self, value: Any, parts: Parts) -> str:
        """Return a number as exact decimal text."""
        try:
            if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
                raise ValueError
            number = Decimal(value)
            if not number.is_finite() or number.is_signed() or abs(number.adjusted()) > _DIGITS_MAX:
                raise ValueError
        except (ValueError, ArithmeticError):
            self.refuse(parts, "not_a_number", f"must be {_NUMBER}, not {shown(value)}")
            return "0"
        return decimal_text(number)

    def features(self, listed: Any, parts: Parts) -> dict[str, bool]:
        if not isinstance(listed or [], list):
            self.refuse(parts, "type", f'must be a list of features, or ["{WILDCARD}"] for all, not {shown(listed)}')
            return {}
        granted: dict[str, bool] = {}
        for position, code in enumerate(listed or []):
            if not isinstance(code, str):
                self.refuse((*parts, position), "type", f"must be the text of a feature, not {shown(code)}")
            elif code in granted:
                self.refuse((*parts, position), "duplicate", f'is "{code}" once more; keep one of them')
            else:
                granted[code] = True
        return granted


def _places(parts: Parts, metrics: list[str], included: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield which place of the file each place of a document comes from; what is not named comes from the tier."""
    yield "", pointer_of(parts)
    yield "/interval", "/meteringWindow"
    yield "/effective_at", "/effectiveDate"
    yield "/rounding", "/roundingRule"
    for ours, theirs in (("plan", "id"), ("name", "name"), ("currency", "currency"), ("base_fee", "basePrice")):
        yield f"/{ours}", pointer_of((*parts, theirs))
    yield "/features", pointer_of((*parts, "features"))
    for position, metric in enumerate(metrics):
        yield f"/charges/{position}", pointer_of((*parts, "overageRates", metric))
        if metric in included:
            yield f"/charges/{position}/included_units", pointer_of((*parts, "includedUsage", metric))
