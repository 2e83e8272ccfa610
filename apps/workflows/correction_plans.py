"""From what a correction asks to what it does with each event: which is cancelled, which is brought, under which id."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from apps.common.errors import FieldProblem
from apps.metering import corrected_events, event_checks, event_identity
from apps.metering.corrected_events import PlannedEvent, StoredEvent
from apps.metering.correction_documents import CorrectedEvent, CorrectionKind, UsageCorrection
from apps.metering.errors import CorrectionInvalid, EventRefused
from apps.subscriptions.models import Subscription

_AMENDABLE: Final = ("type", "customer", "subscription", "occurred_at", "quantity", "properties")
_IDENTITY: Final = ("source", "id")
_PROBLEMS_SHOWN_MAX: Final = 100
_WHOLE_EVENT: Final = "Send the whole event: id, source, type, customer, occurred_at, and what the meter reads."


def plan_events(*, kind: str, events: Sequence[Mapping[str, Any]], correction_id: UUID) -> list[PlannedEvent]:
    """
    Return what a correction of this kind does with each event that it names or brings.

    :raises CorrectionInvalid: naming each event that cannot be corrected, and the remedy
    """
    if kind not in _PLANNERS:
        detail = f"Use one of {', '.join(CorrectionKind.values)}."
        refuse(problems=[FieldProblem("/kind", "kind_unknown", detail)])
    return _PLANNERS[kind](events, correction_id)


def _plan_cancellations(events: Sequence[Mapping[str, Any]], correction_id: UUID) -> list[PlannedEvent]:
    refuse(problems=_unknown_fields(events, _IDENTITY))
    return [
        PlannedEvent(
            source=stored.source,
            event_id=stored.event_id,
            stored=stored,
            before=corrected_events.document_text(document_of(stored)),
        )
        for stored in _found(events)
    ]


def _plan_amendments(events: Sequence[Mapping[str, Any]], correction_id: UUID) -> list[PlannedEvent]:
    refuse(problems=_unknown_fields(events, (*_IDENTITY, *_AMENDABLE)))
    planned, problems = [], []
    for position, (stored, asked) in enumerate(zip(_found(events), events, strict=True)):
        document = document_of(stored)
        changed = {**document, **{name: asked[name] for name in _AMENDABLE if name in asked}}
        changed = {name: value for name, value in changed.items() if value is not None}
        if changed == document:
            detail = f"Say what is to be different: one of {', '.join(_AMENDABLE)}."
            problems.append(FieldProblem(f"/events/{position}", "nothing_differs", detail))
        planned.append(_restated(stored, changed, correction_id, position))
    refuse(problems=problems)
    return planned


def _plan_backfills(events: Sequence[Mapping[str, Any]], correction_id: UUID) -> list[PlannedEvent]:
    problems = [
        FieldProblem(f"/events/{position}", "missing_field", _WHOLE_EVENT)
        for position, event in enumerate(events)
        if not all(isinstance(event.get(name), str) and event[name] for name in _IDENTITY)
    ]
    refuse(problems=problems)
    refuse(problems=_unknown_fields(events, (*_IDENTITY, *_AMENDABLE)))
    return [
        PlannedEvent(
            source=event["source"],
            event_id=event["id"],
            after=corrected_events.document_text(event),
            after_event_id=event["id"],
        )
        for event in events
    ]


def plan_counter(*, rows: Sequence[CorrectedEvent], counter_id: UUID) -> list[PlannedEvent]:
    """
    Return what undoes each row: its event cancelled, and what it had cancelled entered again as it was.

    :raises CorrectionInvalid: if what it brought was corrected further
    """
    stored = _standing({row.after_key.hex: f"/events/{row.position}" for row in rows if row.after_key is not None})
    planned = []
    for position, row in enumerate(rows):
        brought = stored[row.after_key.hex] if row.after_key is not None else None
        after, after_event_id = None, ""
        if row.before is not None:
            after_event_id = _derived_id(counter_id, position)
            after = corrected_events.document_text({**corrected_events.document_read(row.before), "id": after_event_id})
        stands_for = row.stands_for_key or row.event_key
        planned.append(
            PlannedEvent(
                source=row.source,
                event_id=brought.event_id if brought is not None else row.event_id,
                stored=brought,
                before=corrected_events.document_text(document_of(brought)) if brought is not None else None,
                after=after,
                after_event_id=after_event_id,
                stands_for_key=stands_for.hex if stands_for is not None and after is not None else None,
            )
        )
    return planned


def planned_again(*, correction: UsageCorrection) -> list[PlannedEvent]:
    """
    Return what a waiting correction says, with its events as they are stored now.

    :raises CorrectionInvalid: if one of them counts no more
    """
    rows = list(correction.events.order_by("position"))
    stored = _standing({row.event_key.hex: f"/events/{row.position}" for row in rows if row.event_key is not None})
    return [
        PlannedEvent(
            source=row.source,
            event_id=row.event_id,
            stored=stored[row.event_key.hex] if row.event_key is not None else None,
            before=row.before,
            after=row.after,
            after_event_id=row.after_event_id,
            stands_for_key=row.stands_for_key.hex if row.stands_for_key is not None else None,
        )
        for row in rows
    ]


def _found(events: Sequence[Mapping[str, Any]]) -> list[StoredEvent]:
    """Return the events that are named by source and id, in that order; refuse what cannot be corrected."""
    pointers: dict[str, str] = {}
    problems, keys = [], []
    for position, event in enumerate(events):
        source, event_id = event.get("source"), event.get("id")
        pointer = f"/events/{position}"
        if not isinstance(source, str) or not isinstance(event_id, str) or "\0" in source + event_id:
            problems.append(FieldProblem(pointer, "missing_field", "Name the event by its source and its id."))
            continue
        key = event_identity.event_key(source=source, event_id=event_id)
        if key in pointers:
            detail = f"It is named before, at {pointers[key]}; name each event once."
            problems.append(FieldProblem(pointer, "named_twice", detail))
        pointers.setdefault(key, pointer)
        keys.append(key)
    refuse(problems=problems)
    stored = _standing(pointers)
    return [stored[key] for key in keys]


def _standing(pointers: Mapping[str, str]) -> dict[str, StoredEvent]:
    """Return the stored events with these keys; refuse those that are not there or count no more."""
    stored = corrected_events.stored_events(keys=pointers)
    used_again = corrected_events.keys_used_again(keys=pointers)
    problems = []
    for key, pointer in pointers.items():
        event = stored.get(key)
        if event is None:
            detail = (
                "No such event is stored here. Check source and id; a refused event is in quarantine, one of long "
                "ago in the archive."
            )
            problems.append(FieldProblem(pointer, "event_unknown", detail))
        elif key in used_again:
            detail = (
                f"The id '{event.event_id[:60]}' names more than one event, because ids are forgotten here: all of "
                "them would be cancelled. Settle the difference by an adjustment."
            )
            problems.append(FieldProblem(pointer, "id_used_again", detail))
        elif event.cancelled_by is not None:
            named = UsageCorrection(id=event.cancelled_by).public_id
            detail = (
                f"Event '{event.event_id[:60]}' counts no more since {named}. Correct what that one put in its place, "
                "or take it back."
            )
            problems.append(FieldProblem(pointer, "cancelled_already", detail))
    refuse(problems=problems)
    return stored


def meter_backfill_plan(*, stored: Sequence[StoredEvent], correction_id: UUID) -> list[PlannedEvent]:
    """Return each event cancelled and entered again as it is: written anew, it counts for newer meters, too."""
    return [
        replace(_restated(event, document_of(event), correction_id, position), stands_for_key=None)
        for position, event in enumerate(stored)
    ]


def _restated(stored: StoredEvent, document: Mapping[str, Any], correction_id: UUID, position: int) -> PlannedEvent:
    after_event_id = _derived_id(correction_id, position)
    return PlannedEvent(
        source=stored.source,
        event_id=stored.event_id,
        stored=stored,
        before=corrected_events.document_text(document_of(stored)),
        after=corrected_events.document_text({**document, "id": after_event_id}),
        after_event_id=after_event_id,
        stands_for_key=stored.key,
    )


def _derived_id(correction_id: UUID, position: int) -> str:
    # Nobody else's id looks like it, and it leads to the document.
    return f"{UsageCorrection(id=correction_id).public_id}:{position}"


def document_of(stored: StoredEvent) -> dict[str, Any]:
    """Return a stored event in the shape that the door takes."""
    subscription = None if stored.subscription_id is None else Subscription(id=stored.subscription_id).public_id
    return stored.to_document(subscription=subscription)


def _unknown_fields(events: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[FieldProblem]:
    return [
        FieldProblem(f"/events/{position}/{name[:60]}", "unknown_field", f"is not known here; use {', '.join(known)}")
        for position, event in enumerate(events)
        for name in event
        if name not in known
    ]


def counter_kind(*, rows: Sequence[CorrectedEvent]) -> str:
    """Return the kind of correction that undoes these rows."""
    kinds = {(row.event_key is not None, row.after is not None) for row in rows}
    if kinds == {(True, False)}:
        return CorrectionKind.BACKFILL.value
    return CorrectionKind.CANCEL.value if kinds == {(False, True)} else CorrectionKind.AMEND.value


def instant_of(document: Mapping[str, Any]) -> datetime | None:
    """Return when a document says that it happened; nothing where the door would refuse it."""
    try:
        return event_checks.instant_read(str(document.get("occurred_at")))
    except EventRefused:
        return None


def refuse(*, problems: Iterable[FieldProblem]) -> None:
    """
    Refuse the whole correction if anything is wrong with it.

    :raises CorrectionInvalid: with the first problem in words, and up to a hundred by field
    """
    found = tuple(problems)
    if found:
        more = f" And {len(found) - 1} more." if len(found) > 1 else ""
        first = f"{found[0].pointer}: {found[0].detail}" if found[0].pointer else found[0].detail
        raise CorrectionInvalid(f"The correction cannot be made. {first}{more}", problems=found[:_PROBLEMS_SHOWN_MAX])


_PLANNERS: Final[Mapping[str, Callable[[Sequence[Mapping[str, Any]], UUID], list[PlannedEvent]]]] = {
    CorrectionKind.CANCEL.value: _plan_cancellations,
    CorrectionKind.AMEND.value: _plan_amendments,
    CorrectionKind.BACKFILL.value: _plan_backfills,
}
