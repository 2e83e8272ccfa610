"""Take usage events in: each is accepted once, told to be a repeat, or refused with a reason and kept.

    bytes -> events -> whole? whose? when? -> can meters count it? -> identity, event, totals, news: one transaction

The answer is given after the commit, so what is called accepted is durable, counted once and visible. Nothing waits in
memory: there is no buffer that a crash could empty or a flush could overtake. Whoever gets no answer sends again, and
the key table tells what was there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, OperationalError, transaction
from psycopg import errors as postgres

from apps.common import ids
from apps.common.actors import Actor
from apps.common.db import require_tenant, unit_of_work
from apps.customers.models import TestClock
from apps.messaging import services as messaging_services
from apps.metering import bodies, event_checks, normalisers, partitions
from apps.metering import selectors as metering_selectors
from apps.metering import services as metering_services
from apps.metering.errors import EventRefused, ReplayRefused
from apps.metering.models import EventMapping
from apps.metering.normalisers import CanonicalEvent
from apps.metering.services import RefusedEvent
from apps.metering.usage_rows import EventPlace, UsageRow, build_usage_row
from apps.workflows import usage_parties

TRIES_MAX: Final = 5
SOURCES_SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of one event that was not plainly accepted."""

    index: int
    status: str  # duplicate, conflict or rejected
    code: str = ""
    detail: str = ""

    def to_document(self) -> dict[str, Any]:
        """Return the result as JSON; a repeat needs no explanation."""
        reason = {"code": self.code, "detail": self.detail} if self.code else {}
        return {"index": self.index, "status": self.status, **reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeResult:
    """What became of a batch: four counts that add up to its size, and each event that was not plainly accepted."""

    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    results: list[EventResult]

    @property
    def is_clean(self) -> bool:
        """Return whether nothing has to be looked at: all is accepted or was there already."""
        return not (self.conflicts or self.rejected)

    def to_document(self) -> dict[str, Any]:
        """Return the answer to the sender as JSON."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "rejected": self.rejected,
            "results": [result.to_document() for result in self.results],
        }


@dataclass(frozen=True, slots=True)
class Restatement:
    """
    What lets a correction bring events of any age, each in the place of another where it stands for one.

    `stands_for` names, by the index of such an event, the transaction that wrote the other: it counts for the meters
    that were defined then.
    """

    stands_for: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Candidate:
    """An event on its way: what was sent, what it says, and who and when it is about."""

    index: int
    raw: bytes
    event: CanonicalEvent = field(default_factory=CanonicalEvent)
    occurred_at: datetime | None = None
    quantity: str | None = None
    customer_id: UUID | None = None
    subscription_id: UUID | None = None
    key: str = ""
    refused: EventRefused | None = None


def batch_accept(*, body: bytes, actor: Actor, at: datetime, mapping_source: str = "") -> IntakeResult:
    """
    Take in a request's body: `{"events": [...]}`, or an array such as a CloudEvents batch.

    :param mapping_source: the source whose mapping reads the events; empty for our own shape and CloudEvents
    :raises BatchInvalid: if the body is not JSON of that shape
    :raises BatchTooLarge: above 10,000 events or 4 MiB
    :raises EventMappingUnknown: if no mapping is defined for the source
    """
    return events_accept(events=bodies.batch_split(body), actor=actor, at=at, mapping_source=mapping_source)


def single_accept(*, body: bytes, actor: Actor, at: datetime, mapping_source: str = "") -> IntakeResult:
    """
    Take in a request's body that is one event.

    :raises BatchInvalid: if the body is not one JSON object
    :raises BatchTooLarge: above 4 MiB
    :raises EventMappingUnknown: if no mapping is defined for the source
    """
    return events_accept(events=bodies.single_split(body), actor=actor, at=at, mapping_source=mapping_source)


def events_accept(
    *,
    events: Sequence[bytes],
    actor: Actor,
    at: datetime,
    mapping_source: str = "",
    is_refusal_kept: bool = True,
    restatement: Restatement | None = None,
) -> IntakeResult:
    """
    Take in events, each the JSON text that its producer sent, and say what became of each.

    :param at: when they were received, and the clock of customers without a test clock
    :param is_refusal_kept: put what is refused into quarantine; a replay has it there already
    :param restatement: the events come by a correction, and may be of any age
    :raises EventMappingUnknown: if no mapping is defined for the source
    """
    require_tenant()
    mapping = metering_selectors.event_mapping_current(source=mapping_source) if mapping_source else None
    candidates = [_Candidate(index, raw) for index, raw in enumerate(events)]
    _each(candidates, lambda candidate: _read(candidate, mapping))
    _parties_find(candidates, at=at, is_any_age=restatement is not None)
    months = {partitions.month_of(c.occurred_at) for c in candidates if c.occurred_at and c.refused is None}
    metering_services.usage_partitions_ensure(months=months)
    is_repeat_expected = False
    for tries_left in range(TRIES_MAX - 1, -1, -1):
        try:
            # In a block of its own even inside another transaction: the fast way fails on purpose.
            with transaction.atomic():
                return _store(
                    candidates,
                    actor=actor,
                    at=at,
                    mapping_source=mapping_source,
                    is_repeat_expected=is_repeat_expected,
                    is_refusal_kept=is_refusal_kept,
                    stands_for=restatement.stands_for if restatement is not None else {},
                )
        except (IntegrityError, OperationalError) as error:
            is_repeat = isinstance(error.__cause__, postgres.UniqueViolation) and not is_repeat_expected
            is_deadlock = isinstance(error.__cause__, postgres.DeadlockDetected)
            if not (is_repeat or is_deadlock) or not tries_left:
                raise
            is_repeat_expected = True
    raise AssertionError("the last try returns or raises")


@unit_of_work
def quarantine_replay(*, quarantined_id: UUID, actor: Actor, at: datetime) -> IntakeResult:
    """
    Send a refused event in once more, under its own id, and mark it replayed in the same transaction.

    An event that was stored meanwhile, by a retry of its producer, is found to be a duplicate and not counted again.

    :raises QuarantinedEventUnknown: if there is none with this id
    :raises ReplayRefused: if it was replayed already, is refused again, or contradicts what is stored
    """
    quarantined = metering_services.quarantine_lock_held(quarantined_id=quarantined_id)
    result = events_accept(
        events=[quarantined.raw.encode()],
        actor=actor,
        at=at,
        mapping_source=quarantined.mapping_source,
        is_refusal_kept=False,
    )
    if not result.is_clean:
        reason = result.results[0]
        raise ReplayRefused(
            f"The event cannot be accepted yet ({reason.code}): {reason.detail}",
            facts={"outcome": reason.status, "reason": reason.code},
        )
    metering_services.quarantine_mark_replayed(quarantined=quarantined, actor=actor, at=at)
    return result


def _each(candidates: Sequence[_Candidate], step: Callable[[_Candidate], None]) -> None:
    """Take one step with every candidate that is still in; one that is refused stops here, the others go on."""
    for candidate in candidates:
        if candidate.refused is None:
            try:
                step(candidate)
            except EventRefused as refused:
                candidate.refused = refused


def _read(candidate: _Candidate, mapping: EventMapping | None) -> None:
    event = normalisers.event_normalise(raw=candidate.raw, mapping=mapping)
    candidate.event = event
    event_checks.shape_check(event)
    candidate.occurred_at = event_checks.instant_read(event.occurred_at or "")
    candidate.quantity = event_checks.quantity_text(event.quantity)


def _parties_find(candidates: Sequence[_Candidate], *, at: datetime, is_any_age: bool) -> None:
    alive = [candidate.event for candidate in candidates if candidate.refused is None]
    customers = usage_parties.customers_find(references={str(event.customer) for event in alive})
    subscriptions = usage_parties.subscriptions_find(
        references={event.subscription for event in alive if event.subscription is not None}
    )
    clock_ids = {party.test_clock_id for party in customers.values() if party.test_clock_id is not None}
    # A clock moves, so it is read for each batch.
    clocks = dict(TestClock.objects.filter(id__in=clock_ids).values_list("id", "now_at")) if clock_ids else {}

    def place(candidate: _Candidate) -> None:
        event = candidate.event
        customer = customers.get(str(event.customer))
        if customer is None:
            detail = f"There is no customer '{event.customer}'; create it, then replay the event."
            raise EventRefused("unknown_customer", detail)
        candidate.customer_id = customer.id
        if event.subscription is not None:
            subscription = subscriptions.get(event.subscription)
            if subscription is None or subscription.customer_id != customer.id:
                detail = f"Customer '{event.customer}' has no subscription '{event.subscription}'."
                raise EventRefused("unknown_subscription", detail)
            candidate.subscription_id = subscription.id
        now_at = clocks[customer.test_clock_id] if customer.test_clock_id is not None else at
        assert candidate.occurred_at is not None  # noqa: S101  read before it is placed
        event_checks.time_check(candidate.occurred_at, now_at=now_at, is_any_age=is_any_age)

    _each(candidates, place)


def _store(
    candidates: Sequence[_Candidate],
    *,
    actor: Actor,
    at: datetime,
    mapping_source: str,
    is_repeat_expected: bool,
    is_refusal_kept: bool,
    stands_for: Mapping[int, str],
) -> IntakeResult:
    """Judge against the meters, write what is new, keep what is refused, tell the journal: one transaction."""
    verdicts: dict[int, EventResult] = {}
    rows: dict[str, tuple[_Candidate, UsageRow]] = {}
    meters = metering_services.meters_hold(
        event_types={str(candidate.event.type) for candidate in candidates if candidate.refused is None}
    )
    for candidate in candidates:
        try:
            if candidate.refused is not None:
                raise candidate.refused
            event = candidate.event
            event_checks.meters_check(event, quantity=candidate.quantity, meters=meters.get(str(event.type), ()))
            row = _row(candidate, at=at)
        except EventRefused as refused:
            verdicts[candidate.index] = EventResult(candidate.index, "rejected", refused.code, refused.detail)
            continue
        first = rows.setdefault(row.key, (candidate, row))[1]
        if first is not row:
            status = "duplicate" if first.payload_hash == row.payload_hash else "conflict"
            verdicts[candidate.index] = _repeat(candidate, status)
    repeats = metering_services.usage_batch_store(
        rows=[row for _candidate, row in rows.values()],
        at=at,
        is_repeat_expected=is_repeat_expected,
        stands_for={key: stands_for[c.index] for key, (c, _row) in rows.items() if c.index in stands_for}
        if stands_for
        else {},
    )
    for key, status in repeats.items():
        verdicts[rows[key][0].index] = _repeat(rows[key][0], status)
    result = _result(verdicts, size=len(candidates))
    if is_refusal_kept:
        refused_events = [_refused(candidates[r.index], r) for r in result.results if r.status != "duplicate"]
        metering_services.quarantine_hold(refused=refused_events, mapping_source=mapping_source, at=at)
    if result.accepted:
        accepted = [candidate for key, (candidate, _row) in rows.items() if key not in repeats]
        _journal(accepted, result=result, actor=actor, at=at)
    return result


def _row(candidate: _Candidate, *, at: datetime) -> UsageRow:
    assert candidate.occurred_at is not None  # noqa: S101  both were set when it was placed
    assert candidate.customer_id is not None  # noqa: S101
    place = EventPlace(
        customer_id=candidate.customer_id,
        subscription_id=candidate.subscription_id,
        occurred_at=candidate.occurred_at,
        received_at=at,
        quantity=candidate.quantity,
        batch_position=candidate.index,
    )
    return build_usage_row(event=candidate.event, place=place)


def _repeat(candidate: _Candidate, status: str) -> EventResult:
    if status == "duplicate":
        return EventResult(candidate.index, status)
    detail = (
        f"Event '{candidate.event.id}' of '{candidate.event.source}' is stored with another content; an id names one "
        "event for ever. Send a new fact under a new id."
    )
    return EventResult(candidate.index, status, "id_reused", detail)


def _refused(candidate: _Candidate, result: EventResult) -> RefusedEvent:
    event = candidate.event
    return RefusedEvent(
        raw=candidate.raw,
        code=result.code,
        detail=result.detail,
        source=(event.source or "").replace("\0", "")[:255],
        event_id=(event.id or "").replace("\0", "")[:255],
        customer_reference=(event.customer or "").replace("\0", "")[:255],
    )


def _result(verdicts: dict[int, EventResult], *, size: int) -> IntakeResult:
    results = [verdicts[index] for index in sorted(verdicts)]
    counts = {status: sum(1 for r in results if r.status == status) for status in ("duplicate", "conflict", "rejected")}
    return IntakeResult(
        accepted=size - len(results),
        duplicates=counts["duplicate"],
        conflicts=counts["conflict"],
        rejected=counts["rejected"],
        results=results,
    )


def _journal(accepted: Sequence[_Candidate], *, result: IntakeResult, actor: Actor, at: datetime) -> None:
    """Tell of the batch, not of each event: the raw rows are the record, the news says where to look."""
    moments = [candidate.occurred_at for candidate in accepted if candidate.occurred_at is not None]
    sources = sorted({str(candidate.event.source) for candidate in accepted})
    batch_id = ids.new_id()
    messaging_services.event_publish(
        topic="usage.recorded",
        aggregate_type="metering.usagebatch",
        aggregate_id=batch_id,
        payload={
            "id": ids.to_public(prefix="ubt", value=batch_id),
            "accepted": result.accepted,
            "duplicates": result.duplicates,
            "conflicts": result.conflicts,
            "rejected": result.rejected,
            "occurred_from": min(moments).isoformat(),
            "occurred_until": max(moments).isoformat(),
            "customers": len({candidate.customer_id for candidate in accepted}),
            "sources": sources[:SOURCES_SHOWN_MAX],
        },
        actor=actor,
        at=at,
    )
