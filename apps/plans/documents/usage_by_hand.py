"""
Usage that somebody wrote down: the golden examples of a plan and the questions of an estimate, read by one reader.

Four ways to write the usage of one meter: units ("120000"), units by properties ({groups: [{values: {region: eu},
units: "100"}]}), the values of single events in their order ({events: ["12.00", "5"]}), and an amount that the events
carry ({amount: "12.34", units: "3"}). Which one a charge needs follows from its model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Final

from apps.common.errors import FieldProblem
from apps.engine.charge_models import Basis, BasisNeed, ChargeTerms, basis_needed, fold_events, fold_units
from apps.engine.charge_models.rating import UNITS_MAX
from apps.engine.errors import EngineError, InvalidTerms
from apps.engine.exact import add_exactly, decimal_text
from apps.engine.money import parse_decimal
from apps.plans.documents.problems import pointer_of
from apps.plans.documents.schema import USAGE_ITEMS_MAX

_ZERO: Final = Decimal(0)
_WAYS: Final = 'write units such as "100", or an object with groups, events or amount'

Parts = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageByHand:
    """What was used of one meter; `units` is what a charge prices that needs no more than a quantity."""

    units: Decimal = _ZERO
    groups: tuple[tuple[tuple[tuple[str, str | None], ...], Decimal], ...] | None = None
    events: tuple[Decimal, ...] | None = None
    amount: Decimal | None = None

    def to_document(self) -> str | dict[str, Any]:
        """Return the usage as a pricing document writes it."""
        if self.groups is not None:
            return {"groups": [{"values": dict(values), "units": decimal_text(units)} for values, units in self.groups]}
        if self.events is not None:
            return {"events": [decimal_text(value) for value in self.events]}
        if self.amount is not None:
            units = {"units": decimal_text(self.units)} if self.units else {}
            return {"amount": decimal_text(self.amount), **units}
        return decimal_text(self.units)


NO_USAGE: Final = UsageByHand()


def read_usage(value: Any, *, parts: Parts, problems: list[FieldProblem]) -> UsageByHand | None:
    """Return the usage of one meter, or None and with its place in the problems what is wrong with it."""
    read = _Reader(problems)
    known = len(problems)
    if not isinstance(value, Mapping):
        usage = UsageByHand(units=read.number(value, parts))
    else:
        usage = read.object(value, parts)
    return usage if len(problems) == known else None


def measure(*, usage: UsageByHand, terms: ChargeTerms) -> tuple[Decimal, Basis]:
    """
    Return the quantity and the basis that usage makes for a charge.

    :raises InvalidTerms: if the charge needs usage written in another way
    :raises UnitsOutOfRange: if a value cannot be priced
    """
    complaint = misfit(usage=usage, model=terms.model)
    if complaint:
        raise InvalidTerms(complaint, path=terms.meter or terms.code)
    need = basis_needed(terms)
    if need is BasisNeed.UNITS_BY_CELL:
        groups = ((dict(values), units) for values, units in usage.groups or (((), usage.units),))
        return usage.units, fold_units(terms, groups)
    if need is BasisNeed.EVENT_VALUES:
        return usage.units, fold_events(terms, usage.events or ())
    return usage.units, Basis(amount=usage.amount or _ZERO) if need is BasisNeed.AMOUNT else Basis()


def misfit(*, usage: UsageByHand, model: str) -> str:
    """Return why usage says too little for a charge of a model, with the remedy; nothing when it says enough."""
    if not usage.units and usage.amount is None:
        return ""  # nothing was used, however that is written
    if model == "percentage" and usage.events is None:
        return 'is priced event by event; give their values in order, such as {events: ["12.00", "5"]}'
    if model == "dynamic" and usage.amount is None:
        return 'is priced by what the events carry; give the sum, such as {amount: "12.34", units: "3"}'
    return ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the usage of one meter and collects what is wrong with it."""

    problems: list[FieldProblem]

    def refuse(self, parts: Parts, code: str, detail: str) -> None:
        self.problems.append(FieldProblem(pointer_of(parts), code, detail))

    def number(self, value: Any, parts: Parts) -> Decimal:
        """Return units, a value or an amount: a decimal string from zero to what the engine prices."""
        try:
            number = parse_decimal(value, path="", minimum=_ZERO)
        except EngineError as error:
            self.refuse(parts, error.code, error.detail)
            return _ZERO
        if number > UNITS_MAX:
            self.refuse(parts, "units_out_of_range", f"must not be above {decimal_text(UNITS_MAX)}")
            return _ZERO
        return number

    def object(self, value: Mapping[str, Any], parts: Parts) -> UsageByHand:
        """Read one of the three ways that are objects."""
        for name in sorted(value.keys() - {"units", "amount", "groups", "events"}):
            self.refuse((*parts, name), "unknown_field", f"is not a known field; {_WAYS}")
        ways = [name for name in ("groups", "events", "amount") if name in value]
        if len(ways) != 1:
            self.refuse(parts, "usage_ambiguous", f"must be written in exactly one way: {_WAYS}")
            return NO_USAGE
        if ways[0] == "amount":
            units = self.number(value["units"], (*parts, "units")) if "units" in value else _ZERO
            return UsageByHand(amount=self.number(value["amount"], (*parts, "amount")), units=units)
        if "units" in value:
            self.refuse((*parts, "units"), "usage_ambiguous", f"follows from {ways[0]}; remove it")
        items = value[ways[0]]
        if not isinstance(items, list) or len(items) > USAGE_ITEMS_MAX:
            self.refuse((*parts, ways[0]), "not_a_list", f"must be a list of at most {USAGE_ITEMS_MAX}")
            return NO_USAGE
        if ways[0] == "events":
            values = tuple(self.number(item, (*parts, "events", place)) for place, item in enumerate(items))
            return UsageByHand(events=values, units=self.total(values, parts))
        groups = tuple(self.group(item, (*parts, "groups", place)) for place, item in enumerate(items))
        return UsageByHand(groups=groups, units=self.total((units for _, units in groups), parts))

    def group(self, item: Any, parts: Parts) -> tuple[tuple[tuple[str, str | None], ...], Decimal]:
        """Read the units of one combination of properties."""
        values = item.get("values") if isinstance(item, Mapping) else None
        if (
            not isinstance(item, Mapping)
            or set(item) != {"values", "units"}
            or not isinstance(values, Mapping)
            or not all(text is None or isinstance(text, str) for text in values.values())
        ):
            self.refuse(parts, "not_a_group", 'must be an object such as {values: {region: eu}, units: "100"}')
            return (), _ZERO
        return tuple(sorted(values.items())), self.number(item["units"], (*parts, "units"))

    def total(self, numbers: Iterable[Decimal], parts: Parts) -> Decimal:
        """Return the sum, which must be as small as any number."""
        total = reduce(add_exactly, numbers, _ZERO)
        if total > UNITS_MAX:
            self.refuse(parts, "units_out_of_range", f"must not sum to more than {decimal_text(UNITS_MAX)}")
            return _ZERO
        return total
