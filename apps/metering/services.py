"""Write what is measured, the events, and what was refused."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.engine.hashing import canonical_json
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.metering import definitions
from apps.metering.errors import EventMappingInvalid, MeterInvalid, QuarantinedEventUnknown, ReplayRefused
from apps.metering.inputs import MeterInput
from apps.metering.intake_terms import (
    TERMS_LOCK,
    intake_terms_hold,
    intake_terms_known,
    intake_terms_read,
    policy_of,
)
from apps.metering.limits import usage_thresholds_tell
from apps.metering.models import EventMapping, EventTypePolicy, Meter, QuarantinedEvent, QuarantineStatus
from apps.metering.partitions import months_ahead, usage_partitions_ensure, usage_partitions_forget
from apps.metering.property_policies import meter_conflicts
from apps.metering.usage_store import (
    usage_batch_store,
    usage_contents_compare,
    usage_events_store,
    usage_keys_store,
    usage_stored_find,
)

__all__ = [
    "MeterInput",
    "RefusedEvent",
    "event_mapping_define",
    "intake_terms_hold",
    "intake_terms_known",
    "intake_terms_read",
    "meter_define",
    "months_ahead",
    "quarantine_hold",
    "quarantine_lock_held",
    "quarantine_mark_replayed",
    "usage_batch_store",
    "usage_contents_compare",
    "usage_events_store",
    "usage_keys_store",
    "usage_partitions_ensure",
    "usage_partitions_forget",
    "usage_stored_find",
    "usage_thresholds_tell",
]


_CLOSED_WORDS: Final = {
    QuarantineStatus.REPLAYED.value: "it was replayed already and counts under its own id",
    QuarantineStatus.EDITED.value: "another version was made of it already; see to that one",
    QuarantineStatus.DISCARDED.value: "it was discarded already; send it again if it is usage after all",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """One event as it was sent, and why it was not counted."""

    raw: bytes
    code: str
    detail: str
    source: str = ""
    event_id: str = ""
    customer_reference: str = ""


@unit_of_work
def meter_define(*, data: MeterInput, actor: Actor, at: datetime) -> Meter:
    """
    Define a meter, or a further version of it, and return the version that is current.

    The same definition again changes nothing; another name alone renames. A new version counts the events that are
    written from now on; the one before it is retired and goes on counting for the plans that were sold with it.

    :raises MeterInvalid: naming every field that cannot be accepted
    """
    problems = definitions.meter_problems(data)
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise MeterInvalid(f"The meter cannot be accepted. {summary}", problems=problems)
    # Alone with the meters: no event is half-way in, so each is counted by this version or was written before it.
    locks.advisory_lock(TERMS_LOCK)
    _policy_allows(data)
    terms = {**asdict(data), "filters": dict(data.filters), "group_by": list(data.group_by), "rules": dict(data.rules)}
    current = Meter.objects.filter(code=data.code, retired_at__isnull=True).first()
    if current is not None:
        if _terms_text(terms) == _terms_text({name: getattr(current, name) for name in terms}):
            return _meter_rename(current, data.name, actor=actor, at=at)
        current.retired_at = at
        current.save(update_fields=["retired_at"])
    meter = Meter.objects.create(**terms, version=current.version + 1 if current else 1, defined_at=at)
    before = {"version": current.version} if current else {}
    audit_services.entry_write(
        entity=meter, action="define", actor=actor, at=at, before=before, after={**terms, "version": meter.version}
    )
    messaging_services.event_publish(
        topic="metering.meter.defined",
        aggregate_type=Meter._meta.label_lower,
        aggregate_id=meter.id,
        payload={"id": meter.public_id, "code": meter.code, "version": meter.version},
        actor=actor,
        at=at,
    )
    return meter


def _policy_allows(data: MeterInput) -> None:
    row = EventTypePolicy.objects.filter(event_type=data.event_type).order_by("-version").first()
    if row is None:
        return
    conflicts = tuple(meter_conflicts(data, policy_of(row)))
    if conflicts:
        summary = "; ".join(f"{conflict.pointer}: {conflict.meter_remedy}" for conflict in conflicts)
        problems = tuple(FieldProblem(c.pointer, "withheld_by_policy", c.meter_remedy) for c in conflicts)
        raise MeterInvalid(f"The meter cannot be accepted. {summary}", problems=problems)


def _terms_text(terms: Mapping[str, Any]) -> str:
    # As JSON, which knows true and 1 as two values where Python knows them as equal.
    return canonical_json({name: value for name, value in terms.items() if name != "name"})


def _meter_rename(meter: Meter, name: str, *, actor: Actor, at: datetime) -> Meter:
    if meter.name != name:
        before, meter.name = {"name": meter.name}, name
        meter.save(update_fields=["name"])
        audit_services.entry_write(
            entity=meter, action="rename", actor=actor, at=at, before=before, after={"name": name}
        )
    return meter


@unit_of_work
def event_mapping_define(*, source: str, fields: Mapping[str, str], actor: Actor, at: datetime) -> EventMapping:
    """
    Say how one source's events are read, and return the version that is current; the same again changes nothing.

    :raises EventMappingInvalid: naming every entry that cannot be accepted
    """
    problems = definitions.mapping_problems(source=source, fields=fields)
    if problems:
        summary = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        raise EventMappingInvalid(f"The mapping cannot be accepted. {summary}", problems=problems)
    locks.advisory_lock(f"metering:mapping:{source}")
    current = EventMapping.objects.filter(source=source).order_by("-version").first()
    if current is not None and current.fields == dict(fields):
        return current
    version = current.version + 1 if current else 1
    mapping = EventMapping.objects.create(source=source, version=version, fields=dict(fields), defined_at=at)
    audit_services.entry_write(
        entity=mapping,
        action="define",
        actor=actor,
        at=at,
        before=current.fields if current else {},
        after={"source": source, "version": version, "fields": dict(fields)},
    )
    return mapping


@unit_of_work
def quarantine_hold(*, refused: Sequence[RefusedEvent], mapping_source: str, at: datetime) -> None:
    """Keep refused events as they came, with the reason; what is held for the same reason already is not repeated."""
    # In one order for everybody: two batches that bring the same refused events must not wait for each other.
    hashed = sorted(((hashlib.sha256(event.raw).hexdigest(), event) for event in refused), key=lambda pair: pair[0])
    QuarantinedEvent.objects.bulk_create(
        (
            QuarantinedEvent(
                source=_storable(event.source),
                event_id=_storable(event.event_id),
                customer_reference=_storable(event.customer_reference),
                raw=_storable(event.raw.decode("utf-8", errors="backslashreplace")),
                raw_hash=raw_hash,
                mapping_source=mapping_source,
                code=event.code,
                detail=_storable(event.detail),
                received_at=at,
            )
            for raw_hash, event in hashed
        ),
        batch_size=500,
        ignore_conflicts=True,
    )


def _storable(text: str) -> str:
    """Return a text with NUL spelt out: a reason may quote what was sent, and the database takes no NUL."""
    return text.replace("\0", "\\x00")


@unit_of_work
def quarantine_lock_held(*, quarantined_id: UUID) -> QuarantinedEvent:
    """
    Lock a refused event that waits, and return it.

    :raises QuarantinedEventUnknown: if there is none with this id
    :raises ReplayRefused: if it was replayed, edited or discarded already
    """
    locked = locks.get_many_for_update(QuarantinedEvent, [quarantined_id])
    if not locked:
        raise QuarantinedEventUnknown(f"There is no quarantined event with the id {quarantined_id}.")
    if locked[0].status != QuarantineStatus.HELD:
        raise ReplayRefused(f"The event waits no more: {_CLOSED_WORDS[str(locked[0].status)]}.")
    return locked[0]


@unit_of_work
def quarantine_mark_replayed(*, quarantined: QuarantinedEvent, actor: Actor, at: datetime) -> None:
    """Record that a refused event was accepted under its own id."""
    facts: dict[str, Any] = {"source": quarantined.source, "event_id": quarantined.event_id, "code": quarantined.code}
    transition_apply(
        instance=quarantined,
        action="replay",
        actor=actor,
        at=at,
        topic="metering.quarantined_event.replayed",
        payload=facts,
    )
