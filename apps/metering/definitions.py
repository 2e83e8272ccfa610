"""What a meter or a mapping may say; every field that is wrong is named at once, with its remedy."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from apps.common.errors import FieldProblem
from apps.engine.aggregation import unit_rounding_from_document
from apps.engine.errors import EngineError
from apps.metering.errors import EventRefused
from apps.metering.event_checks import TYPE_LENGTH_MAX, value_text
from apps.metering.inputs import MeterInput
from apps.metering.models import MeterAggregation
from apps.metering.normalisers import CONSTANT_MARK, MAPPABLE

_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}")
_PROPERTY = re.compile(r"[^\x00-\x1f]{1,60}")
# Each combination of values is a running total of its own; more groupings would be more totals than events.
GROUPINGS_MAX: Final = 5
ENTRIES_MAX: Final = 50
_RULES: Final = ("allowed", "max", "min", "required")
_REQUIRED_PATHS: Final = ("id", "type", "customer", "occurred_at")


def meter_problems(data: MeterInput) -> tuple[FieldProblem, ...]:
    """Return everything that is wrong with a meter's definition."""
    return (
        *_text_problems(data),
        *_value_problems(data),
        *_weight_problems(data),
        *_state_problems(data),
        *_filter_problems(data.filters),
        *_group_problems(data.group_by),
        *_rounding_problems(data.rounding),
        *_rule_problems(data),
    )


def mapping_problems(*, source: str, fields: Mapping[str, str]) -> tuple[FieldProblem, ...]:
    """Return everything that is wrong with a source's mapping."""
    problems = []
    if not source or len(source) > TYPE_LENGTH_MAX or "\0" in source:
        problems.append(
            FieldProblem("/source", "source_invalid", f"Name the source in 1 to {TYPE_LENGTH_MAX} characters.")
        )
    problems += [
        FieldProblem(
            f"/fields/{name}", "path_missing", f"Say where '{name}' is found, or '{CONSTANT_MARK}...' for a constant."
        )
        for name in _REQUIRED_PATHS
        if name not in fields
    ]
    if len(fields) > ENTRIES_MAX:
        problems.append(FieldProblem("/fields", "too_many", f"Map at most {ENTRIES_MAX} fields."))
    for name, path in fields.items():
        if name not in MAPPABLE and not name.startswith("properties."):
            detail = f"There is no such field; map {', '.join(MAPPABLE)} or properties.<name>."
            problems.append(FieldProblem(f"/fields/{name}", "field_unknown", detail))
        elif name not in MAPPABLE and not _PROPERTY.fullmatch(name.removeprefix("properties.")):
            detail = "Name the property in 1 to 60 characters."
            problems.append(FieldProblem("/fields", "field_invalid", detail))
        elif not isinstance(path, str) or not path.strip(CONSTANT_MARK) or "\0" in path or len(path) > 200:
            detail = "Give a path with dots, such as request.id."
            problems.append(FieldProblem(f"/fields/{name}", "path_invalid", detail))
        elif name == "properties" and path.startswith(CONSTANT_MARK):
            problems.append(FieldProblem("/fields/properties", "path_invalid", "Properties cannot be a constant."))
    return tuple(problems)


def _text_problems(data: MeterInput) -> Iterator[FieldProblem]:
    if not _CODE.fullmatch(data.code):
        detail = "Use 1 to 60 lower-case letters, digits, _ . or -, beginning with a letter or digit."
        yield FieldProblem("/code", "code_invalid", detail)
    for name, value, length_max, is_required in (
        ("name", data.name, 120, True),
        ("event_type", data.event_type, TYPE_LENGTH_MAX, True),
        ("unit_name", data.unit_name, 40, False),
    ):
        if len(value) > length_max or "\0" in value or (is_required and not value.strip()):
            least = "1" if is_required else "0"
            yield FieldProblem(f"/{name}", "text_invalid", f"Send {least} to {length_max} characters.")


def _value_problems(data: MeterInput) -> Iterator[FieldProblem]:
    if data.aggregation not in MeterAggregation.values:
        yield FieldProblem("/aggregation", "aggregation_unknown", f"Use one of {', '.join(MeterAggregation.values)}.")
    elif data.aggregation == MeterAggregation.COUNT and data.value_property:
        yield FieldProblem("/value_property", "value_not_needed", "Leave it out: count counts events.")
    elif data.aggregation != MeterAggregation.COUNT and not _PROPERTY.fullmatch(data.value_property):
        yield FieldProblem("/value_property", "value_needed", f"Name the property that {data.aggregation} reads.")


def _weight_problems(data: MeterInput) -> Iterator[FieldProblem]:
    if not data.weight_property:
        return
    if data.aggregation not in (MeterAggregation.COUNT, MeterAggregation.SUM):
        detail = "Leave it out: only count and sum add up events that stand for several."
        yield FieldProblem("/weight_property", "weight_not_needed", detail)
    elif not _PROPERTY.fullmatch(data.weight_property) or data.weight_property == data.value_property:
        detail = "Name the property that says how many events one stands for; it cannot be the value itself."
        yield FieldProblem("/weight_property", "weight_invalid", detail)


def _state_problems(data: MeterInput) -> Iterator[FieldProblem]:
    is_unique = data.aggregation == MeterAggregation.UNIQUE_COUNT
    if data.operation_property and not is_unique:
        detail = "Leave it out: only unique_count has values that are added and removed."
        yield FieldProblem("/operation_property", "operation_not_needed", detail)
    elif data.operation_property and (
        not _PROPERTY.fullmatch(data.operation_property) or data.operation_property == data.value_property
    ):
        detail = "Name the property that says add or remove, in 1 to 60 characters; it cannot be the value itself."
        yield FieldProblem("/operation_property", "operation_invalid", detail)
    has_state = data.aggregation == MeterAggregation.WEIGHTED_SUM or (is_unique and data.operation_property)
    if data.has_carry_over and not has_state:
        detail = "Leave it out: only weighted_sum, and unique_count with an operation_property, can carry over."
        yield FieldProblem("/has_carry_over", "carry_not_possible", detail)


def _filter_problems(filters: Mapping[str, Any]) -> Iterator[FieldProblem]:
    if len(filters) > ENTRIES_MAX:
        yield FieldProblem("/filters", "too_many", f"Filter by at most {ENTRIES_MAX} properties.")
    for name, wanted in filters.items():
        if not _PROPERTY.fullmatch(name) or not _is_plain(wanted):
            detail = "Give one plain value: text, a whole number, true or false."
            yield FieldProblem(f"/filters/{name}", "filter_invalid", detail)


def _group_problems(group_by: Any) -> Iterator[FieldProblem]:
    if len(group_by) > GROUPINGS_MAX or len(set(group_by)) != len(group_by):
        yield FieldProblem("/group_by", "group_invalid", f"Group by at most {GROUPINGS_MAX} different properties.")
    if any(not isinstance(name, str) or not _PROPERTY.fullmatch(name) for name in group_by):
        yield FieldProblem("/group_by", "group_invalid", "Name each property in 1 to 60 characters.")


def _rounding_problems(rounding: Mapping[str, Any] | None) -> Iterator[FieldProblem]:
    try:
        unit_rounding_from_document(rounding)
    except EngineError as error:
        yield FieldProblem("/rounding", "rounding_invalid", str(error))


def _rule_problems(data: MeterInput) -> Iterator[FieldProblem]:
    for name, rule in data.rules.items():
        check = _RULE_CHECKS.get(name)
        if name == "min" and data.aggregation == MeterAggregation.WEIGHTED_SUM:
            check = _bound_remedy
        if name in ("min", "max") and data.aggregation == MeterAggregation.UNIQUE_COUNT:
            detail = "Leave it out: unique_count tells texts apart, and they have no bounds."
            yield FieldProblem(f"/rules/{name}", "rule_not_needed", detail)
            continue
        if check is None:
            detail = f"There is no such rule; use {', '.join(_RULES)}."
            yield FieldProblem(f"/rules/{name}", "rule_unknown", detail)
        elif remedy := check(rule):
            yield FieldProblem(f"/rules/{name}", "rule_invalid", remedy)


def _bound_remedy(rule: Any) -> str:
    if not isinstance(rule, str):
        return 'Send a decimal string such as "0".'
    try:
        value_text("the bound", rule)
    except EventRefused as error:
        return error.detail
    return ""


def _min_remedy(rule: Any) -> str:
    remedy = _bound_remedy(rule)
    if not remedy and Decimal(rule) < 0:
        # A period whose sum is negative has no price.
        return 'Send "0" or more: usage is not taken back by negative events; corrections come with documents.'
    return remedy


def _required_remedy(rule: Any) -> str:
    is_names = isinstance(rule, list | tuple) and all(
        isinstance(name, str) and _PROPERTY.fullmatch(name) for name in rule
    )
    return "" if is_names and len(rule) <= ENTRIES_MAX else f"Send a list of at most {ENTRIES_MAX} property names."


def _allowed_remedy(rule: Any) -> str:
    is_table = isinstance(rule, Mapping) and all(
        isinstance(values, list | tuple) and values and all(_is_plain(value) for value in values)
        for values in rule.values()
    )
    is_small = is_table and sum(len(values) for values in rule.values()) <= 20 * ENTRIES_MAX
    return "" if is_small else 'Send a list of plain values for each property: {"region": ["eu", "us"]}.'


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and len(value) <= 200
    return isinstance(value, int)


_RULE_CHECKS: Final[Mapping[str, Callable[[Any], str]]] = {
    "allowed": _allowed_remedy,
    "max": _bound_remedy,
    "min": _min_remedy,
    "required": _required_remedy,
}
