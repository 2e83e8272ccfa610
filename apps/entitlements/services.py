"""Grant beside the plan, record decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers.models import Customer
from apps.engine.access import AccessDecision as DecidedAccess
from apps.engine.access import AccessQuestion, question_to_document
from apps.entitlements.caps import cap_agree, cap_set, cap_withdraw
from apps.entitlements.errors import EntitlementInvalid, EntitlementRevoked, GrantKeyTaken
from apps.entitlements.models import AccessDecision, Entitlement
from apps.messaging import services as messaging_services

__all__ = [
    "DecisionRecord",
    "EntitlementInput",
    "cap_agree",
    "cap_set",
    "cap_withdraw",
    "decisions_prune",
    "decisions_record",
    "entitlement_grant",
    "entitlement_revoke",
]

DECISIONS_KEPT: Final = timedelta(days=90)
_PRUNED_BATCH: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitlementInput:
    """What is to be granted beside the plan."""

    feature_code: str
    grant_key: str
    starts_at: datetime
    ends_at: datetime | None = None
    is_granted: bool = True
    extra_units: Decimal | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision to be recorded; `facts` are columns that only help to find and to explain it."""

    decided_at: datetime
    occasion: str
    customer_id: Any
    feature_code: str
    question: AccessQuestion
    decision: DecidedAccess
    facts: Mapping[str, Any] = field(default_factory=dict)


@unit_of_work
def entitlement_grant(*, customer: Customer, data: EntitlementInput, actor: Actor, at: datetime) -> Entitlement:
    """
    Grant a feature beside the plan, once for each key; the same grant again returns the one that is there.

    :raises EntitlementInvalid: naming every field that cannot be accepted
    :raises GrantKeyTaken: if the key names another grant
    """
    problems = tuple(_grant_problems(data))
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise EntitlementInvalid(f"The grant cannot be given. {summary}", problems=problems)
    terms = {
        "customer_id": customer.id,
        "feature_code": data.feature_code,
        "is_granted": data.is_granted,
        "extra_units": data.extra_units,
        "starts_at": data.starts_at,
        "ends_at": data.ends_at,
    }
    locks.advisory_lock(f"entitlements:grant:{data.grant_key}")
    known = Entitlement.objects.filter(grant_key=data.grant_key).first()
    if known is not None:
        if {name: getattr(known, name) for name in terms} == terms:
            return known
        detail = f"The key '{data.grant_key}' granted something else already; a further grant needs a key of its own."
        raise GrantKeyTaken(detail, facts={"entitlement": known.public_id})
    grant = Entitlement.objects.create(
        **terms,
        grant_key=data.grant_key,
        comment=data.comment,
        granted_by_name=actor.label[:200],
        granted_at=at,
    )
    facts = _grant_facts(grant)
    audit_services.entry_write(entity=grant, action="grant", actor=actor, at=at, before={}, after=facts)
    _publish(grant, "entitlements.entitlement.granted", actor, at)
    return grant


@unit_of_work
def entitlement_revoke(*, entitlement: Entitlement, actor: Actor, at: datetime) -> Entitlement:
    """
    End a grant at once.

    :raises EntitlementRevoked: if it was revoked already
    """
    grant = locks.get_for_update(Entitlement, entitlement.id)
    if grant.revoked_at is not None:
        raise EntitlementRevoked(f"The grant was revoked at {grant.revoked_at.isoformat()} already.")
    grant.revoked_at, grant.revoked_by_name = at, actor.label[:200]
    grant.save(update_fields=["revoked_at", "revoked_by_name"])
    audit_services.entry_write(
        entity=grant, action="revoke", actor=actor, at=at, before={}, after={"revoked_at": at.isoformat()}
    )
    _publish(grant, "entitlements.entitlement.revoked", actor, at)
    return grant


def _grant_problems(data: EntitlementInput) -> list[FieldProblem]:
    problems = []
    if not data.grant_key.strip():
        detail = "is required; name the order or ticket it is given for, so that it is given once"
        problems.append(FieldProblem("/grant_key", "required", detail))
    if not data.feature_code.strip() or data.feature_code == "*":
        problems.append(FieldProblem("/feature", "required", "is required; name one feature, not the sign for all"))
    if data.ends_at is not None and data.ends_at <= data.starts_at:
        problems.append(FieldProblem("/ends_at", "too_early", "must come after starts_at, or be left out"))
    if data.extra_units is not None and (data.extra_units <= 0 or not data.is_granted):
        detail = "must be above 0, and only with a feature that is granted; to take a feature away, leave it out"
        problems.append(FieldProblem("/extra_units", "invalid", detail))
    return problems


def _grant_facts(grant: Entitlement) -> dict[str, Any]:
    return {
        "feature": grant.feature_code,
        "is_granted": grant.is_granted,
        "extra_units": None if grant.extra_units is None else str(grant.extra_units),
        "starts_at": grant.starts_at.isoformat(),
        "ends_at": grant.ends_at.isoformat() if grant.ends_at else None,
        "grant_key": grant.grant_key,
    }


def _publish(grant: Entitlement, topic: str, actor: Actor, at: datetime) -> None:
    messaging_services.event_publish(
        topic=topic,
        aggregate_type=Entitlement._meta.label_lower,
        aggregate_id=grant.id,
        payload={"id": grant.public_id, "customer": grant.customer.public_id, **_grant_facts(grant)},
        actor=actor,
        at=at,
    )


@unit_of_work
def decisions_record(*, records: Sequence[DecisionRecord]) -> None:
    """Keep decisions, each with all that it was made from."""
    AccessDecision.objects.bulk_create(
        (
            AccessDecision(
                decided_at=record.decided_at,
                occasion=record.occasion,
                customer_id=record.customer_id,
                feature_code=record.feature_code,
                is_allowed=record.decision.is_allowed,
                reason=str(record.decision.reason),
                policy=str(record.decision.limit.policy) if record.decision.limit is not None else "",
                limit_units=record.decision.limit_units,
                used_units=record.decision.used_units,
                asked_units=record.question.asked_units,
                question=question_to_document(record.question),
                **record.facts,
            )
            for record in records
        ),
        batch_size=500,
    )


@unit_of_work
def decisions_prune(*, at: datetime, kept: timedelta = DECISIONS_KEPT) -> int:
    """Forget decisions that are older than `kept`, a batch at a time, and return how many."""
    old = AccessDecision.objects.filter(decided_at__lt=at - kept).order_by("decided_at").values("id")[:_PRUNED_BATCH]
    count, _by_model = AccessDecision.objects.filter(id__in=old).delete()
    return count
