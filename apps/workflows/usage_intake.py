"""Take usage events in: each is accepted once, told to be a repeat, or refused with a reason and kept.

    bytes -> events -> whole? whose? when? -> can meters count it? -> identity, event, totals, news: one transaction

The answer is given after the commit, so what is called accepted is durable, counted once and visible. Batches that wait
at the same moment share one commit (`usage_joining.py`), and each is answered after it. Nothing else waits in memory:
there is no buffer that a crash could empty or a flush could overtake. Whoever gets no answer sends again, and the key
table tells what was there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg import errors as postgres

from apps.common import context, ids
from apps.common.actors import Actor
from apps.common.db import require_tenant, unit_of_work
from apps.messaging import services as messaging_services
from apps.messaging.services import FirstNews
from apps.metering import bodies
from apps.metering import selectors as metering_selectors
from apps.metering import services as metering_services
from apps.metering.errors import ReplayRefused
from apps.metering.intake_terms import IntakeTerms
from apps.metering.normalisers import CanonicalEvent
from apps.metering.services import RefusedEvent
from apps.metering.usage_rows import UsageRow
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_admission, usage_judging
from apps.workflows.intake_results import EventResult, IntakeResult, result_of
from apps.workflows.usage_admission import Refusal
from apps.workflows.usage_joining import Joining
from apps.workflows.usage_judging import JudgedBatch, ReadBatch

TRIES_MAX: Final = 5
SOURCES_SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Restatement:
    """
    What lets a correction bring events of any age, each in the place of another where it stands for one.

    `stands_for` names, by the index of such an event, the transaction that wrote the other: it counts for the meters
    that were defined then.
    """

    stands_for: Mapping[int, str] = field(default_factory=dict)


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
    batch = usage_judging.batch_read(raws=events, mapping=mapping)
    quarantine = mapping_source if is_refusal_kept else None
    intake = _Intake(batch, actor=actor, at=at, quarantine_mapping=quarantine, restatement=restatement)
    intake.judge(metering_services.intake_terms_known())
    if intake.is_plain and not connection.in_atomic_block:
        joined = _joining.join(line=tenancy_context.current_schema(), item=intake)
        if joined is not None:
            return joined
    return _store_alone(intake)


def _store_joined(intakes: Sequence["_Intake"]) -> list[IntakeResult] | None:
    """
    Store plain batches in one transaction, in the four statements that one of them needs.

    Returns nothing, and leaves nothing, where one of them turns out to be unusual: an event is there already, or twice
    among them, or the terms have moved. Each then finds its own way.
    """
    rows = [row for intake in intakes for row in intake.rows]
    if len({row.key for row in rows}) < len(rows):
        return None
    try:
        with transaction.atomic():
            held = metering_services.intake_terms_hold(keys=[key for intake in intakes for key in _sample(intake.rows)])
            if held.is_any_key_stored or any(intake.version != held.version for intake in intakes):
                return None
            received_at = max(intake.at for intake in intakes)
            metering_services.usage_keys_store(rows=rows, at=received_at, is_repeat_expected=False)
            concluded = [intake.conclude(over={}, repeats={}) for intake in intakes]
            messaging_services.first_events_publish(news=[done.news for done in concluded if done.news is not None])
            metering_services.usage_events_store(rows=[row for done in concluded for row in done.accepted])
    except (IntegrityError, OperationalError):
        return None
    return [done.result for done in concluded]


def _store_alone(intake: "_Intake") -> IntakeResult:
    """Store one batch in a transaction of its own, trying again where something was there or stood in the way."""
    for tries_left in range(TRIES_MAX - 1, -1, -1):
        intake.limits_ensure()
        try:
            # In a block of its own even inside another transaction: the fast way fails on purpose.
            with transaction.atomic():
                return intake.store()
        except _LimitsMoved:
            # Windows are made while nothing is held; and a last try has nowhere to go.
            if not tries_left:
                raise OperationalError("The limits of the batch's customers moved with every try.") from None
        except (IntegrityError, OperationalError) as error:
            is_repeat = isinstance(error.__cause__, postgres.UniqueViolation) and not intake.is_repeat_expected
            is_deadlock = isinstance(error.__cause__, postgres.DeadlockDetected)
            is_month_gone = _is_month_gone(error.__cause__)
            if not (is_repeat or is_deadlock or is_month_gone) or not tries_left:
                raise
            if is_month_gone:
                intake.partitions_ensure_anew()
            else:
                intake.is_repeat_expected = True
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
            facts={"outcome": reason.status, "reason": reason.code, **reason.facts},
        )
    metering_services.quarantine_mark_replayed(quarantined=quarantined, actor=actor, at=at)
    return result


class _LimitsMoved(Exception):
    """Customers of the batch have limits that nobody knew of when it was judged."""


@dataclass(frozen=True, slots=True)
class _Concluded:
    """What a batch came to: the answer, the events that are to be written, and the news of them."""

    result: IntakeResult
    accepted: Sequence[UsageRow]
    news: FirstNews | None


class _Intake:
    """One batch on its way in: judged before its transaction, stored in it, and tried again from what was judged."""

    def __init__(
        self,
        batch: ReadBatch,
        *,
        actor: Actor,
        at: datetime,
        quarantine_mapping: str | None,
        restatement: Restatement | None,
    ) -> None:
        self._batch, self._actor, self.at = batch, actor, at
        self._restatement = restatement
        # Who writes may be another request's thread.
        self._request_id = context.request_id()
        # The mapping that refused events are kept with; nothing when they are not kept.
        self._quarantine_mapping = quarantine_mapping
        self._judged = JudgedBatch()
        self.version = ""
        self._known_since: datetime | None = None
        self._limited: list[UsageRow] = []
        self.is_repeat_expected = False

    @property
    def rows(self) -> list[UsageRow]:
        """Return the events that were judged whole, each key once."""
        return self._judged.rows

    @property
    def is_plain(self) -> bool:
        """Return whether the batch can be stored like any other: no limit to hold, nothing restated."""
        return self._restatement is None and not self._limited

    def limits_ensure(self) -> None:
        """Make the limits that could refuse an event, outside of the transaction that stores it."""
        usage_admission.windows_ensure(rows=self._limited, actor=self._actor, at=self.at)

    def judge(self, terms: IntakeTerms) -> None:
        """Judge the batch by these terms, and make the partitions that it needs."""
        self._judged = usage_judging.batch_judge(
            batch=self._batch, terms=terms, at=self.at, is_any_age=self._restatement is not None
        )
        self.version = terms.version
        self._known_since = terms.usage.known_since(self.at)
        # A limit is a promise about the door. What a correction brings has happened, and somebody answers for it.
        if self._restatement is None:
            self._limited = usage_admission.limited_rows(rows=self._judged.rows, limited=terms.limited)
        metering_services.usage_partitions_ensure(months=self._judged.months)

    def partitions_ensure_anew(self) -> None:
        """Make the partitions of the batch when one that this process knew was retired by another."""
        metering_services.usage_partitions_forget()
        metering_services.usage_partitions_ensure(months=self._judged.months)

    def store(self) -> IntakeResult:
        """Write what is new, keep what is refused, tell the journal: one transaction."""
        held = metering_services.intake_terms_hold(keys=_sample(self._judged.rows))
        if held.version != self.version:
            self.judge(metering_services.intake_terms_read())
            if self._limited:
                raise _LimitsMoved
        # A producer that had no answer sends the whole batch again: one key that is there tells of the others.
        self.is_repeat_expected |= held.is_any_key_stored
        over = usage_admission.events_admit(
            rows=self._limited, stands_for=self._stands_for(), known_since=self._known_since, at=self.at
        )
        admitted = [row for row in self.rows if row.key not in over] if over else self.rows
        repeats = metering_services.usage_keys_store(
            rows=admitted, at=self.at, is_repeat_expected=self.is_repeat_expected, known_since=self._known_since
        )
        done = self.conclude(over=over, repeats=repeats)
        if done.news is not None:
            messaging_services.first_events_publish(news=[done.news])
        # Last, because from here to the commit others who write for the same customers wait for their totals.
        metering_services.usage_events_store(rows=done.accepted, stands_for=self._stands_for())
        return done.result

    def conclude(self, *, over: Mapping[bytes, Refusal], repeats: Mapping[bytes, str]) -> "_Concluded":
        """
        Keep what is refused; return the answer, what is to be told of it, and the events that are to be written.

        :param over: what limits refused, by key
        :param repeats: "duplicate" or "conflict" for each key that is stored already
        """
        rows = self.rows
        verdicts = {
            position: EventResult(position, "rejected", refused.code, refused.detail)
            for position, refused in self._judged.refused.items()
        }
        if over:
            verdicts |= {row.position: _over_limit(row, over[row.key]) for row in rows if row.key in over}
        if repeats:
            verdicts |= {row.position: _repeat(row, repeats[row.key]) for row in rows if row.key in repeats}
        # Where the first contradicts what is stored, it says nothing of those after it.
        told = metering_services.usage_contents_compare(
            rows=[row for row, first in self._judged.repeats if repeats.get(first.key) == "conflict"]
        )
        for row, first in self._judged.repeats:
            status = "duplicate" if first.payload_hash == row.payload_hash else "conflict"
            status = told.get(row.position, status)
            # What repeats an event that was refused is refused, too: neither is stored.
            is_over = first.key in over and status == "duplicate"
            verdicts[row.position] = _over_limit(row, over[first.key]) if is_over else _repeat(row, status)
        result = result_of(verdicts=verdicts, size=len(self._batch.raws))
        accepted = [row for row in rows if row.position not in verdicts] if verdicts else rows
        if self._quarantine_mapping is not None and not result.is_clean:
            self._quarantine(result, self._quarantine_mapping)
        return _Concluded(result, accepted, self._news(result, accepted) if result.accepted else None)

    def _news(self, result: IntakeResult, accepted: Sequence[UsageRow]) -> FirstNews:
        """Tell of the batch, not of each event: the raw rows are the record, the news says where to look."""
        moments = [row.occurred_at for row in accepted]
        sources = sorted({str(row.event.source) for row in accepted})
        batch_id = ids.new_id()
        return FirstNews(
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
                "customers": len({row.customer_id for row in accepted}),
                "sources": sources[:SOURCES_SHOWN_MAX],
            },
            actor=self._actor,
            at=self.at,
            request_id=self._request_id,
        )

    def _stands_for(self) -> dict[bytes, str]:
        if self._restatement is None:
            return {}
        stands_for = self._restatement.stands_for
        return {row.key: stands_for[row.position] for row in self._judged.rows if row.position in stands_for}

    def _quarantine(self, result: IntakeResult, mapping_source: str) -> None:
        batch = self._batch
        refused = [
            _refused(batch.raws[r.index], batch.events[r.index], r) for r in result.results if r.status != "duplicate"
        ]
        metering_services.quarantine_hold(refused=refused, mapping_source=mapping_source, at=self.at)


def _is_month_gone(cause: BaseException | None) -> bool:
    # A row that fits into no partition is a check violation without a constraint.
    return isinstance(cause, postgres.CheckViolation) and not cause.diag.constraint_name


def _sample(rows: Sequence[UsageRow]) -> list[str]:
    """Return the keys of the first, the middle and the last row."""
    return [rows[place].key.hex() for place in sorted({0, len(rows) // 2, len(rows) - 1})] if rows else []


def _repeat(row: UsageRow, status: str) -> EventResult:
    if status == "duplicate":
        return EventResult(row.position, status)
    detail = (
        f"Event '{row.event.id}' of '{row.event.source}' is stored with another content; an id names one event for "
        "ever. Send a new fact under a new id."
    )
    return EventResult(row.position, status, "id_reused", detail)


def _over_limit(row: UsageRow, refusal: Refusal) -> EventResult:
    return EventResult(row.position, "rejected", usage_admission.REFUSED_CODE, refusal.detail, refusal.facts)


def _refused(raw: bytes, event: CanonicalEvent, result: EventResult) -> RefusedEvent:
    return RefusedEvent(
        raw=raw,
        code=result.code,
        detail=result.detail,
        source=(event.source or "").replace("\0", "")[:255],
        event_id=(event.id or "").replace("\0", "")[:255],
        customer_reference=(event.customer or "").replace("\0", "")[:255],
    )


_joining: Final = Joining(write=_store_joined, size=lambda intake: len(intake.rows), size_max=bodies.EVENTS_MAX)
