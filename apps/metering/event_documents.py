"""
What a meter would make of hand-written events, without a store: for estimates and examples.

The same checks as at the door, the same filters, the same folds. An event that the door would refuse is refused here.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from apps.common.errors import FieldProblem
from apps.engine.aggregation import Aggregation, Operation, Reading
from apps.engine.charge_models.basis import BasisNeed, basis_needed
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import multiply_exactly
from apps.metering import event_checks, meter_checks
from apps.metering.errors import EventDocumentsInvalid, EventRefused
from apps.metering.meter_checks import MeterTerms
from apps.metering.normalisers import exact_number
from apps.metering.usage_folds import (
    CountedEvent,
    MeterDefinition,
    UsageMeasure,
    fold_basis,
    fold_quantity,
    properties_needed,
)

_KNOWN_KEYS: Final = ("occurred_at", "properties", "quantity", "type")


def measure_event_documents(
    *,
    meter: MeterDefinition,
    terms: ChargeTerms,
    documents: Sequence[Mapping[str, Any]],
    starts_at: datetime,
    ends_at: datetime,
) -> UsageMeasure:
    """
    Return the quantity and the basis of hand-written events in a half-open window, as the meter would count them.

    A document has `occurred_at` and, as an event has them, `properties` and `quantity`; a `type` that is not the
    meter's is not counted. Documents of one instant count in the order given.

    :raises EventDocumentsInvalid: naming each document that the door would refuse
    :raises EventAmountInvalid: if an event of a dynamic charge does not carry an amount
    :raises EngineError: if the values cannot be priced by these terms
    """
    problems: list[FieldProblem] = []
    counted: list[CountedEvent] = []
    properties = properties_needed(terms)
    meter_terms = _terms_of(meter)
    for index, document in enumerate(documents):
        try:
            counted += _read(document, meter, meter_terms, properties, name=f"events[{index}]")
        except EventRefused as refused:
            problems.append(FieldProblem(f"/{index}", refused.code, refused.detail))
    if problems:
        summary = "; ".join(f"events[{problem.pointer[1:]}]: {problem.detail}" for problem in problems)
        raise EventDocumentsInvalid(summary, problems=tuple(problems))
    # The sort is stable: what is equal in time keeps the order in which it came.
    counted.sort(key=lambda event: event.reading.occurred_at)
    until_end = [event for event in counted if event.reading.occurred_at < ends_at]
    inside = [event for event in until_end if event.reading.occurred_at >= starts_at]
    in_order = until_end if meter.has_carry_over else inside
    is_by_cell = basis_needed(terms) is BasisNeed.UNITS_BY_CELL
    return UsageMeasure(
        usage=fold_quantity(meter=meter, events=in_order, starts_at=starts_at, ends_at=ends_at, snapshot=""),
        basis=fold_basis(
            meter=meter,
            terms=terms,
            events=in_order if is_by_cell else inside,
            starts_at=starts_at,
            ends_at=ends_at,
        ),
    )


def _terms_of(meter: MeterDefinition) -> MeterTerms:
    return MeterTerms(
        code=meter.code,
        aggregation=meter.aggregation,
        value_property=meter.value_property,
        operation_property=meter.operation_property,
        filters=meter.filters,
        group_by=tuple(meter.group_by),
        rules=meter.rules,
        is_current=True,
        weight_property=meter.weight_property,
    )


def _read(
    document: Mapping[str, Any], meter: MeterDefinition, terms: MeterTerms, names: Sequence[str], *, name: str
) -> Iterator[CountedEvent]:
    """Yield the event if the meter counts it; nothing if it is not for this meter."""
    for key in document:
        if key not in _KNOWN_KEYS:
            raise EventRefused("unknown_field", f"'{str(key)[:40]}' is not known here; use {', '.join(_KNOWN_KEYS)}.")
    sent = document.get("properties") or {}
    if not isinstance(sent, Mapping):
        raise EventRefused("invalid_type", "'properties' must be an object with named values.")
    properties = {key: _as_stored(value) for key, value in sent.items()}
    occurred_at = event_checks.instant_read(str(document.get("occurred_at") or ""))
    quantity = event_checks.quantity_text(document.get("quantity"))
    if document.get("type") not in (None, meter.event_type) or not meter_checks.is_filtered_in(properties, terms):
        return
    meter_checks.meters_check(properties, quantity=quantity, meters=(terms,))
    texts = tuple(meter_checks.plain_text(properties.get(key)) for key in names)
    yield CountedEvent(_reading(properties, quantity, terms, occurred_at), texts, name=name)


def _as_stored(value: Any) -> Any:
    # The door reads 5.0 and 5 as one number; so must whoever asks what the door would do.
    return exact_number(str(value)) if isinstance(value, Decimal) else value


def _reading(properties: Mapping[str, Any], quantity: str | None, terms: MeterTerms, occurred_at: datetime) -> Reading:
    weight = meter_checks.event_weight(properties, terms)
    if terms.aggregation == Aggregation.COUNT:
        return Reading(occurred_at, Decimal(weight))
    if terms.aggregation != Aggregation.UNIQUE_COUNT:
        number = meter_checks.measured_number(properties, quantity, terms)
        return Reading(occurred_at, multiply_exactly(number, Decimal(weight)) if weight != 1 else number)
    operation = Operation(properties[terms.operation_property]) if terms.operation_property else Operation.ADD
    label = meter_checks.plain_text(properties[terms.value_property]) or ""
    return Reading(occurred_at, label=label, operation=operation)
