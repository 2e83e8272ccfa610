"""Buttons that change a subscription; each shows the document it makes before it is confirmed."""

from collections.abc import Callable

from apps.backoffice.buttons.base import Button, Outcome, Press, Rehearsal
from apps.backoffice.buttons.forms import ReasonForm
from apps.backoffice.buttons.subscription_forms import CancelForm, PauseForm, ResumeForm, TermsForm
from apps.common import formatting
from apps.common.db import rolled_back
from apps.invoices import snapshots
from apps.subscriptions.inputs import TermsChange
from apps.subscriptions.models import Subscription, SubscriptionChange, SubscriptionStatus
from apps.workflows import subscription_changes
from apps.workflows.subscription_changes import ChangeOutcome

_RUNNING = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)
_ALIVE = (SubscriptionStatus.PENDING, *_RUNNING, SubscriptionStatus.PAUSED)


def _change(press: Press) -> ChangeOutcome:
    data = press.data
    return subscription_changes.terms_change(
        subscription=press.record,
        wanted=TermsChange(
            plan_code=data["plan_code"], plan_version=data["plan_version"], quantity=data.get("quantity")
        ),
        when=data["when"],
        actor=press.actor,
        at=press.wall_at,
    )


def _pause(press: Press) -> ChangeOutcome:
    return subscription_changes.pause(
        subscription=press.record,
        mode=press.data["mode"],
        when=press.data["when"],
        resume_at=press.data["resume_at"],
        actor=press.actor,
        at=press.wall_at,
    )


def _resume(press: Press) -> ChangeOutcome:
    return subscription_changes.resume(
        subscription=press.record,
        effective_at=press.data["rehearsed_at"],
        actor=press.actor,
        at=press.wall_at,
        comment=press.data["comment"],
    )


def _cancel(press: Press) -> ChangeOutcome:
    return subscription_changes.cancel(
        subscription=press.record, when=press.data["when"], actor=press.actor, at=press.wall_at
    )


def _withdraw(press: Press) -> Outcome:
    change = subscription_changes.withdraw(
        subscription=press.record.subscription,
        change_id=press.record.id,
        actor=press.actor,
        at=press.wall_at,
        comment=press.data["comment"],
    )
    return Outcome(message="The change was withdrawn; it will not happen.", record=change.subscription)


def _carried_out(make: Callable[[Press], ChangeOutcome]) -> Callable[[Press], Outcome]:
    def run(press: Press) -> Outcome:
        change = make(press).change
        instant = formatting.instant_text(change.effective_at)
        words = f"Done as of {instant}." if change.applied_at is not None else f"Agreed for {instant}."
        return Outcome(message=words, record=change.subscription)

    return run


def _rehearsed(make: Callable[[Press], ChangeOutcome]) -> Callable[[Press], Rehearsal]:
    def rehearse(press: Press) -> Rehearsal:
        with rolled_back():
            return _rehearsal(make(press))

    return rehearse


def _rehearsal(outcome: ChangeOutcome) -> Rehearsal:
    change, document = outcome.change, outcome.document
    instant = formatting.instant_text(change.effective_at)
    if change.applied_at is None:
        sentence = f"Takes effect at {instant}. Until then everything stays, and nothing is billed for it now."
    elif document is None:
        sentence = f"Takes effect as of {instant}. Nothing is billed or given back by it."
    else:
        sentence = f"Takes effect as of {instant}. The time until then is closed by this document:"
    if document is None:
        return Rehearsal(at=change.effective_at, sentence=sentence, lines=[], totals=[], issues=[])
    currency, zone = document["currency"], change.subscription.timezone
    totals = document["totals"]
    named = [("Subtotal", totals["subtotal"]), ("Tax", totals["tax"]), ("Total", totals["total"])]
    account = snapshots.account_credit_words(totals)
    return Rehearsal(
        at=change.effective_at,
        sentence=sentence,
        lines=[
            (
                line["description"],
                formatting.period_text(
                    formatting.instant_parse(line["service_period"]["starts_at"]),
                    formatting.instant_parse(line["service_period"]["ends_at"]),
                    zone,
                ),
                formatting.decimal_amount_text(line["net"], currency),
            )
            for line in document["lines"]
        ],
        totals=[
            (label, formatting.decimal_amount_text(amount, currency))
            for label, amount in [*_discounts(document), *named, *([account] if account else [])]
        ],
        issues=[issue["detail"] for issue in document["issues"]],
    )


def _discounts(document: dict[str, list[dict[str, str]]]) -> list[tuple[str, str]]:
    return [(f"Discount: {row['name']}", f"-{row['amount']}") for row in document.get("discounts", [])]


def _name(subscription: Subscription) -> str:
    return f"{subscription.customer} on {subscription.plan_version}"


def _has(*statuses: str) -> Callable[[Subscription], bool]:
    return lambda subscription: subscription.status in statuses


BUTTONS = (
    Button(
        name="subscription-change",
        title="Change plan or quantity",
        effect="From the instant you choose on, the subscription is on other terms. What was used and served until "
        "then is billed on the old ones; fees paid for time that is not served are given back.",
        permission="customers.write",
        model=Subscription,
        subject=_name,
        run=_carried_out(_change),
        rehearse=_rehearsed(_change),
        is_offered=_has(*_RUNNING),
        form_class=TermsForm,
    ),
    Button(
        name="subscription-pause",
        title="Pause",
        effect="The subscription rests. Frozen, its clock stands still and what is left of a paid period is served "
        "later; with fixed fees kept, its periods go on and only usage is not billed.",
        permission="customers.write",
        model=Subscription,
        subject=_name,
        run=_carried_out(_pause),
        rehearse=_rehearsed(_pause),
        is_offered=_has(SubscriptionStatus.ACTIVE),
        form_class=PauseForm,
    ),
    Button(
        name="subscription-resume",
        title="Resume",
        effect="The subscription goes on at once. A return that was agreed with the pause is withdrawn.",
        permission="customers.write",
        model=Subscription,
        subject=_name,
        run=_carried_out(_resume),
        rehearse=_rehearsed(_resume),
        is_offered=_has(SubscriptionStatus.PAUSED),
        form_class=ResumeForm,
    ),
    Button(
        name="subscription-cancel",
        title="Cancel",
        effect="The subscription ends for good, now or with its running period. Usage until then is billed; what was "
        "paid for time after it is given back, unless you choose otherwise.",
        permission="customers.write",
        model=Subscription,
        subject=_name,
        run=_carried_out(_cancel),
        rehearse=_rehearsed(_cancel),
        is_offered=_has(*_ALIVE),
        form_class=CancelForm,
        is_grave=True,
    ),
    Button(
        name="change-withdraw",
        title="Withdraw",
        effect="What was agreed for later does not happen; the subscription stays as it is. The change is kept and "
        "says so.",
        permission="customers.write",
        model=SubscriptionChange,
        subject=lambda change: (
            f"{change.get_kind_display().split(':')[0]} of {_name(change.subscription)}, agreed for "
            f"{formatting.instant_text(change.effective_at)}"
        ),
        run=_withdraw,
        is_offered=lambda change: change.is_scheduled,
        form_class=ReasonForm,
        is_grave=True,
    ),
)
