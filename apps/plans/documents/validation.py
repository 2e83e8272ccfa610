"""
From a mapping to a canonical plan, or to the list of everything that is wrong with it.

Three passes, each for what the one before cannot see: values that JSON would not have written as text, the schema, and
the rules between fields. The engine reads the charges last and has the final word.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from apps.common.errors import FieldProblem
from apps.engine.charge_models import ChargeTerms, charge_from_document
from apps.engine.commitments import CommitmentTerms
from apps.engine.errors import EngineError
from apps.engine.exact import Rounding
from apps.engine.invoice_draft import BASE_FEE_CODE
from apps.engine.money import text_to_minor
from apps.engine.periods import Interval
from apps.engine.proration import ProrationMode
from apps.plans.documents import checks
from apps.plans.documents.canonical import CanonicalPlan, FeatureTerms, PlanExample, commitment_from_document
from apps.plans.documents.checks import KnownMeter
from apps.plans.documents.loading import DEPTH_MAX
from apps.plans.documents.problems import pointer_of, pointer_of_engine_path, refusal, shown
from apps.plans.documents.schema import UNLIMITED, pricing_document_schema
from apps.plans.documents.usage_by_hand import NO_USAGE, read_usage

_PROBLEMS_MAX: Final = 200
# Control characters and halves of surrogate pairs: no column, invoice or hash can hold them.
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})

_POSITION: Final = re.compile(r"[0-9]{1,9}")


def validate(*, document: Mapping[str, Any], known_meters: Mapping[str, KnownMeter] | None = None) -> CanonicalPlan:
    """
    Return the canonical plan of a pricing document.

    :param known_meters: meters by code that charges and features may name; None leaves that question to the caller
    :raises PlanDocumentInvalid: naming every problem with its JSON pointer and remedy
    """
    if not isinstance(document, dict):
        detail = "must be an object with named fields such as plan, name, currency and interval"
        raise refusal([FieldProblem("", "not_an_object", detail)])
    problems = list(islice(_foreign_values(document), _PROBLEMS_MAX + 1))
    if len(problems) > _PROBLEMS_MAX or any(problem.code in ("not_json", "too_deep") for problem in problems):
        raise refusal(problems)
    problems += _schema_problems(document)
    if len(problems) > _PROBLEMS_MAX:
        # The schema was not read to its end, so nothing is known of the rest.
        raise refusal(_in_order(problems))
    problems += checks.document_problems(document=document, found=problems, known_meters=known_meters)
    charges = _read_charges(document, problems)
    commitment = _read_commitment(document, problems)
    if problems:
        raise refusal(_in_order(problems))
    return CanonicalPlan(
        code=document["plan"],
        name=document["name"].strip(),
        currency=document["currency"],
        interval=Interval(unit=document["interval"]["unit"], count=document["interval"]["count"]),
        effective_at=datetime.fromisoformat(document["effective_at"].upper()).astimezone(UTC),
        rounding=Rounding(document.get("rounding") or Rounding.HALF_UP),
        charges=charges,
        features=tuple(_feature(code, value) for code, value in sorted((document.get("features") or {}).items())),
        examples=tuple(_example(item, document["currency"]) for item in document.get("examples") or ()),
        proration=ProrationMode(document.get("proration") or ProrationMode.BY_SECOND),
        trial_days=document.get("trial_days") or 0,
        minimum_commitment_minor=_minor(document, "minimum_commitment"),
        commitment=commitment,
        cliff_limit_minor=_minor(document, "cliff_limit"),
    )


def _foreign_values(document: Any) -> Iterator[FieldProblem]:
    """Yield a problem for each value that a careful JSON reader would not have produced; a loop, not a recursion."""
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while pending:
        parts, value = pending.pop()
        pointer = pointer_of(parts)
        if len(parts) > DEPTH_MAX:
            yield FieldProblem(pointer, "too_deep", f"is nested too deep; {DEPTH_MAX} levels are possible")
        elif isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    yield FieldProblem(pointer, "not_json", f"has the key {key!r}; keys are text")
                else:
                    pending += [((*parts, key), item), ((*parts, key), _Key(key))]
        elif isinstance(value, list):
            pending += [((*parts, position), item) for position, item in enumerate(value)]
        elif isinstance(value, str):
            if any(unicodedata.category(character) in _UNPRINTABLE for character in value):
                yield FieldProblem(pointer, "unprintable", "holds a control character or a line break; remove it")
        elif isinstance(value, float | Decimal):
            yield FieldProblem(pointer, "number", "must be a decimal string: put the number in quotes")
        elif value is not None and not isinstance(value, bool | int):
            yield FieldProblem(pointer, "not_json", f"is a {type(value).__name__}; use text, a whole number or null")


class _Key(str):
    """A key on its way through the checks for text."""

    __slots__ = ()


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(pricing_document_schema())


def _schema_problems(document: Mapping[str, Any]) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    for error in _validator().iter_errors(document):
        problems += _worded(error)
        if len(problems) > _PROBLEMS_MAX:
            break
    return problems


def _worded(error: ValidationError) -> list[FieldProblem]:
    """Return a schema violation in words: what stands there, and what must stand there instead."""
    parts = tuple(error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    if error.validator == "required":
        # The validator says one by one what is missing; all of it is named each time, and one of each is kept.
        return [
            FieldProblem(pointer_of((*parts, name)), "required", f"is required; give {_expected(schema, name)}")
            for name in schema["required"]
            if name not in instance
        ]
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        names = ", ".join(sorted(name for name in known if not _is_left_out(known[name])))
        return [
            FieldProblem(
                pointer_of((*parts, name)), "unknown_field", f"is not a known field; remove it or use one of {names}"
            )
            for name in sorted(instance.keys() - known.keys())
        ]
    if error.validator in ("maxItems", "minItems", "maxProperties"):
        return [FieldProblem(pointer_of(parts), "count", f"must be {schema['description']}, not {len(instance)}")]
    expected = schema.get("description", f"as the schema says: {error.message[:200]}")
    # A key that is refused (propertyNames) has no value of its own to point at.
    is_key = "propertyNames" in error.absolute_schema_path
    pointer = pointer_of((*parts, str(instance))) if is_key else pointer_of(parts)
    code = "not_available" if _is_left_out(schema) else str(error.validator)
    return [FieldProblem(pointer, code, f"must be {expected}, not {shown(instance)}")]


def _is_left_out(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _expected(schema: Mapping[str, Any], name: str) -> str:
    properties = schema.get("properties", {}).get(name, {})
    if isinstance(properties, dict) and "$ref" in properties:
        properties = pricing_document_schema()["$defs"][properties["$ref"].rpartition("/")[2]]
    return str(properties.get("description", "it"))


def _read_charges(document: Mapping[str, Any], problems: list[FieldProblem]) -> tuple[ChargeTerms, ...]:
    """Let the engine read each charge; add what it refuses where nothing else was found wrong."""
    currency = document.get("currency")
    read: list[ChargeTerms] = []
    for pointer, charge in _charge_documents(document):
        if checks.is_touched(pointer=pointer, problems=problems) or checks.is_touched(
            pointer="/currency", problems=problems
        ):
            continue
        try:
            read.append(charge_from_document(charge, currency=str(currency), path=""))
        except EngineError as error:
            place = pointer + pointer_of_engine_path(error.path)
            problems.append(FieldProblem(place, error.code, error.detail))
    return tuple(sorted(read, key=lambda terms: (terms.code != BASE_FEE_CODE, terms.code)))


def _read_commitment(document: Mapping[str, Any], problems: list[FieldProblem]) -> CommitmentTerms | None:
    commitment = document.get("commitment")
    if not isinstance(commitment, Mapping) or any(
        checks.is_touched(pointer=pointer, problems=problems) for pointer in ("/commitment", "/currency")
    ):
        return None
    try:
        return commitment_from_document(commitment, currency=document["currency"])
    except EngineError as error:
        problems.append(FieldProblem(pointer_of_engine_path(error.path), error.code, error.detail))
        return None


def _minor(document: Mapping[str, Any], name: str) -> int | None:
    return None if document.get(name) is None else text_to_minor(document[name], document["currency"])


def _charge_documents(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    base_fee, charges = document.get("base_fee"), document.get("charges")
    if isinstance(base_fee, Mapping):
        given = {key: value for key, value in base_fee.items() if value is not None}
        yield "/base_fee", {"code": BASE_FEE_CODE, "model": "flat", "timing": "advance", **given}
    for position, charge in enumerate(charges if isinstance(charges, list) else ()):
        if isinstance(charge, Mapping):
            yield f"/charges/{position}", charge


def _feature(code: str, value: Any) -> FeatureTerms:
    if isinstance(value, bool):
        return FeatureTerms(code=code, is_granted=value)
    is_unlimited = value["limit"] == UNLIMITED
    return FeatureTerms(
        code=code,
        is_granted=True,
        limit_units=None if is_unlimited else Decimal(value["limit"]),
        is_unlimited=is_unlimited,
        meter=value.get("meter"),
        on_exceed=value.get("on_exceed") or "",
        is_prorated=bool(value.get("prorate")),
    )


def _example(item: Mapping[str, Any], currency: str) -> PlanExample:
    return PlanExample(
        name=item.get("name") or "",
        # Read once before, by the checks: nothing is wrong with it.
        usage={code: read_usage(used, parts=(), problems=[]) or NO_USAGE for code, used in item["usage"].items()},
        total_minor=text_to_minor(item["total"], currency),
        quantity=Decimal(item.get("quantity") or 1),
    )


def _in_order(problems: list[FieldProblem]) -> list[FieldProblem]:
    """Return one problem per place: a number in place of text breaks several rules and is one mistake."""
    first: dict[str, FieldProblem] = {}
    for problem in problems:
        first.setdefault(problem.pointer, problem)
    return sorted(first.values(), key=lambda problem: _sort_key(problem.pointer))[:_PROBLEMS_MAX]


def _sort_key(pointer: str) -> list[tuple[int, str]]:
    """Return a key by which positions in a list sort as numbers; a key of an object may be digits of any kind."""
    return [(int(part), "") if _POSITION.fullmatch(part) else (-1, part) for part in pointer.split("/")]
