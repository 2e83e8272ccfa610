"""Buttons of plans, dead messages and keys."""

from apps.backoffice.buttons.base import Button, Outcome, Press
from apps.backoffice.buttons.forms import ApiKeyForm, PublishForm
from apps.identity import services as identity_services
from apps.identity.models import ApiKey
from apps.messaging import services as messaging_services
from apps.messaging.models import OutboxMessage
from apps.plans import services as plan_services
from apps.plans.models import PlanVersion


def _publish(press: Press) -> Outcome:
    cohort = press.data["cohort"]
    version = plan_services.plan_version_publish(
        plan_code=press.record.plan.code,
        version=press.record.version,
        cohort_code=None if cohort is None else cohort.code,
        actor=press.actor,
        at=press.wall_at,
    )
    audience = "" if cohort is None else f" for cohort {cohort}"
    message = f"{version} is published{audience}; its golden examples gave the totals they name."
    return Outcome(message=message, record=version)


def _requeue(press: Press) -> Outcome:
    message = messaging_services.outbox_requeue(message_id=press.record.id, actor=press.actor, at=press.wall_at)
    return Outcome(message="The message gets another round of tries.", record=message)


def _key_issue(press: Press) -> Outcome:
    key, secret = identity_services.api_key_issue(
        name=press.data["name"],
        scopes=press.data["scopes"],
        is_live=press.data["is_live"],
        expires_at=press.data["expires_at"],
        actor=press.actor,
        at=press.wall_at,
    )
    return Outcome(message=f"The key '{key.name}' was issued.", record=key, secret=secret)


def _key_revoke(press: Press) -> Outcome:
    identity_services.api_key_revoke(api_key_id=press.record.id, actor=press.actor, at=press.wall_at)
    return Outcome(message="The key opens nothing any more.", record=press.record)


BUTTONS = (
    Button(
        name="plan-publish",
        title="Publish",
        effect="The golden examples are priced; when each gives its total, the terms are frozen and go on sale from "
        "their effective date.",
        permission="catalog.publish",
        model=PlanVersion,
        run=_publish,
        form_class=PublishForm,
        is_offered=lambda version: version.status == "DRAFT",
    ),
    Button(
        name="message-requeue",
        title="Requeue",
        effect="The relay gives the message to its handler again. Handlers are harmless to repeat.",
        permission="messages.requeue",
        model=OutboxMessage,
        run=_requeue,
        is_offered=lambda message: message.status == "DEAD",
    ),
    Button(
        name="key-issue",
        title="Issue a key",
        effect="A new key is made. Its secret is shown once, on the next page, and kept nowhere.",
        permission="staff.write",
        model=ApiKey,
        run=_key_issue,
        is_on_list=True,
        form_class=ApiKeyForm,
    ),
    Button(
        name="key-revoke",
        title="Revoke",
        effect="Programs that use this key are refused from now on. This cannot be undone.",
        permission="staff.write",
        model=ApiKey,
        run=_key_revoke,
        is_offered=lambda key: key.revoked_at is None,
        is_grave=True,
    ),
)
