"""What the demo's customers agree on in the course of their year: other plans, a pause, a price of their own."""

from datetime import datetime, timedelta

from apps.common.actors import OPERATOR, Actor
from apps.identity import actors as identity_actors
from apps.identity import services as identity_services
from apps.identity.models import User
from apps.subscriptions import overrides
from apps.subscriptions.inputs import TermsChange, Timing, When
from apps.subscriptions.models import PauseMode, Subscription
from apps.workflows import subscription_changes
from apps.workflows.demo_catalogue import DemoChange, DemoCustomer, DemoTenant


def changes_make(
    *, people: list[DemoCustomer], demo: DemoTenant, month: int, starts_at: datetime, at: datetime
) -> None:
    """Carry out what was agreed for the days from `starts_at` to `at` of a month of the demo year, as of `at`."""
    for person in people:
        for change in person.changes:
            if change.month == month and starts_at.day <= change.day < starts_at.day + (at - starts_at).days:
                subscription = Subscription.objects.get(external_id=person.subscription_id)
                _make(change, subscription, demo=demo, at=at)


def _make(change: DemoChange, subscription: Subscription, *, demo: DemoTenant, at: datetime) -> None:
    if change.to_plan:
        timing = Timing.PERIOD_END if change.is_at_period_end else Timing.NOW
        subscription_changes.terms_change(
            subscription=subscription,
            wanted=TermsChange(plan_code=change.to_plan),
            when=When(timing=timing, comment=change.reason),
            actor=OPERATOR,
            at=at,
        )
    if change.freeze_days:
        subscription_changes.pause(
            subscription=subscription,
            mode=PauseMode.FREEZE,
            when=When(comment=change.reason),
            resume_at=at + timedelta(days=change.freeze_days),
            actor=OPERATOR,
            at=at,
        )
    if change.price is not None:
        asked = overrides.price_override_request(
            subscription=subscription,
            terms=change.price,
            reason=change.reason,
            actor=staff_person(name="finance", demo=demo, at=at),
            at=at,
        )
        overrides.price_override_approve(
            override_id=asked.id, comment="As signed", actor=staff_person(name="approver", demo=demo, at=at), at=at
        )


def staff_person(*, name: str, demo: DemoTenant, at: datetime) -> Actor:
    """Return a member of staff, whose roles and password come with the demo's access."""
    email = f"{name}@{demo.slug}.example"
    user = User.objects.filter(email=email).first() or identity_services.user_create(
        email=email, name=name.title(), password=None, is_staff=True, actor=OPERATOR, at=at
    )
    return identity_actors.actor_of_user(user)
