"""
What people do with refused events: write another version, or say that one is no usage. Nothing is ever removed.

The event stays as it came. A version that a person writes is a row of its own, waits like any other, and goes in by the
door; how it is sent in again is `apps/workflows/usage_intake.py`'s.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db.models import Count, Min, Q, QuerySet

from apps.audit import services as audit_services
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.lifecycle.services import transition_apply
from apps.metering import corrected_events, normalisers
from apps.metering import selectors as metering_selectors
from apps.metering import services as metering_services
from apps.metering.errors import EventMappingUnknown, EventRefused, QuarantineEditInvalid
from apps.metering.models import EventMapping, QuarantinedEvent, QuarantineStatus
from apps.metering.normalisers import CONSTANT_MARK, CanonicalEvent

_AGES: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineCount:
    """How many events wait for one reason, by age, and since when the oldest does."""

    code: str
    count: int
    within_hour: int
    within_day: int
    within_week: int
    older: int
    customers: int
    oldest_received_at: datetime


@unit_of_work
def quarantine_edit(*, quarantined_id: UUID, raw: str, comment: str, actor: Actor, at: datetime) -> QuarantinedEvent:
    """
    Keep another version of a refused event, to be replayed instead of it, and return that version.

    :param raw: the event as it should have been sent, in the shape of its source
    :raises QuarantinedEventUnknown: if there is none with this id
    :raises ReplayRefused: if it waits no more
    :raises QuarantineEditInvalid: if the text is no event, says nothing new, or waits already
    """
    original = metering_services.quarantine_lock_held(quarantined_id=quarantined_id)
    _comment_check(comment)
    event = _read(original, raw)
    raw_hash = hashlib.sha256(raw.encode()).hexdigest()
    if raw == original.raw:
        raise _invalid("/raw", "nothing_differs", "The text is as it came; change what is wrong, or replay it.")
    waiting = QuarantinedEvent.objects.filter(
        raw_hash=raw_hash, code=original.code, mapping_source=original.mapping_source, status=QuarantineStatus.HELD
    ).first()
    if waiting is not None:
        raise _invalid(
            "/raw", "waits_already", f"The same text waits already, as {waiting.public_id}; replay that one."
        )
    # The original first: of two texts that are the same, only one may wait.
    _close(original, "edit", ("edited", comment), actor=actor, at=at)
    edited = QuarantinedEvent.objects.create(
        source=(event.source or "")[:255],
        event_id=(event.id or "")[:255],
        customer_reference=(event.customer or "")[:255],
        raw=raw,
        raw_hash=raw_hash,
        mapping_source=original.mapping_source,
        code=original.code,
        detail=original.detail,
        received_at=at,
        edits=original,
        edited_by_name=actor.label[:200],
        edit_comment=comment,
    )
    audit_services.entry_write(
        entity=edited,
        action="edit",
        actor=actor,
        at=at,
        before={"edits": original.public_id, "raw_hash": original.raw_hash},
        after={"raw_hash": raw_hash},
        comment=comment,
    )
    return edited


@unit_of_work
def quarantine_discard(
    *, quarantined_id: UUID, reason_code: str, comment: str, actor: Actor, at: datetime
) -> QuarantinedEvent:
    """
    Say that a refused event is no usage; it is kept and waits no more.

    :raises QuarantinedEventUnknown: if there is none with this id
    :raises ReplayRefused: if it waits no more
    :raises QuarantineEditInvalid: if no reason is given
    """
    event = metering_services.quarantine_lock_held(quarantined_id=quarantined_id)
    _comment_check(comment)
    if not reason_code.strip() or len(reason_code) > 60:
        raise _invalid("/reason_code", "reason_required", "Name the reason in 1 to 60 characters, such as test_data.")
    _close(event, "discard", (reason_code, comment), actor=actor, at=at)
    return event


def renamed_text(*, quarantined: QuarantinedEvent, event_id: str) -> str:
    """
    Return a refused event's text with another id of its own, everything else as it came.

    :raises QuarantineEditInvalid: if the text is no JSON object, or its source's mapping takes the id from nowhere
    """
    if not event_id.strip() or len(event_id) > 255 or "\0" in event_id:
        raise _invalid("/event_id", "id_invalid", "Give the new id in 1 to 255 characters.")
    try:
        document = corrected_events.document_read(quarantined.raw)
    except (msgspec.DecodeError, ValueError) as error:
        raise _invalid("/raw", "invalid_text", f"The event cannot be read: {error}. Edit its text instead.") from error
    names = ["id"]
    if quarantined.mapping_source:
        path = _mapping_of(quarantined).fields.get("id", "")
        if not path or path.startswith(CONSTANT_MARK):
            raise _invalid("/event_id", "id_not_sent", "The mapping gives every event one id; define the mapping anew.")
        names = path.split(".")
    elif "idempotency_key" in document:
        document.pop("id", None)
        names = ["idempotency_key"]
    place: Any = document
    for name in names[:-1]:
        place = place.get(name) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise _invalid("/raw", "id_not_found", f"The event has no '{'.'.join(names)}'; edit its text instead.")
    place[names[-1]] = event_id
    return corrected_events.document_text(document)


def quarantine_waiting(*, code: str = "", customer_reference: str = "") -> QuerySet[QuarantinedEvent]:
    """Return the refused events that wait, of one reason or customer or all, the oldest first."""
    rows = QuarantinedEvent.objects.filter(status=QuarantineStatus.HELD).order_by("id")
    if code:
        rows = rows.filter(code=code)
    return rows.filter(customer_reference=customer_reference) if customer_reference else rows


def quarantine_counts(*, at: datetime) -> list[QuarantineCount]:
    """Return what waits by reason and age, the most first."""
    by_age = {f"within_{name}": Count("id", filter=Q(received_at__gt=at - age)) for name, age in _AGES.items()}
    rows: Any = (
        QuarantinedEvent.objects.filter(status=QuarantineStatus.HELD)
        .order_by()
        .values("code")
        .annotate(
            count=Count("id"),
            customers=Count("customer_reference", distinct=True, filter=~Q(customer_reference="")),
            oldest_received_at=Min("received_at"),
            **by_age,
        )
    )
    counts = [QuarantineCount(**row, older=row["count"] - row["within_week"]) for row in rows]
    return sorted(counts, key=lambda count: (-count.count, count.code))


def versions_of(*, quarantined: QuarantinedEvent) -> Sequence[QuarantinedEvent]:
    """Return the event as it came and every version that was made of it, in that order."""
    first = quarantined
    while first.edits is not None:
        first = first.edits
    versions = [first]
    while following := QuarantinedEvent.objects.filter(edits=versions[-1]).first():
        versions.append(following)
    return versions


def _read(original: QuarantinedEvent, raw: str) -> CanonicalEvent:
    mapping = _mapping_of(original) if original.mapping_source else None
    try:
        return normalisers.event_normalise(raw=raw.encode("utf-8", errors="surrogatepass"), mapping=mapping)
    except EventRefused as refused:
        raise _invalid("/raw", refused.code, refused.detail) from refused


def _mapping_of(event: QuarantinedEvent) -> EventMapping:
    try:
        return metering_selectors.event_mapping_current(source=event.mapping_source)
    except EventMappingUnknown as error:
        raise _invalid("/raw", error.code, error.detail) from error


def _close(event: QuarantinedEvent, action: str, reason: tuple[str, str], *, actor: Actor, at: datetime) -> None:
    event.closed_by_name, (event.close_reason, event.close_comment) = actor.label[:200], reason
    transition_apply(
        instance=event,
        action=action,
        actor=actor,
        at=at,
        save_fields=("closed_by_name", "close_reason", "close_comment"),
        reason=reason,
    )


def _comment_check(comment: str) -> None:
    if not comment.strip() or len(comment) > 500 or "\0" in comment:
        raise _invalid("/comment", "comment_required", "Say why in 1 to 500 characters.")


def _invalid(pointer: str, code: str, detail: str) -> QuarantineEditInvalid:
    return QuarantineEditInvalid(detail, problems=(FieldProblem(pointer, code, detail),))
