"""The customer's limits and caps: what the plan allows, and lines that the customer draws for itself."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from apps.common import formatting
from apps.common.errors import DomainError
from apps.entitlements import selectors as entitlement_selectors
from apps.entitlements import services as entitlement_services
from apps.entitlements.caps import CapInput
from apps.entitlements.errors import CapUnknown
from apps.entitlements.models import CapKind, UsageCap
from apps.metering import selectors as metering_selectors
from apps.metering.limit_models import LimitOrigin, UsageLimit
from apps.metering.limits import units_used
from apps.portal.access import Viewer, customer_page, page_context
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.errors import SubscriptionUnknown
from apps.subscriptions.models import Subscription
from apps.workflows import usage_limits

_BAR_WIDTH: Final = 100
_ABOVE: Final = {
    "reject": ("Usage stops", "danger"),
    "throttle": ("Usage goes on, slower", "info"),
    "notify": ("Usage goes on, you are told", "info"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A limit as the page shows it."""

    name: str
    unit: str
    used: str
    limit: str
    share: int
    width: int
    resets: str
    above: str
    tone: str
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CapRow:
    """A cap as the page shows it, and what the viewer may do with it."""

    id: str
    meter: str
    plan: str
    kind: str
    units: str
    approver: str
    asked: str
    agreed: str
    can_agree: bool
    can_withdraw: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A subscription's meter that can be capped."""

    value: str
    words: str


@customer_page
def limits(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show what is used of each limit, and the caps with a form for another."""
    return _page(request, viewer)


@customer_page
def cap_add(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Set a cap as the form asks."""
    at = viewer.now()
    try:
        subscription, data = _asked(request, viewer)
        entitlement_services.cap_set(subscription=subscription, data=data, actor=viewer.actor, at=at)
    except DomainError as error:
        said = [problem.detail for problem in error.problems] or [error.detail]
        return _page(request, viewer, problems=said, asked=request.POST)
    usage_limits.usage_limits_make(customer_ids=[viewer.customer.id], actor=viewer.actor, at=at)
    return redirect("portal:limits")


@customer_page
def cap_decide(request: HttpRequest, viewer: Viewer, reference: str, verb: str) -> HttpResponse:
    """Agree to use above a soft cap until the period ends, or take a cap away."""
    cap, at = _cap_of(viewer, reference), viewer.now()
    try:
        if verb == "agree":
            entitlement_services.cap_agree(cap=cap, actor=viewer.actor, email=viewer.user.email, at=at)
        elif verb == "withdraw":
            entitlement_services.cap_withdraw(cap=cap, actor=viewer.actor, at=at)
        else:
            raise Http404(f"Nobody can '{verb[:20]}' a cap.")
    except DomainError as error:
        return _page(request, viewer, problems=[error.detail])
    usage_limits.usage_limits_make(customer_ids=[viewer.customer.id], actor=viewer.actor, at=at)
    return redirect("portal:limits")


cap_add_posted = require_POST(cap_add)
cap_decide_posted = require_POST(cap_decide)


def _page(
    request: HttpRequest, viewer: Viewer, *, problems: list[str] | None = None, asked: Any = None
) -> HttpResponse:
    at = viewer.now()
    if usage_limits.limits_missing(customer_ids=[viewer.customer.id], first=at, last=at, at=at):
        usage_limits.usage_limits_make(customer_ids=[viewer.customer.id], actor=viewer.actor, at=at)
    context = page_context(
        request,
        viewer,
        title="Limits",
        at=formatting.instant_text(at, viewer.customer.timezone, viewer.locale),
        limits=[_limit_row(limit, viewer) for limit in _running(viewer, at)],
        caps=[_cap_row(cap, viewer, at) for cap in entitlement_selectors.caps_of(customer_id=viewer.customer.id)],
        choices=_choices(viewer, at),
        kinds=[(str(kind.value), *str(kind.label).split(": ", 1)) for kind in CapKind],
        problems=problems or [],
        asked=asked or {},
    )
    return TemplateResponse(request, "portal/limits.html", context, status=422 if problems else 200)


def _running(viewer: Viewer, at: datetime) -> Any:
    return (
        UsageLimit.objects.filter(
            customer=viewer.customer, withdrawn_at__isnull=True, starts_at__lte=at, ends_at__gt=at
        )
        .select_related("meter")
        .order_by("meter__name", "origin", "limit_units", "id")
    )


def _limit_row(limit: UsageLimit, viewer: Viewer) -> LimitRow:
    used = units_used(limit=limit)
    share = int(used * 100 / limit.limit_units) if limit.limit_units else 100
    above, tone = _ABOVE[limit.on_exceed]
    return LimitRow(
        name=limit.meter.name,
        unit=limit.meter.unit_name,
        used=_number(used, viewer),
        limit=_number(limit.limit_units, viewer),
        share=share,
        width=min(share, _BAR_WIDTH),
        resets=formatting.instant_text(limit.ends_at, viewer.customer.timezone, viewer.locale),
        above=above,
        tone=tone,
        is_own=limit.origin == LimitOrigin.CUSTOMER,
    )


def _cap_row(cap: UsageCap, viewer: Viewer, at: datetime) -> CapRow:
    email = viewer.user.email.lower()
    agreement = cap.agreements.filter(starts_at__lte=at, ends_at__gt=at).first()
    is_soft = cap.kind == CapKind.SOFT
    return CapRow(
        id=cap.public_id,
        meter=cap.meter.name,
        plan=cap.subscription.plan_version.plan.name,
        kind=str(CapKind(cap.kind).label).split(":", 1)[0],
        units=f"{_number(cap.cap_units, viewer)} {cap.meter.unit_name}".strip(),
        approver=cap.approver_email,
        asked=f"{cap.asked_by_name}, " + formatting.instant_text(cap.asked_at, viewer.customer.timezone, viewer.locale),
        agreed="" if agreement is None else f"{agreement.agreed_by_name} agreed until the period ends",
        can_agree=is_soft and agreement is None and email == cap.approver_email and viewer.user.id != cap.asked_by,
        can_withdraw=not is_soft or email == cap.approver_email,
    )


def _choices(viewer: Viewer, at: datetime) -> list[Choice]:
    """Return each running subscription with each meter that it charges or limits."""
    found = []
    for subscription in subscription_selectors.subscriptions_queryset().filter(customer=viewer.customer):
        period = subscription_selectors.current_period(subscription_id=subscription.id, at=at)
        if period is None:
            continue
        version = period.plan_version
        meters = {charge.meter for charge in version.charges.filter(meter__isnull=False).select_related("meter")}
        meters |= {feature.meter for feature in version.features.filter(meter__isnull=False).select_related("meter")}
        for meter in sorted((m for m in meters if m is not None), key=lambda m: m.name):
            value = f"{subscription.public_id} {meter.public_id}"
            found.append(Choice(value=value, words=f"{meter.name} on {version.plan.name}"))
    return found


def _asked(request: HttpRequest, viewer: Viewer) -> tuple[Subscription, CapInput]:
    """
    Return what the form asks for.

    :raises Http404: if it names what the page did not offer
    """
    chosen = request.POST.get("what", "")
    if chosen not in {choice.value for choice in _choices(viewer, viewer.now())}:
        raise Http404("There is no such meter.")
    subscription_reference, meter_reference = chosen.split(" ")
    try:
        subscription = subscription_selectors.subscription_by_reference(subscription_reference)
    except SubscriptionUnknown as error:
        raise Http404(error.detail) from error
    data = CapInput(
        meter=metering_selectors.meter_by_reference(meter_reference),
        kind=request.POST.get("kind", ""),
        cap_units=_units(request.POST.get("units", "")),
        approver_email=request.POST.get("approver", "") if request.POST.get("kind") == CapKind.SOFT else "",
    )
    return subscription, data


def _units(text: str) -> Decimal:
    try:
        units = Decimal(text.strip())
    except InvalidOperation:
        return Decimal(-1)
    return units if units.is_finite() and abs(units) < Decimal(10) ** 20 else Decimal(-1)


def _cap_of(viewer: Viewer, reference: str) -> UsageCap:
    try:
        return entitlement_selectors.cap_by_reference(customer_id=viewer.customer.id, reference=reference)
    except CapUnknown as error:
        raise Http404(error.detail) from error


def _number(number: Decimal, viewer: Viewer) -> str:
    return formatting.number_text(f"{number:f}", viewer.locale)
