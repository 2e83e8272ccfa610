"""Reach plans through pricing documents and the services."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from apps.common.actors import OPERATOR
from apps.engine.money import minor_to_text
from apps.plans import documents, pricing, selectors, services
from apps.plans.errors import PlanDocumentInvalid
from apps.plans.models import PlanVersion
from tests.builders import metering

DRAFTED = datetime(2026, 1, 1, tzinfo=UTC)
EFFECTIVE = "2020-01-01T00:00:00Z"  # before whatever a test lets happen

CALLS: dict[str, Any] = {
    "code": "api_calls",
    "meter": "api_calls",
    "model": "graduated",
    "included_units": "10000",
    "tiers": [{"up_to": "100000", "unit_rate": "0.005"}, {"up_to": None, "unit_rate": "0.003"}],
}


def plan_document(
    *,
    code: str = "growth",
    base_fee: str | dict[str, Any] | None = "99.00",
    base_fee_timing: str = "advance",
    **overrides: Any,
) -> dict[str, Any]:
    """
    Return the pricing document of a monthly plan in US dollars; overrides are fields of the document.

    Its golden example is what the terms themselves make of no usage: a test of examples writes its own.
    """
    document = {
        "plan": code,
        "name": code.capitalize(),
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "effective_at": EFFECTIVE,
        "base_fee": {"amount": base_fee, "timing": base_fee_timing} if isinstance(base_fee, str) else base_fee,
        "charges": [CALLS],
    }
    document |= overrides
    if "examples" not in document:
        document["examples"] = [{"usage": {}, "total": _price_of_nothing(document)}]
    return document


def _price_of_nothing(document: dict[str, Any]) -> str:
    try:
        plan = documents.validate(document=document)
    except PlanDocumentInvalid:
        return "0.00"  # a test of what is refused
    example = documents.PlanExample(name="", usage={}, total_minor=-1)
    (mismatch,) = pricing.examples_mismatched(plan=replace(plan, examples=(example,)))
    return minor_to_text(mismatch.actual_minor, plan.currency)


def drafted_plan(*, at: datetime = DRAFTED, **overrides: Any) -> PlanVersion:
    """Apply a pricing document; meters that it names and that do not exist count events of their own name."""
    document = plan_document(**overrides)
    named = {charge.get("meter") for charge in document["charges"]}
    named |= {item.get("meter") for item in (document.get("features") or {}).values() if isinstance(item, dict)}
    for meter_code in sorted(code for code in named - {None} if code not in selectors.meters_current()):
        metering.meter(code=meter_code)
    return services.plan_document_apply(document=document, actor=OPERATOR, at=at).version


def published_plan(*, at: datetime = DRAFTED, **overrides: Any) -> PlanVersion:
    """Apply a pricing document and publish it."""
    draft = drafted_plan(at=at, **overrides)
    return services.plan_version_publish(plan_code=draft.plan.code, version=draft.version, actor=OPERATOR, at=at)
