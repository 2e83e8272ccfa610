"""Read grants, caps and decisions, and decide a recorded question again."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from apps.common import ids
from apps.engine.access import AccessDecision as DecidedAccess
from apps.engine.access import decide_access, question_from_document
from apps.entitlements.errors import CapUnknown
from apps.entitlements.models import AccessDecision, Entitlement, UsageCap


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReplay:
    """What a recorded question is decided as now, and whether that is what was decided then."""

    decision: DecidedAccess
    is_same: bool


def entitlements_of(*, customer_id: UUID) -> QuerySet[Entitlement]:
    """Return a customer's grants beside the plan, newest first."""
    return Entitlement.objects.filter(customer_id=customer_id).select_related("customer").order_by("-id")


def caps_of(*, customer_id: UUID) -> QuerySet[UsageCap]:
    """Return the caps that a customer holds, newest first."""
    held = UsageCap.objects.filter(customer_id=customer_id, withdrawn_at__isnull=True)
    return held.select_related("meter", "subscription__plan_version__plan").order_by("-id")


def cap_by_reference(*, customer_id: UUID, reference: str) -> UsageCap:
    """
    Return a customer's cap with this public id, withdrawn or not.

    :raises CapUnknown: if there is none
    """
    try:
        cap_id = UsageCap.id_from_public(reference)
    except ids.IdInvalid as error:
        raise CapUnknown(f"There is no cap '{reference[:60]}'.") from error
    cap = UsageCap.objects.filter(customer_id=customer_id, id=cap_id).select_related("meter", "subscription").first()
    if cap is None:
        raise CapUnknown(f"There is no cap '{reference[:60]}'.")
    return cap


def decision_replay(*, entry: AccessDecision) -> DecisionReplay:
    """Decide a recorded question once more, from what was recorded alone."""
    decision = decide_access(question_from_document(entry.question))
    then = (entry.is_allowed, entry.reason, entry.limit_units, entry.used_units)
    now = (decision.is_allowed, str(decision.reason), decision.limit_units, decision.used_units)
    return DecisionReplay(decision=decision, is_same=then == now)
