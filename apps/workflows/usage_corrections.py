"""
Correct usage by documents: cancel events, amend them, back-fill what came too late, and take a correction back.

    what is asked -> which events -> written and measured -> small: applied at once; large: undone, waits for another

Nothing is changed in place. What counts no more is cancelled; what counts instead goes through the door of every event
(`usage_intake`), of any age, with an id of its own. Documents that are final already are T's follower's business: a
cancellation or an event that a closed window had not seen is late usage there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import OperationalError, transaction
from psycopg import errors as postgres

from apps.common import ids
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers import selectors as customer_selectors
from apps.metering import corrected_events, correction_effects, corrections, event_identity
from apps.metering import selectors as metering_selectors
from apps.metering.corrected_events import PlannedEvent
from apps.metering.correction_documents import (
    EVENTS_MAX,
    CorrectionKind,
    CorrectionStatus,
    UsageCorrection,
)
from apps.metering.correction_effects import Effect, Touched
from apps.metering.corrections import CorrectionTerms, Measured
from apps.metering.errors import CorrectionConflict
from apps.workflows import correction_money, correction_plans, usage_intake, usage_parties
from apps.workflows.usage_intake import Restatement

# Each month needs a partition; nobody bills a decade back.
BACKFILL_AGE_MAX: Final = timedelta(days=3_660)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionOrder:
    """What is asked for: terms, and for each event what its kind needs."""

    terms: CorrectionTerms
    events: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBackfill:
    """Which usage of before a meter's definition is to count for it: one customer's, in a half-open window."""

    meter: str
    customer: str
    starts_at: datetime
    ends_at: datetime


@unit_of_work
def correction_request(*, order: CorrectionOrder, actor: Actor, at: datetime) -> UsageCorrection:
    """
    Correct usage at once if one person may, else ask for somebody else's approval with the effect measured.

    A cancellation names events by source and id; an amendment says beside them what is to be different; a back-fill
    brings whole events.

    :raises CorrectionInvalid: naming each event that cannot be corrected; nothing is changed then
    :raises CorrectionConflict: if another correction was faster
    """
    _refuse([*corrections.terms_problems(order.terms), *_size_problems(len(order.events))])
    correction_id = ids.new_id()
    planned = correction_plans.plan_events(kind=order.terms.kind, events=order.events, correction_id=correction_id)
    return _request(correction_id, order.terms, planned, actor=actor, at=at)


@unit_of_work
def meter_backfill_request(
    *, asked: MeterBackfill, terms: CorrectionTerms, actor: Actor, at: datetime
) -> UsageCorrection:
    """
    Let a meter count events that were written before it was defined.

    Each event is cancelled and entered again as it was, under an id of its own: written now, it counts for every meter
    that is there now, and for the meters that counted it before as it did.

    :raises MeterUnknown: if there is no such meter
    :raises CustomerUnknown: if there is no such customer
    :raises CorrectionInvalid: if there is nothing to count, or more than one correction may hold
    """
    terms = replace(terms, kind=CorrectionKind.BACKFILL.value, is_for_newer_meters=True)
    _refuse(corrections.terms_problems(terms))
    meter = metering_selectors.meter_by_reference(asked.meter)
    customer = customer_selectors.customer_by_reference(asked.customer)
    keys = corrected_events.keys_older_than_meter(
        meter=meter,
        customer_id=customer.id,
        starts_at=asked.starts_at,
        ends_at=asked.ends_at,
        limit=EVENTS_MAX + 1,
    )
    if not keys:
        detail = f"{meter} leaves out no event of {customer} in this window because of its age; there is nothing to do."
        _refuse([FieldProblem("/starts_at", "nothing_to_backfill", detail)])
    if len(keys) > EVENTS_MAX:
        detail = f"There are more than {EVENTS_MAX} such events; ask for a shorter window, one after the other."
        _refuse([FieldProblem("/ends_at", "too_many", detail)])
    stored = corrected_events.stored_events(keys=keys)
    correction_id = ids.new_id()
    planned = correction_plans.meter_backfill_plan(stored=[stored[key] for key in keys], correction_id=correction_id)
    return _request(correction_id, terms, planned, actor=actor, at=at)


@unit_of_work
def correction_counter(
    *, correction_id: UUID, reason_code: str, comment: str, actor: Actor, at: datetime
) -> UsageCorrection:
    """
    Take an applied correction back by another one, so that every quantity is what it was before.

    What it cancelled is entered again as it was, under an id of its own that stands for the first; what it brought is
    cancelled. Ids stay used for ever.

    :raises CorrectionUnknown: if there is none with this id
    :raises CorrectionInvalid: if it was not applied, or its events were corrected further
    :raises CorrectionConflict: if it was taken back already
    """
    original = corrections.correction_lock(correction_id=correction_id)
    if original.status != CorrectionStatus.APPLIED:
        _refuse([FieldProblem("", "not_applied", f"{original} is not applied; there is nothing to take back.")])
    counter = corrections.counter_of(correction=original)
    if counter is not None:
        state = "waits for a decision" if counter.status == CorrectionStatus.PENDING_APPROVAL else "did so already"
        raise CorrectionConflict(f"{original} is taken back once, and {counter.public_id} {state}.")
    rows = list(original.events.order_by("position"))
    terms = CorrectionTerms(
        kind=correction_plans.counter_kind(rows=rows),
        reason_code=reason_code,
        comment=comment,
        counters_id=original.id,
    )
    _refuse(corrections.terms_problems(terms))
    counter_id = ids.new_id()
    return _request(
        counter_id, terms, correction_plans.plan_counter(rows=rows, counter_id=counter_id), actor=actor, at=at
    )


@unit_of_work
def correction_approve(*, correction_id: UUID, comment: str, actor: Actor, at: datetime) -> UsageCorrection:
    """
    Agree to somebody else's correction and apply it in the same moment; its effect is measured anew.

    :raises CorrectionUnknown: if there is none with this id
    :raises CorrectionDecided: if it waits no more
    :raises CorrectionNeedsAnother: if who asked for it would decide it
    :raises CorrectionInvalid: if it cannot be applied any more; reject it then
    :raises CorrectionConflict: if another correction of one of its events was faster; reject it then
    """
    correction = corrections.correction_lock_waiting(correction_id=correction_id)
    corrections.decision_check(correction=correction, comment=comment, actor=actor)
    planned = correction_plans.planned_again(correction=correction)
    with transaction.atomic():
        written = _write_measured(correction.id, planned, actor=actor, at=at)
        measured = written.measured(is_within_bound=correction.is_within_bound)
        return corrections.correction_apply(
            correction=correction, measured=measured, comment=comment, actor=actor, at=at
        )


def _request(
    correction_id: UUID, terms: CorrectionTerms, planned: Sequence[PlannedEvent], *, actor: Actor, at: datetime
) -> UsageCorrection:
    _refuse(_age_problems(planned, at))
    bound = corrections.correction_bound_current()
    with transaction.atomic():
        written = _write_measured(correction_id, planned, actor=actor, at=at)
        effect = written.effect
        is_within_bound = (
            len(planned) <= bound.events_max
            and effect.is_whole
            and effect.units_max <= bound.units_max
            # Nobody widens the bound for a correction of their own.
            and bound.set_by != corrections.identity_of(actor)
        )
        if not is_within_bound:
            transaction.set_rollback(True)
    measured = written.measured(is_within_bound=is_within_bound)
    correction = corrections.correction_open(
        correction_id=correction_id, terms=terms, planned=planned, measured=measured, actor=actor, at=at
    )
    if is_within_bound:
        corrections.correction_apply(correction=correction, measured=measured, comment="", actor=actor, at=at)
    return correction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What a correction that is written was found to change: units, and final documents."""

    effect: Effect
    documents: dict[str, Any]

    def measured(self, *, is_within_bound: bool) -> Measured:
        return Measured(
            effect=self.effect.to_document(), document_effect=self.documents, is_within_bound=is_within_bound
        )


def _write_measured(correction_id: UUID, planned: Sequence[PlannedEvent], *, actor: Actor, at: datetime) -> _Written:
    touched = _touched(planned)
    months = correction_effects.months_touched(touched=touched)
    before = correction_effects.months_measure(months=months)
    billed = correction_money.periods_touched(touched=touched)
    billed_before = correction_money.periods_measure(billed=billed)
    try:
        cancelled = [event.stored for event in planned if event.stored is not None]
        corrections.events_cancel(correction_id=correction_id, events=cancelled, at=at)
        brought = _bring(planned, actor=actor, at=at)
    except OperationalError as error:
        if not isinstance(error.__cause__, postgres.DeadlockDetected | postgres.LockNotAvailable):
            raise
        detail = "Usage of the same customers is being written just now. Nothing was changed; send it again."
        raise CorrectionConflict(detail) from error
    effect = correction_effects.effect_of(
        cancelled=[event.key for event in cancelled], brought=brought, months=months, before=before
    )
    return _Written(effect=effect, documents=correction_money.document_effect(billed=billed, before=billed_before))


def _bring(planned: Sequence[PlannedEvent], *, actor: Actor, at: datetime) -> list[str]:
    """Send what is to count through the door, and return the keys under which it is stored."""
    brought = [(position, event) for position, event in enumerate(planned) if event.after is not None]
    if not brought:
        return []
    originals = corrected_events.stored_events(
        keys={event.stands_for_key for _position, event in brought if event.stands_for_key is not None}
    )
    stands_for = {
        index: originals[event.stands_for_key].written_xid
        for index, (_position, event) in enumerate(brought)
        if event.stands_for_key in originals
    }
    result = usage_intake.events_accept(
        events=[str(event.after).encode() for _position, event in brought],
        actor=actor,
        at=at,
        is_refusal_kept=False,
        restatement=Restatement(stands_for),
    )
    _refuse(
        FieldProblem(
            f"/events/{brought[outcome.index][0]}",
            outcome.code or "already_stored",
            outcome.detail or "This event is stored already and counts; leave it out.",
        )
        for outcome in result.results
    )
    return [
        event_identity.event_key(source=event.source, event_id=event.after_event_id) for _position, event in brought
    ]


def _touched(planned: Sequence[PlannedEvent]) -> list[Touched]:
    places = [
        Touched(event.stored.customer_id, event.stored.type, event.stored.occurred_at)
        for event in planned
        if event.stored is not None
    ]
    documents = [corrected_events.document_read(event.after) for event in planned if event.after is not None]
    parties = usage_parties.customers_find(references={str(document.get("customer")) for document in documents})
    for document in documents:
        party, occurred_at = parties.get(str(document.get("customer"))), correction_plans.instant_of(document)
        # What the door cannot place it refuses, with its own words.
        if party is not None and occurred_at is not None:
            places.append(Touched(party.id, str(document.get("type")), occurred_at))
    return places


def _age_problems(planned: Sequence[PlannedEvent], at: datetime) -> list[FieldProblem]:
    problems = []
    for position, event in enumerate(planned):
        occurred_at = (
            None if event.after is None else correction_plans.instant_of(corrected_events.document_read(event.after))
        )
        if occurred_at is not None and at - occurred_at > BACKFILL_AGE_MAX:
            detail = f"occurred_at lies more than {BACKFILL_AGE_MAX.days} days back; that is before anything is billed."
            problems.append(FieldProblem(f"/events/{position}/occurred_at", "too_old", detail))
    return problems


def _size_problems(count: int) -> list[FieldProblem]:
    if 1 <= count <= EVENTS_MAX:
        return []
    return [FieldProblem("/events", "size_invalid", f"Name 1 to {EVENTS_MAX} events in one correction.")]


def _refuse(problems: Iterable[FieldProblem]) -> None:
    correction_plans.refuse(problems=problems)
