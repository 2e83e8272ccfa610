"""Keep corrections of usage: ask, decide, write what counts no more. What is brought goes through the door itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import fetch_all, unit_of_work
from apps.common.errors import FieldProblem
from apps.engine.exact import decimal_text
from apps.lifecycle.services import transition_apply
from apps.metering import corrections_sql, event_identity
from apps.metering.corrected_events import PlannedEvent, StoredEvent
from apps.metering.correction_documents import (
    EVENTS_MAX,
    CorrectedEvent,
    CorrectionBound,
    CorrectionReason,
    CorrectionStatus,
    UsageCorrection,
)
from apps.metering.errors import (
    CorrectionConflict,
    CorrectionDecided,
    CorrectionInvalid,
    CorrectionNeedsAnother,
    CorrectionUnknown,
)
from apps.metering.intake_terms import intake_terms_hold

# What one person may correct alone, where the tenant has not said otherwise.
EVENTS_MAX_ALONE: Final = 10
UNITS_MAX_ALONE: Final = Decimal(1_000)
_ROWS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionTerms:
    """What is said of a correction as a whole: what it does, why, with which evidence, and what it takes back."""

    kind: str
    reason_code: str
    comment: str
    evidence_url: str = ""
    is_for_newer_meters: bool = False
    counters_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a correction was found to change, and whether one person may make it alone."""

    effect: dict[str, Any]
    document_effect: dict[str, Any]
    is_within_bound: bool


def terms_problems(terms: CorrectionTerms) -> tuple[FieldProblem, ...]:
    """Return everything that is wrong with what is said of a correction as a whole."""
    problems = []
    if terms.reason_code not in CorrectionReason.values:
        detail = f"Use one of {', '.join(CorrectionReason.values)}."
        problems.append(FieldProblem("/reason_code", "reason_unknown", detail))
    if not terms.comment.strip() or len(terms.comment) > 500 or "\0" in terms.comment:
        problems.append(
            FieldProblem("/comment", "comment_required", "Say why in 1 to 500 characters; who decides reads it.")
        )
    if terms.evidence_url and not terms.evidence_url.startswith(("https://", "http://")):
        problems.append(
            FieldProblem("/evidence_url", "evidence_invalid", "Give a link to where the evidence is kept: https://...")
        )
    return tuple(problems)


@unit_of_work
def correction_open(
    *,
    correction_id: UUID,
    terms: CorrectionTerms,
    planned: Sequence[PlannedEvent],
    measured: Measured,
    actor: Actor,
    at: datetime,
) -> UsageCorrection:
    """Write a correction with its events; it waits, and nothing counts differently for it."""
    correction = UsageCorrection.objects.create(
        id=correction_id,
        kind=terms.kind,
        reason_code=terms.reason_code,
        comment=terms.comment,
        evidence_url=terms.evidence_url,
        is_for_newer_meters=terms.is_for_newer_meters,
        counters_id=terms.counters_id,
        event_count=len(planned),
        is_within_bound=measured.is_within_bound,
        effect=measured.effect,
        document_effect=measured.document_effect,
        requested_by=identity_of(actor),
        requested_by_name=actor.label[:200],
        requested_at=at,
    )
    CorrectedEvent.objects.bulk_create(
        (_row(correction, position, event) for position, event in enumerate(planned)), batch_size=_ROWS_AT_ONCE
    )
    audit_services.entry_write(
        entity=correction,
        action="request",
        actor=actor,
        at=at,
        before={},
        after={"kind": correction.kind, "events": len(planned), "units": measured.effect["meters"]},
        reason_code=terms.reason_code,
        comment=terms.comment,
    )
    return correction


def _row(correction: UsageCorrection, position: int, event: PlannedEvent) -> CorrectedEvent:
    after_key = None
    if event.after is not None:
        after_key = UUID(event_identity.event_key(source=event.source, event_id=event.after_event_id))
    return CorrectedEvent(
        correction=correction,
        position=position,
        source=event.source,
        event_id=event.event_id,
        event_key=UUID(event.stored.key) if event.stored is not None else None,
        before=event.before,
        after_event_id=event.after_event_id,
        after_key=after_key,
        after=event.after,
        stands_for_key=UUID(event.stands_for_key) if event.stands_for_key is not None else None,
    )


@unit_of_work
def events_cancel(*, correction_id: UUID, events: Sequence[StoredEvent], at: datetime) -> None:
    """
    Let stored events count no more; triggers mend the totals in the same statement.

    :raises CorrectionConflict: if another correction cancelled one of them meanwhile; the caller undoes the rest
    """
    if not events:
        return
    # Like the intake: a counter that is opened now sees all of a cancellation, or the cancellation sees the counter.
    intake_terms_hold(keys=[])
    parameters = {
        "correction_id": correction_id,
        "at": at,
        "keys": [event.key for event in events],
        "customers": [event.customer_id for event in events],
        "types": [event.type for event in events],
        "instants": [event.occurred_at for event in events],
    }
    cancelled = {key for (key,) in fetch_all(corrections_sql.CANCEL, parameters)}
    problems = tuple(
        FieldProblem(
            f"/events/{index}", "cancelled_already", f"{_named(event)} was corrected by somebody else just now."
        )
        for index, event in enumerate(events)
        if event.key not in cancelled
    )
    if problems:
        raise CorrectionConflict(
            f"{problems[0].detail} Nothing was changed; look at it again before you correct it.", problems=problems
        )


def _named(event: StoredEvent) -> str:
    return f"Event '{event.event_id[:60]}' of '{event.source[:60]}'"


@unit_of_work
def correction_lock(*, correction_id: UUID) -> UsageCorrection:
    """
    Lock a correction, and return it.

    :raises CorrectionUnknown: if there is none with this id
    """
    locked = locks.get_many_for_update(UsageCorrection, [correction_id])
    if not locked:
        raise CorrectionUnknown(f"There is no usage correction with the id {correction_id}.")
    return locked[0]


@unit_of_work
def correction_lock_waiting(*, correction_id: UUID) -> UsageCorrection:
    """
    Lock a correction that waits for a decision, and return it.

    :raises CorrectionUnknown: if there is none with this id
    :raises CorrectionDecided: if it waits no more
    """
    correction = correction_lock(correction_id=correction_id)
    if correction.status != CorrectionStatus.PENDING_APPROVAL:
        who = f" by {correction.decided_by_name}" if correction.decided_by_name else ""
        raise CorrectionDecided(f"{correction} is {str(correction.status).lower()}{who}; it is decided once.")
    return correction


@unit_of_work
def correction_apply(
    *, correction: UsageCorrection, measured: Measured, comment: str, actor: Actor, at: datetime
) -> UsageCorrection:
    """
    Mark as approved and applied what was just written: by who asked where it is within the bound, else by another.

    :raises CorrectionNeedsAnother: if who asked for it would decide it and it is not within the bound
    """
    if not correction.is_within_bound:
        _decided(correction, comment=comment, actor=actor, at=at)
    decided = ("decided_by", "decided_by_name", "decided_at", "decision_comment")
    reason = (correction.reason_code, comment or correction.comment)
    transition_apply(instance=correction, action="approve", actor=actor, at=at, save_fields=decided, reason=reason)
    correction.effect, correction.document_effect = measured.effect, measured.document_effect
    transition_apply(
        instance=correction,
        action="apply",
        actor=actor,
        at=at,
        topic="metering.usage_correction.applied",
        payload={"kind": correction.kind, "events": correction.event_count, "meters": measured.effect["meters"]},
        save_fields=("effect", "document_effect"),
        reason=reason,
    )
    return correction


@unit_of_work
def correction_reject(*, correction_id: UUID, comment: str, actor: Actor, at: datetime) -> UsageCorrection:
    """
    Decide that usage stays as it is.

    :raises CorrectionUnknown: if there is none with this id
    :raises CorrectionDecided: if it waits no more
    :raises CorrectionNeedsAnother: if who asked for it would decide it
    """
    correction = correction_lock_waiting(correction_id=correction_id)
    _decided(correction, comment=comment, actor=actor, at=at)
    transition_apply(
        instance=correction,
        action="reject",
        actor=actor,
        at=at,
        topic="metering.usage_correction.rejected",
        save_fields=("decided_by", "decided_by_name", "decided_at", "decision_comment"),
        reason=(correction.reason_code, comment),
    )
    return correction


@unit_of_work
def correction_withdraw(*, correction_id: UUID, comment: str, actor: Actor, at: datetime) -> UsageCorrection:
    """
    Take back a correction before it is decided; whoever may ask may withdraw.

    :raises CorrectionUnknown: if there is none with this id
    :raises CorrectionDecided: if it waits no more
    """
    correction = correction_lock_waiting(correction_id=correction_id)
    transition_apply(
        instance=correction, action="withdraw", actor=actor, at=at, reason=(correction.reason_code, comment)
    )
    return correction


def decision_check(*, correction: UsageCorrection, comment: str, actor: Actor) -> None:
    """
    Require that somebody else than who asked decides, and says why.

    :raises CorrectionNeedsAnother: if who asked for it would decide it
    :raises CorrectionInvalid: if no reason is given
    """
    if correction.requested_by == identity_of(actor):
        raise CorrectionNeedsAnother(f"{actor.label} asked for {correction}; somebody else has to decide it.")
    if not comment.strip():
        problem = FieldProblem("/comment", "comment_required", "Say why in 1 to 500 characters.")
        raise CorrectionInvalid("A decision needs a reason.", problems=(problem,))


def _decided(correction: UsageCorrection, *, comment: str, actor: Actor, at: datetime) -> None:
    decision_check(correction=correction, comment=comment, actor=actor)
    correction.decided_by, correction.decided_by_name = identity_of(actor), actor.label[:200]
    correction.decided_at, correction.decision_comment = at, comment[:500]


@unit_of_work
def correction_bound_set(
    *, events_max: int, units_max: Decimal, comment: str, actor: Actor, at: datetime
) -> CorrectionBound:
    """
    Say how much one person may correct alone from now on; 0 events means that every correction needs another.

    :raises CorrectionInvalid: if a bound is negative or too large, or no reason is given
    """
    problems = []
    if not 0 <= events_max <= EVENTS_MAX:
        problems.append(FieldProblem("/events_max", "bound_invalid", f"Send 0 to {EVENTS_MAX}."))
    if not 0 <= units_max < Decimal(10) ** 20:
        problems.append(FieldProblem("/units_max", "bound_invalid", 'Send a decimal of zero or more, such as "1000".'))
    if not comment.strip() or len(comment) > 500:
        problems.append(FieldProblem("/comment", "comment_required", "Say why in 1 to 500 characters."))
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise CorrectionInvalid(f"The bound cannot be set. {summary}", problems=tuple(problems))
    before = correction_bound_current()
    bound = CorrectionBound.objects.create(
        events_max=events_max,
        units_max=units_max,
        comment=comment,
        set_by=identity_of(actor),
        set_by_name=actor.label[:200],
        set_at=at,
    )
    audit_services.entry_write(
        entity=bound,
        action="set",
        actor=actor,
        at=at,
        before={"events_max": before.events_max, "units_max": decimal_text(before.units_max)},
        after={"events_max": events_max, "units_max": decimal_text(units_max)},
        comment=comment,
    )
    return bound


def correction_bound_current() -> CorrectionBound:
    """Return how much one person may correct alone; a row that is not stored where the tenant never said."""
    stored = CorrectionBound.objects.order_by("-id").first()
    return stored or CorrectionBound(events_max=EVENTS_MAX_ALONE, units_max=UNITS_MAX_ALONE)


def corrections_queryset() -> QuerySet[UsageCorrection]:
    """Return all corrections, newest first."""
    return UsageCorrection.objects.select_related("counters").order_by("-id")


def correction_by_reference(reference: str) -> UsageCorrection:
    """
    Return the correction with this public id.

    :raises CorrectionUnknown: if there is none
    """
    try:
        correction = corrections_queryset().filter(id=UsageCorrection.id_from_public(reference)).first()
    except ids.IdInvalid:
        correction = None
    if correction is None:
        raise CorrectionUnknown(f"There is no usage correction '{reference[:60]}'.")
    return correction


def counter_of(*, correction: UsageCorrection) -> UsageCorrection | None:
    """Return the correction that takes another one back, or waits to; nothing if there is none."""
    undone = (CorrectionStatus.REJECTED, CorrectionStatus.CANCELED)
    return correction.counter_corrections.exclude(status__in=undone).first()


def corrections_of_event(*, key: UUID) -> list[CorrectedEvent]:
    """Return the rows in which an event is corrected, brought or stood for, oldest first."""
    rows = CorrectedEvent.objects.select_related("correction").order_by("id")
    return list(rows.filter(event_key=key) | rows.filter(after_key=key) | rows.filter(stands_for_key=key))


def identity_of(actor: Actor) -> str:
    """Return who somebody is, whatever the name: kind and id."""
    return f"{actor.kind.value}:{actor.id or ''}"
