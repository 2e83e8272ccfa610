"""Send refused events in again: many of one reason at once, or one under a new id."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.metering import quarantine
from apps.metering import services as metering_services
from apps.metering.models import QuarantinedEvent, QuarantineStatus
from apps.workflows import usage_intake

# Each accepted event gets its own entry in the audit trail, in one transaction.
REPLAYED_AT_ONCE_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkReplay:
    """What became of events that were sent in again: accepted, refused again by reason, and how many still wait."""

    replayed: int
    refused: Mapping[str, int]
    waiting: int


@unit_of_work
def quarantine_replay_all(*, code: str, customer_reference: str, actor: Actor, at: datetime) -> BulkReplay:
    """
    Send in again what waits for one reason, of one customer or of all, the oldest first, up to a thousand at once.

    What is refused again stays as it is; what its producer sent again meanwhile is found to be there and not counted
    twice.
    """
    found = quarantine.quarantine_waiting(code=code, customer_reference=customer_reference)
    locked = locks.get_many_for_update(
        QuarantinedEvent, list(found.values_list("id", flat=True)[:REPLAYED_AT_ONCE_MAX])
    )
    # Whoever was faster than the lock has dealt with the others.
    events = [event for event in locked if event.status == QuarantineStatus.HELD]
    refused: Counter[str] = Counter()
    replayed = 0
    for mapping_source in sorted({event.mapping_source for event in events}):
        of_mapping = [event for event in events if event.mapping_source == mapping_source]
        result = usage_intake.events_accept(
            events=[event.raw.encode() for event in of_mapping],
            actor=actor,
            at=at,
            mapping_source=mapping_source,
            is_refusal_kept=False,
        )
        again = {outcome.index: outcome.code for outcome in result.results if outcome.status != "duplicate"}
        refused.update(again.values())
        for index, event in enumerate(of_mapping):
            if index not in again:
                metering_services.quarantine_mark_replayed(quarantined=event, actor=actor, at=at)
                replayed += 1
    return BulkReplay(replayed=replayed, refused=dict(sorted(refused.items())), waiting=found.count())


@unit_of_work
def quarantine_store_under_new_id(
    *, quarantined_id: UUID, event_id: str, comment: str, actor: Actor, at: datetime
) -> QuarantinedEvent:
    """
    Take a refused event as a fact of its own, under another id, and return the version that was accepted.

    For an id that its producer gave to two facts: the first one counts already, this is the second.

    :raises QuarantinedEventUnknown: if there is none with this id
    :raises QuarantineEditInvalid: if the id cannot be put into its text, or no reason is given
    :raises ReplayRefused: if it waits no more, or is refused under the new id as well; nothing is changed then
    """
    held = metering_services.quarantine_lock_held(quarantined_id=quarantined_id)
    raw = quarantine.renamed_text(quarantined=held, event_id=event_id)
    edited = quarantine.quarantine_edit(quarantined_id=held.id, raw=raw, comment=comment, actor=actor, at=at)
    usage_intake.quarantine_replay(quarantined_id=edited.id, actor=actor, at=at)
    edited.refresh_from_db()
    return edited
