"""Reach limits through plans, subscriptions and caps, never by writing a row."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from apps.common.actors import Actor, ActorKind
from apps.entitlements import services
from apps.entitlements.caps import CapInput
from apps.entitlements.models import Entitlement, UsageCap
from apps.entitlements.services import EntitlementInput
from apps.metering import selectors as metering_selectors
from apps.subscriptions.models import Subscription
from apps.workflows import access_checks
from apps.workflows.access_checks import AccessAnswer
from tests.builders import customers, plans, subscriptions

START = datetime(2026, 1, 1, tzinfo=UTC)


def person(email: str = "ann@example.test") -> Actor:
    """Return somebody of a customer, as the portal knows them."""
    return Actor(kind=ActorKind.CUSTOMER, id=uuid4(), label=email)


def limited(
    *,
    code: str = "acme",
    limit: str = "10",
    on_exceed: str = "reject",
    meter: str = "api_calls",
    more: dict[str, Any] | None = None,
    **overrides: Any,
) -> Subscription:
    """Subscribe a customer of that code to a plan of its own whose feature, named as its meter, has that limit."""
    features = {meter: {"limit": limit, "meter": meter, "on_exceed": on_exceed}, **(more or {})}
    plans.published_plan(code=f"plan-{code}", features=features, charges=[], **overrides)
    customer = customers.customer(external_id=code)
    return subscriptions.subscription(customer=customer, plan_code=f"plan-{code}")


def cap(
    subscription: Subscription,
    *,
    kind: str = "hard",
    units: str = "5",
    meter: str = "api_calls",
    at: datetime,
    actor: Actor | None = None,
    approver: str = "",
) -> UsageCap:
    """Set a cap as somebody of the customer."""
    data = CapInput(
        meter=metering_selectors.meter_by_reference(meter), kind=kind, cap_units=Decimal(units), approver_email=approver
    )
    return services.cap_set(subscription=subscription, data=data, actor=actor or person(), at=at)


def grant(subscription: Subscription, *, at: datetime, key: str = "order-1", **overrides: Any) -> Entitlement:
    """Grant something beside the plan."""
    terms = {"feature_code": "api_calls", "grant_key": key, "starts_at": START, **overrides}
    return services.entitlement_grant(
        customer=subscription.customer, data=EntitlementInput(**terms), actor=person("fin@tenant.test"), at=at
    )


def check(
    subscription: Subscription, *, at: datetime, feature: str = "api_calls", units: str | None = None
) -> AccessAnswer:
    """Ask what a service asks before it acts."""
    asked = None if units is None else Decimal(units)
    return access_checks.entitlement_check(
        customer_id=subscription.customer_id, feature_code=feature, units=asked, at=at
    )
