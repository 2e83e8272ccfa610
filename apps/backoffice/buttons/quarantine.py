"""Buttons of refused usage: send in again, edit as new, store under a new id, discard."""

from apps.backoffice.buttons.base import Button, Outcome, Press
from apps.backoffice.buttons.correction_forms import DiscardForm, NewIdForm, QuarantineEditForm, ReplayAllForm
from apps.metering import quarantine
from apps.metering.models import QuarantinedEvent, QuarantineStatus
from apps.workflows import quarantine as quarantine_workflow
from apps.workflows import usage_intake


def _replay(press: Press) -> Outcome:
    usage_intake.quarantine_replay(quarantined_id=press.record.id, actor=press.actor, at=press.wall_at)
    return Outcome(message="The event was accepted under its own id.", record=press.record)


def _replay_all(press: Press) -> Outcome:
    result = quarantine_workflow.quarantine_replay_all(
        code=press.data["code"], customer_reference=press.data["customer"], actor=press.actor, at=press.wall_at
    )
    again = ", ".join(f"{count} {code}" for code, count in result.refused.items())
    refused = f" Refused again: {again}." if again else ""
    return Outcome(message=f"{result.replayed} accepted, {result.waiting} still wait.{refused}")


def _edit(press: Press) -> Outcome:
    edited = quarantine.quarantine_edit(
        quarantined_id=press.record.id,
        raw=press.data["raw"],
        comment=press.data["comment"],
        actor=press.actor,
        at=press.wall_at,
    )
    return Outcome(message="The new version is kept; replay it to let it count.", record=edited)


def _store(press: Press) -> Outcome:
    stored = quarantine_workflow.quarantine_store_under_new_id(
        quarantined_id=press.record.id,
        event_id=press.data["event_id"],
        comment=press.data["comment"],
        actor=press.actor,
        at=press.wall_at,
    )
    return Outcome(message=f"The event counts under the id {stored.event_id}.", record=stored)


def _discard(press: Press) -> Outcome:
    event = quarantine.quarantine_discard(
        quarantined_id=press.record.id,
        reason_code=press.data["reason_code"],
        comment=press.data["comment"],
        actor=press.actor,
        at=press.wall_at,
    )
    return Outcome(message="The event waits no more; it is kept with your reason.", record=event)


def _is_held(event: QuarantinedEvent) -> bool:
    return str(event.status) == QuarantineStatus.HELD


def _is_reused(event: QuarantinedEvent) -> bool:
    return _is_held(event) and event.code == "id_reused"


BUTTONS = (
    Button(
        name="usage-replay",
        title="Replay",
        effect="The event is offered again as it came. If its reason is gone it counts; if not it stays here.",
        permission="usage.replay",
        model=QuarantinedEvent,
        run=_replay,
        is_offered=_is_held,
    ),
    Button(
        name="usage-replay-all",
        title="Replay many",
        effect="What waits for this reason or of this customer is offered again, the oldest thousand. What is refused "
        "again stays here.",
        permission="usage.replay",
        model=QuarantinedEvent,
        run=_replay_all,
        is_on_list=True,
        form_class=ReplayAllForm,
    ),
    Button(
        name="usage-edit",
        title="Edit as new",
        effect="Your version is kept beside the event and can be replayed instead of it. The event stays as it came.",
        permission="corrections.prepare",
        model=QuarantinedEvent,
        run=_edit,
        is_offered=_is_held,
        form_class=QuarantineEditForm,
        takes_record=True,
    ),
    Button(
        name="usage-store",
        title="Store under a new id",
        effect="The id was given to two facts. The first one counts; this one counts as well, under another id.",
        permission="corrections.prepare",
        model=QuarantinedEvent,
        run=_store,
        is_offered=_is_reused,
        form_class=NewIdForm,
    ),
    Button(
        name="usage-discard",
        title="Discard",
        effect="The event is no usage and waits no more. It is kept as it came, with your reason and your name.",
        permission="corrections.prepare",
        model=QuarantinedEvent,
        run=_discard,
        is_offered=_is_held,
        form_class=DiscardForm,
        is_grave=True,
    ),
)
