"""Buttons that correct usage: each shows its effect before it is confirmed, and the larger ones wait for another."""

from collections.abc import Callable

from apps.backoffice.buttons.base import Button, Outcome, Press, Rehearsal
from apps.backoffice.buttons.correction_forms import (
    AmendEventForm,
    BackfillForm,
    BoundForm,
    CancelEventForm,
    CancelManyForm,
    CounterForm,
    MeterBackfillForm,
)
from apps.backoffice.buttons.forms import ReasonForm
from apps.common import formatting
from apps.common.db import rolled_back
from apps.customers.models import Customer
from apps.metering import corrected_events, corrections
from apps.metering.correction_documents import CorrectionBound, CorrectionReason, CorrectionStatus, UsageCorrection
from apps.metering.models import UsageCancellation, UsageEvent
from apps.workflows import usage_corrections
from apps.workflows.usage_corrections import CorrectionOrder, MeterBackfill

_LINES_SHOWN = 20
_NOTE = (
    "Of count and sum: the units of these very events. Of the other aggregations: the whole month before and after. "
    "What was invoiced already is found by itself and becomes an adjustment."
)


def _ask(press: Press) -> UsageCorrection:
    order = CorrectionOrder(terms=press.data["terms"], events=press.data["events"])
    return usage_corrections.correction_request(order=order, actor=press.actor, at=press.wall_at)


def _ask_for_meter(press: Press) -> UsageCorrection:
    data = press.data
    asked = MeterBackfill(
        meter=data["meter"], customer=data["customer"], starts_at=data["starts_at"], ends_at=data["ends_at"]
    )
    return usage_corrections.meter_backfill_request(
        asked=asked, terms=data["terms"], actor=press.actor, at=press.wall_at
    )


def _take_back(press: Press) -> UsageCorrection:
    return usage_corrections.correction_counter(
        correction_id=press.record.id,
        reason_code=CorrectionReason.CORRECTION_WRONG.value,
        comment=press.data["comment"],
        actor=press.actor,
        at=press.wall_at,
    )


def _asked(ask: Callable[[Press], UsageCorrection]) -> Callable[[Press], Outcome]:
    def run(press: Press) -> Outcome:
        correction = ask(press)
        if correction.status == CorrectionStatus.APPLIED:
            return Outcome(message="Done: usage counts as the correction says.", record=correction)
        return Outcome(message="Asked for; it waits for somebody else's approval.", record=correction)

    return run


def _rehearsed(ask: Callable[[Press], UsageCorrection]) -> Callable[[Press], Rehearsal]:
    def rehearse(press: Press) -> Rehearsal:
        with rolled_back():
            correction = ask(press)
            effect, documents = correction.effect, correction.document_effect or {"documents": []}
        is_direct = correction.status == CorrectionStatus.APPLIED
        what = (
            "It is applied at once." if is_direct else "It is more than one person may correct: somebody else decides."
        )
        codes = _customer_codes(effect)
        left_out = effect["lines_left_out"] + max(0, len(effect["lines"]) - _LINES_SHOWN)
        return Rehearsal(
            at=press.wall_at,
            sentence=f"{correction.event_count} event{'' if correction.event_count == 1 else 's'}. {what}",
            lines=[
                (
                    f"{line['meter']} v{line['version']}" + (f", {line['month']}" if line["month"] else ""),
                    codes.get(line["customer"], line["customer"]),
                    f"{formatting.number_text(line['units_before'])} \N{RIGHTWARDS ARROW} "
                    f"{formatting.number_text(line['units_after'])} {line['unit_name']}".strip(),
                )
                for line in effect["lines"][:_LINES_SHOWN]
            ]
            or [("No meter counts these events.", "", "")],
            totals=[
                (
                    f"{total['meter']} v{total['version']}, change of all",
                    f"{formatting.number_text(total['units_change'])} {total['unit_name']}".strip(),
                )
                for total in effect["meters"]
            ]
            + [
                (
                    f"Invoice {document['number']}, adjustment before tax",
                    formatting.money_text(document["amount_minor"], document["currency"]),
                )
                for document in documents["documents"]
            ],
            issues=[],
            heads=("Meter", "Customer", "Units before and after"),
            note=(f"And {left_out} more lines. " if left_out else "") + _NOTE,
        )

    return rehearse


def _customer_codes(effect: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    ids = {line["customer"]: Customer.id_from_public(line["customer"]) for line in effect["lines"]}
    names = dict(Customer.objects.filter(id__in=ids.values()).values_list("id", "name"))
    return {public_id: names.get(id_, public_id) for public_id, id_ in ids.items()}


def _approve(press: Press) -> Outcome:
    correction = usage_corrections.correction_approve(
        correction_id=press.record.id, comment=press.data["comment"], actor=press.actor, at=press.wall_at
    )
    return Outcome(message="Applied: usage counts as the correction says.", record=correction)


def _reject(press: Press) -> Outcome:
    correction = corrections.correction_reject(
        correction_id=press.record.id, comment=press.data["comment"], actor=press.actor, at=press.wall_at
    )
    return Outcome(message="Usage stays as it is.", record=correction)


def _withdraw(press: Press) -> Outcome:
    correction = corrections.correction_withdraw(
        correction_id=press.record.id, comment=press.data["comment"], actor=press.actor, at=press.wall_at
    )
    return Outcome(message="The correction was withdrawn; usage stays as it is.", record=correction)


def _set_bound(press: Press) -> Outcome:
    bound = corrections.correction_bound_set(**press.data, actor=press.actor, at=press.wall_at)
    return Outcome(message=f"From now on one person may correct up to {bound} alone.")


def _counts(event: UsageEvent) -> bool:
    return not UsageCancellation.objects.filter(event_key=event.event_key).exists()


def _is_waiting(correction: UsageCorrection) -> bool:
    return str(correction.status) == CorrectionStatus.PENDING_APPROVAL


def _can_be_taken_back(correction: UsageCorrection) -> bool:
    return str(correction.status) == CorrectionStatus.APPLIED and corrections.counter_of(correction=correction) is None


def _event_named(event: UsageEvent) -> str:
    return f"Event {event.event_id} of {event.source}, {event.type}, {formatting.instant_text(event.occurred_at)}"


def _correction_named(correction: UsageCorrection) -> str:
    return f"{correction}: {correction.event_count} events, asked for by {correction.requested_by_name}"


_SHOWS = "Show what it changes"
BUTTONS = (
    Button(
        name="usage-cancel",
        title="Cancel event",
        effect="The event counts no more. It stays where it is and its id stays taken. This can be taken back.",
        permission="corrections.prepare",
        model=UsageEvent,
        subject=_event_named,
        run=_asked(_ask),
        rehearse=_rehearsed(_ask),
        rehearsal_title=_SHOWS,
        is_offered=_counts,
        form_class=CancelEventForm,
        find=corrected_events.event_by_key,
        is_grave=True,
    ),
    Button(
        name="usage-amend",
        title="Amend event",
        effect="Another event stands in the place of this one, under an id of its own. Change what was wrong.",
        permission="corrections.prepare",
        model=UsageEvent,
        subject=_event_named,
        run=_asked(_ask),
        rehearse=_rehearsed(_ask),
        rehearsal_title=_SHOWS,
        is_offered=_counts,
        form_class=AmendEventForm,
        find=corrected_events.event_by_key,
    ),
    Button(
        name="usage-cancel-many",
        title="Cancel events",
        effect="The events count no more, all of them or none. They stay where they are, and their ids stay taken.",
        permission="corrections.prepare",
        model=UsageCorrection,
        run=_asked(_ask),
        rehearse=_rehearsed(_ask),
        rehearsal_title=_SHOWS,
        is_on_list=True,
        form_class=CancelManyForm,
        is_grave=True,
    ),
    Button(
        name="usage-backfill",
        title="Back-fill events",
        effect="Events that came too late for the door count, however old they are, all of them or none.",
        permission="corrections.prepare",
        model=UsageCorrection,
        run=_asked(_ask),
        rehearse=_rehearsed(_ask),
        rehearsal_title=_SHOWS,
        is_on_list=True,
        form_class=BackfillForm,
    ),
    Button(
        name="meter-backfill",
        title="Back-fill a meter",
        effect="A customer's events of before the meter was defined count for it, too. Other meters stay as they are.",
        permission="corrections.prepare",
        model=UsageCorrection,
        run=_asked(_ask_for_meter),
        rehearse=_rehearsed(_ask_for_meter),
        rehearsal_title=_SHOWS,
        is_on_list=True,
        form_class=MeterBackfillForm,
    ),
    Button(
        name="correction-approve",
        title="Approve",
        effect="The correction is applied now, and usage counts as it says. Who asked for it cannot approve it.",
        permission="corrections.approve",
        model=UsageCorrection,
        subject=_correction_named,
        run=_approve,
        is_offered=_is_waiting,
        form_class=ReasonForm,
    ),
    Button(
        name="correction-reject",
        title="Reject",
        effect="Usage stays as it is. Who asked for the correction cannot decide this.",
        permission="corrections.approve",
        model=UsageCorrection,
        subject=_correction_named,
        run=_reject,
        is_offered=_is_waiting,
        form_class=ReasonForm,
    ),
    Button(
        name="correction-withdraw",
        title="Withdraw",
        effect="The correction is taken back before anybody decided it. Usage stays as it is.",
        permission="corrections.prepare",
        model=UsageCorrection,
        subject=_correction_named,
        run=_withdraw,
        is_offered=_is_waiting,
        form_class=ReasonForm,
    ),
    Button(
        name="correction-counter",
        title="Take back",
        effect="A further correction undoes this one, after which every quantity is what it was before. Both stay.",
        permission="corrections.prepare",
        model=UsageCorrection,
        subject=_correction_named,
        run=_asked(_take_back),
        rehearse=_rehearsed(_take_back),
        rehearsal_title=_SHOWS,
        is_offered=_can_be_taken_back,
        form_class=CounterForm,
        is_grave=True,
    ),
    Button(
        name="correction-bound",
        title="Set the bound",
        effect="Up to this much one person corrects alone. Who sets it needs somebody else for their own corrections.",
        permission="corrections.approve",
        model=CorrectionBound,
        run=_set_bound,
        is_on_list=True,
        form_class=BoundForm,
    ),
)
