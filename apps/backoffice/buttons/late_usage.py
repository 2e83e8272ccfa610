"""Buttons of late usage, adjustments and re-rating. At each customer's own time."""

from typing import Any

from django import forms
from unfold import widgets

from apps.backoffice.buttons.base import Button, Outcome, Press, Rehearsal
from apps.backoffice.buttons.forms import ReasonForm
from apps.backoffice.buttons.subscription_forms import InstantInput
from apps.common import formatting
from apps.customers import selectors as customer_selectors
from apps.invoices import adjustments
from apps.invoices.adjustment_models import Adjustment
from apps.metering import late_usage
from apps.metering.models import LatePolicy, LateUsage, LateUsagePolicy
from apps.plans.models import PlanVersion
from apps.subscriptions.models import BillingPeriod
from apps.workflows import late_settlement, rerating


class RepriceForm(ReasonForm):
    """By which version of its plan a billed period should have been priced, and why."""

    version = forms.ModelChoiceField(
        queryset=PlanVersion.objects.none(),
        widget=widgets.UnfoldAdminSelectWidget(),
        help_text="A published version of the plan that the period was on.",
    )
    rehearsed_at = InstantInput(required=False, widget=forms.HiddenInput())

    def __init__(self, data: Any = None, *, record: BillingPeriod) -> None:
        super().__init__(data)
        plan_id = record.plan_version.plan_id
        versions = PlanVersion.objects.filter(plan_id=plan_id).exclude(status="DRAFT").select_related("plan")
        self.fields["version"].queryset = versions.order_by("-version")  # type: ignore[attr-defined]


class LatePolicyForm(forms.Form):
    """What becomes of late usage, of the tenant or of one meter."""

    meter_code = forms.CharField(
        required=False, max_length=60, help_text="Empty: all meters.", widget=widgets.UnfoldAdminTextInputWidget()
    )
    policy = forms.ChoiceField(choices=LatePolicy.choices, widget=widgets.UnfoldAdminSelectWidget())
    grace_hours = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=late_usage.GRACE_HOURS_MAX,
        help_text="Hours a draft waits; empty takes the seller's.",
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
    )
    hold_hours_max = forms.IntegerField(
        initial=72,
        min_value=1,
        max_value=late_usage.GRACE_HOURS_MAX,
        help_text="With hold: final so many hours after the period, whatever is missing.",
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
    )
    approved_up_to = forms.DecimalField(
        initial=100,
        min_value=0,
        max_digits=18,
        decimal_places=3,
        help_text="In whole units of the document's currency; above it a person approves.",
        widget=widgets.UnfoldAdminDecimalFieldWidget(),
    )
    alone_after_hours = forms.IntegerField(
        initial=72,
        min_value=0,
        max_value=8_784,
        help_text="What no further document takes up gets its own after so many hours.",
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
    )
    is_settled_automatically = forms.BooleanField(
        initial=True,
        required=False,
        label="Settled automatically",
        help_text="Off: late usage waits in the inbox for a click.",
        widget=widgets.UnfoldBooleanWidget(),
    )


def _settle(press: Press) -> Outcome:
    done = late_settlement.late_usage_settle(
        period_id=press.record.window.source_id, actor=press.actor, at=press.wall_at
    )
    press.record.refresh_from_db()
    return Outcome(message=done.sentence, record=press.record)


def _waive(press: Press) -> Outcome:
    late_settlement.late_usage_waive(
        period_id=press.record.window.source_id,
        comment=press.data["comment"],
        actor=press.actor,
        at=press.wall_at,
    )
    press.record.refresh_from_db()
    return Outcome(message="It is not billed; the reason stays with it.", record=press.record)


def _approve(press: Press) -> Outcome:
    adjustment = late_settlement.adjustment_approve(
        adjustment_id=press.record.id, comment=press.data["comment"], actor=press.actor, at=press.wall_at
    )
    return Outcome(message="It is billed with the customer's next document.", record=adjustment)


def _reject(press: Press) -> Outcome:
    adjustment = late_settlement.adjustment_reject(
        adjustment_id=press.record.id, comment=press.data["comment"], actor=press.actor, at=press.wall_at
    )
    return Outcome(message="It is neither billed nor given back.", record=adjustment)


def _reprice(press: Press) -> Outcome:
    late_settlement.period_reprice(
        period_id=press.record.id,
        version=press.data["version"],
        comment=press.data["comment"],
        actor=press.actor,
        at=press.wall_at,
    )
    adjustment = adjustments.price_waiting(period_id=press.record.id)
    return Outcome(message="The difference waits for somebody else's approval.", record=adjustment)


def _reprice_rehearse(press: Press) -> Rehearsal:
    rated = late_settlement.period_reprice_preview(
        period_id=press.record.id, version=press.data["version"], actor=press.actor, at=press.wall_at
    )
    return _rehearsal(press, rated)


def _rehearsal(press: Press, rated: rerating.Rerating) -> Rehearsal:
    currency, zone = rated.invoice.currency, rated.period.timezone
    return Rehearsal(
        at=customer_selectors.customer_now(customer=rated.invoice.customer, at=press.wall_at),
        sentence=f"Invoice {rated.invoice} stays as it is. This difference waits for approval:",
        lines=[
            (
                line.description,
                formatting.period_text(line.service_starts_at, line.service_ends_at, zone),
                formatting.money_text(line.amount_minor, currency),
            )
            for line in rated.differences
        ],
        totals=[
            ("Billed so far", formatting.money_text(rated.billed_minor, currency)),
            ("By this version", formatting.money_text(rated.owed_minor, currency)),
            ("Difference", formatting.money_text(rated.amount_minor, currency)),
        ],
        issues=[],
    )


def _policy_set(press: Press) -> Outcome:
    policy = late_usage.late_policy_set(
        data=late_usage.LatePolicyInput(**press.data), actor=press.actor, at=press.wall_at
    )
    return Outcome(message="The policy holds for what comes from now on.", record=policy)


def _amount(adjustment: Adjustment) -> str:
    return formatting.money_text(adjustment.amount_minor, adjustment.currency)


def _effect(late: LateUsage) -> str:
    return "" if late.effect_minor is None else formatting.money_text(late.effect_minor, late.currency)


def _is_found(late: LateUsage) -> bool:
    return bool(late.status == "FOUND")


def _is_pending(adjustment: Adjustment) -> bool:
    return bool(adjustment.status == "PENDING_APPROVAL")


def _name(adjustment: Adjustment) -> str:
    return f"Adjustment {adjustment} of {adjustment.customer}"


BUTTONS = (
    Button(
        name="late-usage-settle",
        title="Settle",
        effect="The period is rated again as it was priced then, with all usage that is there now. The difference is "
        "billed as the policy says; above the tenant's bound it waits for somebody else's approval.",
        permission="corrections.prepare",
        model=LateUsage,
        run=_settle,
        is_offered=_is_found,
        amount=_effect,
    ),
    Button(
        name="late-usage-waive",
        title="Waive",
        effect="What came late for this period is not billed and not asked for again. What is given up is kept.",
        permission="corrections.approve",
        model=LateUsage,
        run=_waive,
        is_offered=_is_found,
        form_class=ReasonForm,
        amount=_effect,
        is_grave=True,
    ),
    Button(
        name="late-policy-set",
        title="Set a policy",
        effect="Usage that comes late from now on is treated by it. What was settled stays as it is.",
        permission="corrections.approve",
        model=LateUsagePolicy,
        run=_policy_set,
        is_on_list=True,
        form_class=LatePolicyForm,
    ),
    Button(
        name="adjustment-approve",
        title="Approve",
        effect="The difference becomes lines of the customer's next document. Who made it cannot approve it.",
        permission="corrections.approve",
        model=Adjustment,
        subject=_name,
        run=_approve,
        is_offered=_is_pending,
        form_class=ReasonForm,
        amount=_amount,
    ),
    Button(
        name="adjustment-reject",
        title="Reject",
        effect="The difference is neither billed nor given back. Who made it cannot decide this.",
        permission="corrections.approve",
        model=Adjustment,
        subject=_name,
        run=_reject,
        is_offered=_is_pending,
        form_class=ReasonForm,
        amount=_amount,
        is_grave=True,
    ),
    Button(
        name="period-reprice",
        title="Rate again by another version",
        effect="The billed period is rated by the version that should have priced it. Its document stays; the "
        "difference waits for somebody else's approval, and late usage of the period follows that version.",
        permission="corrections.prepare",
        model=BillingPeriod,
        run=_reprice,
        rehearse=_reprice_rehearse,
        is_offered=lambda period: period.status == "CLOSED",
        form_class=RepriceForm,
    ),
)
