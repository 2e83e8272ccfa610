"""The one door for status changes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django_fsm import TransitionNotAllowed

from apps.audit import services as audit_services
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.lifecycle.errors import TransitionRefused
from apps.lifecycle.models import LifecycleModel
from apps.messaging import services as messaging_services


@unit_of_work
def transition_apply(
    *,
    instance: LifecycleModel,
    action: str,
    actor: Actor,
    at: datetime,
    topic: str = "",
    payload: Mapping[str, Any] | None = None,
    save_fields: Sequence[str] = (),
    reason: tuple[str, str] = ("", ""),
) -> None:
    """
    Change a status along a declared edge: apply, save, write the audit entry and the news, all or nothing.

    The caller holds the row lock and has set the fields named in `save_fields`; the transition stamps its own time.

    :param topic: the domain event to publish, e.g. `invoices.invoice.finalized`; empty for changes without news
    :param payload: the event's facts besides id and status
    :param reason: a reason code and a comment, for corrections
    :raises TransitionRefused: if the edge does not start at the present status
    :raises django_fsm.ConcurrentTransition: if the row changed since it was read
    """
    before = instance.status
    values_before = _column_values(instance)
    try:
        getattr(instance, action)(at=at)
    except TransitionNotAllowed as error:
        raise TransitionRefused(
            f"{instance._meta.verbose_name} {instance.public_id} is {before}; it cannot '{action}' from there.",
            facts={"status": str(before), "action": action},
        ) from error
    stamped = [name for name, value in _column_values(instance).items() if value != values_before[name]]
    # A block of its own: the package raises ConcurrentTransition from inside save, which would poison ours.
    with transaction.atomic():
        instance.save(update_fields={"status", *stamped, *save_fields})  # type: ignore[misc]  # declared by each machine
    audit_services.entry_write(
        entity=instance,
        action=action,
        actor=actor,
        at=at,
        before={"status": str(before)},
        after={"status": str(instance.status), **_json_fields(instance, save_fields)},
        reason_code=reason[0],
        comment=reason[1],
    )
    if topic:
        messaging_services.event_publish(
            topic=topic,
            aggregate_type=instance.entity_type(),
            aggregate_id=instance.id,
            payload={"id": instance.public_id, "status": str(instance.status), **(payload or {})},
            actor=actor,
            at=at,
        )


def _json_fields(instance: LifecycleModel, names: Sequence[str]) -> dict[str, str]:
    # Big documents (a snapshot) are named by their hash elsewhere; the trail keeps what fits a line.
    return {name: str(getattr(instance, name))[:200] for name in names if name != "snapshot"}


def _column_values(instance: LifecycleModel) -> dict[str, Any]:
    return {field.name: getattr(instance, field.attname) for field in instance._meta.concrete_fields}
