"""Caps that a customer sets for itself: alert, soft with an approver, hard."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor, ActorKind
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.entitlements.errors import CapAgreementRefused, CapInvalid, CapWithdrawn
from apps.entitlements.models import CapKind, UsageCap, UsageCapAgreement
from apps.messaging import services as messaging_services
from apps.metering.limit_models import OnExceed
from apps.metering.models import Meter
from apps.subscriptions import features as subscription_features
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.models import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class CapInput:
    """What a customer asks for; an approver belongs to a soft cap."""

    meter: Meter
    kind: str
    cap_units: Decimal
    approver_email: str = ""


@unit_of_work
def cap_set(*, subscription: Subscription, data: CapInput, actor: Actor, at: datetime) -> UsageCap:
    """
    Draw a line for a subscription's meter; one of the same kind that was there is withdrawn in its favour.

    It holds in the running period and in each one after it. It may not lie above what the plan allows: it would never
    be reached, and would look as if it protected.

    :raises CapInvalid: naming every field that cannot be accepted
    :raises CapAgreementRefused: if a soft cap is raised by somebody of the customer who is not its approver
    """
    locks.get_for_update(Subscription, subscription.id)
    problems = tuple(_cap_problems(subscription, data, actor, at))
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise CapInvalid(f"The cap cannot be set. {summary}", problems=problems)
    live = UsageCap.objects.filter(
        subscription=subscription, meter__code=data.meter.code, kind=data.kind, withdrawn_at__isnull=True
    )
    for cap in live:
        # Raising a soft cap, or naming another approver, is what the approver is there to prevent.
        is_lowered = data.cap_units <= cap.cap_units and data.approver_email.strip().lower() == cap.approver_email
        if cap.kind == CapKind.SOFT and not is_lowered:
            cap_withdraw(cap=cap, actor=actor, at=at)
        else:
            _withdraw(cap, actor, at)
    cap = UsageCap.objects.create(
        customer_id=subscription.customer_id,
        subscription=subscription,
        meter=data.meter,
        kind=data.kind,
        cap_units=data.cap_units,
        approver_email=data.approver_email.strip().lower(),
        asked_by=actor.id,
        asked_by_name=actor.label[:200],
        asked_at=at,
    )
    audit_services.entry_write(entity=cap, action="set", actor=actor, at=at, before={}, after=_facts(cap))
    _publish(cap, "entitlements.cap.set", actor, at)
    return cap


@unit_of_work
def cap_withdraw(*, cap: UsageCap, actor: Actor, at: datetime) -> UsageCap:
    """
    Take a cap away; from here on it holds in no window that is not over yet.

    A soft cap is there so that one person alone cannot go above it, so it is its approver, or the tenant, who takes it
    away; whoever set it may ask for a lower one.

    :raises CapWithdrawn: if it was withdrawn already
    :raises CapAgreementRefused: if a soft cap is to be taken away by somebody of the customer who is not its approver
    """
    held = locks.get_for_update(UsageCap, cap.id)
    if held.withdrawn_at is not None:
        raise CapWithdrawn(f"The cap was withdrawn at {held.withdrawn_at.isoformat()} already.")
    is_own = actor.kind is ActorKind.CUSTOMER and actor.label.strip().lower() != held.approver_email
    if held.kind == CapKind.SOFT and is_own:
        raise CapAgreementRefused(f"Only {held.approver_email}, who approves, may take this cap away.")
    _withdraw(held, actor, at)
    return held


@unit_of_work
def cap_agree(*, cap: UsageCap, actor: Actor, email: str, at: datetime) -> UsageCapAgreement:
    """
    Agree to use above a soft cap until the running period ends; agreed already is the agreement that is there.

    :param email: the address of the person who is signed in, which is to be the approver's
    :raises CapWithdrawn: if the cap is withdrawn
    :raises CapAgreementRefused: if the person is not the approver, or set the cap, or no period runs
    """
    held = locks.get_for_update(UsageCap, cap.id)
    if held.withdrawn_at is not None:
        raise CapWithdrawn("The cap was withdrawn; there is nothing to agree to.")
    if held.kind != CapKind.SOFT:
        raise CapAgreementRefused("Only a soft cap can be agreed to; withdraw this one, or set another.")
    if email.strip().lower() != held.approver_email:
        raise CapAgreementRefused(f"Only {held.approver_email} may agree to this; ask them to sign in.")
    if actor.id is None or actor.id == held.asked_by:
        raise CapAgreementRefused("Who set a cap cannot agree to go above it; another person has to.")
    period = subscription_selectors.current_period(subscription_id=held.subscription_id, at=at)
    if period is None:
        raise CapAgreementRefused("No period of the subscription runs, so that nothing is capped.")
    agreement, is_new = UsageCapAgreement.objects.get_or_create(
        cap=held,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        defaults={
            "asked_by": held.asked_by,
            "agreed_by": actor.id,
            "agreed_by_name": actor.label[:200],
            "agreed_at": at,
        },
    )
    if is_new:
        after = {"until": agreement.ends_at.isoformat(), "agreed_by": agreement.agreed_by_name}
        audit_services.entry_write(entity=held, action="agree", actor=actor, at=at, before={}, after=after)
        _publish(held, "entitlements.cap.agreed", actor, at)
    return agreement


def plan_limit(*, subscription: Subscription, meter_code: str, at: datetime) -> Decimal | None:
    """Return the limit above which the running period's plan refuses events of a meter; None without one."""
    period = subscription_selectors.current_period(subscription_id=subscription.id, at=at)
    if period is None:
        return None
    limits = [
        subscription_features.feature_granted(subscription=subscription, feature_code=code, at=at).limit_units
        for code in period.plan_version.features.filter(
            meter__code=meter_code, on_exceed=OnExceed.REJECT, is_granted=True, limit_units__isnull=False
        ).values_list("code", flat=True)
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def _cap_problems(subscription: Subscription, data: CapInput, actor: Actor, at: datetime) -> list[FieldProblem]:
    problems = []
    if data.kind not in CapKind.values:
        problems.append(FieldProblem("/kind", "unknown", f"must be one of {', '.join(CapKind.values)}"))
    if data.kind in (CapKind.SOFT, CapKind.HARD) and not data.meter.is_refusable:
        detail = (
            f"'{data.meter.code}' adds up by {data.meter.aggregation}, which events cannot be refused by; set an "
            "alert, or cap a meter that counts, sums, takes the largest value or counts different values"
        )
        problems.append(FieldProblem("/meter", "not_refusable", detail))
    if data.cap_units < 0:
        problems.append(FieldProblem("/cap_units", "too_small", "must be 0 or more"))
    approver = data.approver_email.strip().lower()
    if data.kind == CapKind.SOFT and not approver:
        detail = "is required for a soft cap; name who may agree to more"
        problems.append(FieldProblem("/approver_email", "required", detail))
    if data.kind != CapKind.SOFT and approver:
        problems.append(FieldProblem("/approver_email", "not_used", "belongs to a soft cap; leave it out"))
    if approver and approver == actor.label.strip().lower():
        detail = "must be somebody else: who sets a cap cannot be who agrees to go above it"
        problems.append(FieldProblem("/approver_email", "own", detail))
    allowed = plan_limit(subscription=subscription, meter_code=data.meter.code, at=at)
    if allowed is not None and data.cap_units > allowed:
        detail = f"lies above the plan's own limit of {allowed.normalize():f} and would never be reached; set it lower"
        problems.append(FieldProblem("/cap_units", "above_plan", detail))
    return problems


def _withdraw(cap: UsageCap, actor: Actor, at: datetime) -> None:
    cap.withdrawn_at, cap.withdrawn_by_name = at, actor.label[:200]
    cap.save(update_fields=["withdrawn_at", "withdrawn_by_name"])
    after = {"withdrawn_at": at.isoformat()}
    audit_services.entry_write(entity=cap, action="withdraw", actor=actor, at=at, before=_facts(cap), after=after)
    _publish(cap, "entitlements.cap.withdrawn", actor, at)


def _facts(cap: UsageCap) -> dict[str, Any]:
    return {
        "subscription": str(cap.subscription_id),
        "meter": cap.meter.code,
        "kind": cap.kind,
        "cap_units": str(cap.cap_units),
        "approver": cap.approver_email,
    }


def _publish(cap: UsageCap, topic: str, actor: Actor, at: datetime) -> None:
    messaging_services.event_publish(
        topic=topic,
        aggregate_type=UsageCap._meta.label_lower,
        aggregate_id=cap.id,
        payload={"id": cap.public_id, "customer": cap.customer.public_id, **_facts(cap)},
        actor=actor,
        at=at,
    )
