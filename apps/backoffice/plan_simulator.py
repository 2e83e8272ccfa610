"""The price simulator's form: a field for each thing that a version's charges want to know, and what it answers."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from unfold import widgets

from apps.common import formatting
from apps.common.errors import DomainError, FieldProblem
from apps.engine.charge_models import BasisNeed, ChargeTerms, basis_needed
from apps.plans import estimates
from apps.plans.models import PlanVersion

EVENTS_HELP = "The value of each event in order, with spaces or commas between them, such as 12.00, 5"
AMOUNT_HELP = "The sum of the amounts that the events carry, such as 12.34"
UNITS_HELP = "A number such as 120000 or 0.5, without separators; empty: none"
_BETWEEN_VALUES = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsage:
    """How the usage of one meter is asked for; a matrix asks for each of its cells."""

    meter: str
    need: BasisNeed
    cells: tuple[tuple[tuple[str, str], ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its fields."""
        if self.need is BasisNeed.UNITS_BY_CELL:
            return tuple(f"usage.{self.meter}.{position}" for position in range(len(self.cells)))
        return (f"usage.{self.meter}",)


class SimulatorForm(forms.Form):
    """What somebody might use in a period."""

    def __init__(self, data: Any = None, *, charges: list[ChargeTerms]) -> None:
        super().__init__(data, auto_id="simulate_%s")
        self.meters = _meters(charges)
        if any(charge.per_quantity for charge in charges):
            self.fields["quantity"] = _field("Quantity", "Of the subscription, such as its seats.", initial="1")
        for usage in self.meters:
            unit = next((charge.unit for charge in charges if charge.meter == usage.meter and charge.unit), "units")
            for name, label in zip(usage.names, _labels(usage, unit), strict=True):
                self.fields[name] = _field(label, _HELP[usage.need], is_long=usage.need is BasisNeed.EVENT_VALUES)

    def usage(self) -> dict[str, Any]:
        """Return what was written, by meter, as the reader of usage by hand takes it; what is empty is not used."""
        written = {usage.meter: _written(usage, self.cleaned_data) for usage in self.meters}
        return {meter: value for meter, value in written.items() if value}

    def estimate(self, *, version: PlanVersion, at: datetime) -> dict[str, Any] | None:
        """Return the priced lines and their total; None when something cannot be priced, which its field then says."""
        try:
            estimate = estimates.plan_estimate(
                plan_code=version.plan.code,
                version=version.version,
                usage=self.usage(),
                quantity=self.cleaned_data.get("quantity") or None,
                at=at,
            )
        except DomainError as error:
            for problem in error.problems or (FieldProblem("", error.code, error.detail),):
                self.add_error(self._field_of(problem.pointer), problem.detail)
            return None
        lines = [
            {
                **line,
                "amount": formatting.decimal_amount_text(line["net"]["amount"], version.currency),
                "quantity": formatting.number_text(line["quantity"]),
            }
            for line in estimate["lines"]
        ]
        return {
            "lines": lines,
            "total": formatting.decimal_amount_text(estimate["total"]["amount"], version.currency),
        }

    def _field_of(self, pointer: str) -> str | None:
        """Return the field that a place in the question comes from; None: the form as a whole."""
        parts = pointer.split("/")[1:]
        if parts[:1] == ["quantity"]:
            return "quantity" if "quantity" in self.fields else None
        usage = next((usage for usage in self.meters if parts[:2] == ["usage", usage.meter]), None)
        if usage is None:
            return None
        if usage.need is BasisNeed.UNITS_BY_CELL and parts[2:3] == ["groups"]:
            given = [name for name in usage.names if self.cleaned_data.get(name)]
            return given[int(parts[3])]
        return usage.names[0]


_HELP = {
    BasisNeed.NOTHING: UNITS_HELP,
    BasisNeed.UNITS_BY_CELL: UNITS_HELP,
    BasisNeed.AMOUNT: AMOUNT_HELP,
    BasisNeed.EVENT_VALUES: EVENTS_HELP,
}


def _meters(charges: list[ChargeTerms]) -> list[MeterUsage]:
    """Return how each charged meter is asked for: the way that tells most of what its charges need."""
    by_meter: dict[str, list[ChargeTerms]] = {}
    for charge in charges:
        if charge.meter is not None:
            by_meter.setdefault(charge.meter, []).append(charge)
    return [_meter(meter, own) for meter, own in sorted(by_meter.items())]


def _meter(meter: str, charges: list[ChargeTerms]) -> MeterUsage:
    needs = {basis_needed(charge) for charge in charges}
    for need in (BasisNeed.EVENT_VALUES, BasisNeed.AMOUNT):
        if need in needs:
            return MeterUsage(meter=meter, need=need)
    if BasisNeed.UNITS_BY_CELL not in needs:
        return MeterUsage(meter=meter, need=BasisNeed.NOTHING)
    cells = dict.fromkeys(cell.when for charge in charges if charge.prices_by for cell in charge.prices_by.cells)
    # The one that matches everything else stands last, also when two charges have a matrix each.
    named = tuple(when for when in cells if when)
    return MeterUsage(meter=meter, need=BasisNeed.UNITS_BY_CELL, cells=(*named, ()))


def _labels(usage: MeterUsage, unit: str) -> list[str]:
    if usage.need is not BasisNeed.UNITS_BY_CELL:
        return [f"{usage.meter} ({unit})"]
    return [
        f"{usage.meter} ({unit}), " + (", ".join(f"{name} {value}" for name, value in when) or "all others")
        for when in usage.cells
    ]


def _written(usage: MeterUsage, data: dict[str, str]) -> Any:
    if usage.need is BasisNeed.UNITS_BY_CELL:
        given = [(when, data[name]) for when, name in zip(usage.cells, usage.names, strict=True) if data[name]]
        return {"groups": [{"values": dict(when), "units": text} for when, text in given]} if given else None
    text = data[usage.names[0]]
    if not text or usage.need is BasisNeed.NOTHING:
        return text
    if usage.need is BasisNeed.AMOUNT:
        return {"amount": text}
    return {"events": [part for part in _BETWEEN_VALUES.split(text) if part]}


def _field(label: str, help_text: str, *, initial: str = "", is_long: bool = False) -> forms.CharField:
    widget = widgets.UnfoldAdminTextareaWidget if is_long else widgets.UnfoldAdminTextInputWidget
    return forms.CharField(
        label=label,
        help_text=help_text,
        initial=initial,
        required=False,
        # Pages are asked for by address, and addresses have an end.
        max_length=2000 if is_long else 60,
        widget=widget(attrs={"autocomplete": "off"} | ({"rows": 3} if is_long else {})),
    )
