"""Judge a batch: read each event, find whom it is about, and ask whether it can be counted.

Nothing is written here, so a batch can be judged before its transaction begins, and once more if the terms change
meanwhile. An event that is refused stops where it is; the others go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from uuid import UUID

from apps.customers.models import TestClock
from apps.metering import event_checks, meter_checks, normalisers
from apps.metering.errors import EventRefused
from apps.metering.event_checks import Instant, TimeLimits
from apps.metering.intake_terms import IntakeTerms
from apps.metering.models import EventMapping
from apps.metering.normalisers import CanonicalEvent
from apps.metering.usage_rows import UsageParty, UsageRow, UsageRowWriter
from apps.workflows import usage_parties
from apps.workflows.usage_parties import CustomerParty, SubscriptionParty

_UNREADABLE: Final = CanonicalEvent()


@dataclass(slots=True)
class ReadBatch:
    """The events of a batch by their place in it; one that was refused has a reason and no instant."""

    raws: Sequence[bytes]
    mapping_version: int = 0
    events: list[CanonicalEvent] = field(default_factory=list)
    instants: list[Instant | None] = field(default_factory=list)
    refused: dict[int, EventRefused] = field(default_factory=dict)


@dataclass(slots=True)
class JudgedBatch:
    """
    The rows of the events that can be counted, each key once, and what is to say of all others.

    `repeats` names the events whose id a former one of the same batch has, each with that one's row.
    """

    rows: list[UsageRow] = field(default_factory=list)
    refused: dict[int, EventRefused] = field(default_factory=dict)
    repeats: list[tuple[UsageRow, UsageRow]] = field(default_factory=list)
    months: set[date] = field(default_factory=set)


def batch_read(*, raws: Sequence[bytes], mapping: EventMapping | None) -> ReadBatch:
    """Read the JSON text of each event into our own words, and refuse those that are not whole."""
    batch = ReadBatch(raws, 0 if mapping is None else mapping.version)
    for position, raw in enumerate(raws):
        event, instant = _UNREADABLE, None
        try:
            event = normalisers.event_normalise(raw=raw, mapping=mapping)
            event_checks.shape_check(event)
            instant = event_checks.instant_place(event.occurred_at or "")
        except EventRefused as refused:
            batch.refused[position] = refused
        batch.events.append(event)
        batch.instants.append(instant)
    return batch


def batch_judge(*, batch: ReadBatch, terms: IntakeTerms, at: datetime, is_any_age: bool = False) -> JudgedBatch:
    """
    Ask of each event whose it is, whether its time fits, and whether every meter of its type can count it.

    :param is_any_age: a correction brings the events, with a reason; only the future is refused
    """
    whole = [event for event, instant in zip(batch.events, batch.instants, strict=True) if instant is not None]
    limits = TimeLimits(ahead=terms.usage.ahead, behind=terms.usage.behind)
    finder = _PartyFinder(whole, at, limits=limits, is_any_age=is_any_age)
    writer = UsageRowWriter(received_at=at, mapping_version=batch.mapping_version)
    judged = JudgedBatch(refused=dict(batch.refused))
    meters, policies = terms.meters, terms.policies
    for position, (event, instant) in enumerate(zip(batch.events, batch.instants, strict=True)):
        if instant is None:
            continue
        try:
            party = finder.party(event, instant.at)
            quantity = None if event.quantity is None else event_checks.quantity_text(event.quantity)
            properties = event.properties or {}
            if policies and (policy := policies.get(event.type or "")) is not None:
                properties = policy.stored(properties)
            if (asking := meters.get(event.type or "")) is not None:
                meter_checks.meters_check(properties, quantity=quantity, meters=asking)
            if event.sequence is not None:
                event.sequence = event_checks.sequence_read(event.sequence)
            row = writer.row(
                event=event,
                position=position,
                party=party,
                instant=instant,
                quantity=quantity,
                stored_properties=properties,
            )
        except EventRefused as refused:
            judged.refused[position] = refused
        else:
            judged.rows.append(row)
            judged.months.add(instant.month)
    _repeats_part(judged)
    return judged


class _PartyFinder:
    """The customers and subscriptions that the events of a batch name, and the clocks that judge their times."""

    def __init__(self, events: Sequence[CanonicalEvent], at: datetime, *, limits: TimeLimits, is_any_age: bool) -> None:
        self._limits, self._is_any_age = limits, is_any_age
        self._customers = usage_parties.customers_find(references={str(event.customer) for event in events})
        self._subscriptions = usage_parties.subscriptions_find(
            references={event.subscription for event in events if event.subscription is not None}
        )
        clock_ids = {party.test_clock_id for party in self._customers.values() if party.test_clock_id is not None}
        # A clock moves, so it is read for each batch.
        self._now_at: dict[UUID | None, datetime] = {None: at}
        if clock_ids:
            self._now_at |= dict(TestClock.objects.filter(id__in=clock_ids).values_list("id", "now_at"))

    def party(self, event: CanonicalEvent, occurred_at: datetime) -> UsageParty:
        """
        Return whom an event is about.

        :raises EventRefused: if nobody is known by that name, or it happened outside of the customer's time
        """
        customer = self._customers.get(event.customer or "")
        if customer is None:
            detail = f"There is no customer '{event.customer}'; create it, then replay the event."
            raise EventRefused("unknown_customer", detail)
        party = customer.party if event.subscription is None else _owned(event, customer, self._subscriptions)
        now_at = self._now_at[customer.test_clock_id]
        event_checks.time_check(occurred_at, now_at=now_at, limits=self._limits, is_any_age=self._is_any_age)
        return party


def _owned(
    event: CanonicalEvent, customer: CustomerParty, subscriptions: Mapping[str, SubscriptionParty]
) -> UsageParty:
    subscription = subscriptions.get(event.subscription or "")
    if subscription is None or subscription.party.customer_id != customer.party.customer_id:
        detail = f"Customer '{event.customer}' has no subscription '{event.subscription}'."
        raise EventRefused("unknown_subscription", detail)
    return subscription.party


def _repeats_part(judged: JudgedBatch) -> None:
    """Leave each key once among the rows; the first event of an id is the one that counts."""
    first_of: dict[bytes, UsageRow] = {}
    for row in judged.rows:
        first = first_of.setdefault(row.key, row)
        if first is not row:
            judged.repeats.append((row, first))
    if judged.repeats:
        judged.rows = list(first_of.values())
