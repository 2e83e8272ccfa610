"""Buttons of alerts about usage and of their limits."""

from typing import Any

from django import forms
from unfold import widgets

from apps.backoffice.buttons.base import Button, Outcome, Press
from apps.backoffice.buttons.forms import ReasonForm
from apps.engine.usage_watch import AnomalyTerms
from apps.metering import alerts, watching
from apps.metering.models import Meter, UsageAlert, WatchPolicy
from apps.metering.sources_sql import DELAY_BOUNDS_MS


def _number(label: str, help_text: str, **bounds: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, help_text=help_text, widget=widgets.UnfoldAdminIntegerFieldWidget(), **bounds
    )


class AnomalyRuleForm(forms.Form):
    """When an hour of a meter is unusual."""

    high_percent = _number("Rise", "Percent of the usual hour above which it is told; 0 for none.", initial=400)
    low_percent = _number("Fall", "Percent of the usual hour below which it is told; 0 for none.", initial=10)
    volume_min = forms.DecimalField(
        label="Least volume",
        help_text="Below this neither the hour nor the usual one is looked at.",
        max_digits=38,
        decimal_places=12,
        initial=100,
        widget=widgets.UnfoldAdminDecimalFieldWidget(),
    )
    is_active = forms.BooleanField(
        label="Watch this meter", required=False, initial=True, widget=widgets.UnfoldBooleanWidget()
    )


class WatchPolicyForm(forms.Form):
    """From when on a tenant is alerted, and how long raw events are kept."""

    loss_alert_bps = _number("Missing events", "In basis points; 200 are two percent.", initial=200)
    delay_alert_seconds = forms.TypedChoiceField(
        label="Delay",
        choices=[(bound // 1000, f"{bound // 1000} s") for bound in DELAY_BOUNDS_MS],
        coerce=int,
        initial=300,
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    clock_alert_seconds = _number("Clock ahead", "Seconds that a source's clock may run ahead of ours.", initial=120)
    retention_months = _number("Months at hand", "Then raw events go into the archive; 15 at least.", initial=25)


def _acknowledge(press: Press) -> Outcome:
    alert = alerts.alert_acknowledge(
        alert_id=press.record.id, comment=press.data["comment"], actor=press.actor, at=press.wall_at
    )
    return Outcome(message="You look after it. It closes by itself when its cause is gone.", record=alert)


def _rule_set(press: Press) -> Outcome:
    data = dict(press.data)
    is_active = data.pop("is_active")
    rule = watching.anomaly_rule_set(
        meter_code=press.record.code,
        terms=AnomalyTerms(**data),
        is_active=is_active,
        actor=press.actor,
        at=press.wall_at,
    )
    return Outcome(message=f"The rule holds for all versions of {rule.meter_code} from the next look on.")


def _policy_set(press: Press) -> Outcome:
    policy = watching.watch_policy_set(terms=watching.WatchTerms(**press.data), actor=press.actor, at=press.wall_at)
    return Outcome(message="The limits hold from the next look on.", record=policy)


BUTTONS = (
    Button(
        name="alert-acknowledge",
        title="I look after it",
        effect="Your name and words are put to the alert. It stays until its cause is gone.",
        permission="usage.watch",
        model=UsageAlert,
        run=_acknowledge,
        form_class=ReasonForm,
        is_offered=lambda alert: alert.status == "OPEN",
    ),
    Button(
        name="meter-watch",
        title="Watch for unusual hours",
        effect="Each customer's hour of this meter is compared with the same hour of the weeks before by this rule.",
        permission="usage.watch",
        model=Meter,
        run=_rule_set,
        form_class=AnomalyRuleForm,
        is_offered=lambda meter: meter.retired_at is None,
    ),
    Button(
        name="watch-limits",
        title="Set the limits",
        effect="From these limits on, missing and late events are told; older raw events go into the archive.",
        permission="usage.watch",
        model=WatchPolicy,
        run=_policy_set,
        form_class=WatchPolicyForm,
        is_on_list=True,
    ),
)
