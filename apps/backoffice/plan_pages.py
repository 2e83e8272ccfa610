"""A plan version under examination: examples, cliffs, what it changes, a price simulator and a backtest."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from unfold import widgets

from apps.backoffice.pages import page_render
from apps.common import clock, formatting
from apps.common.admin import record_url
from apps.common.errors import DomainError
from apps.engine.charge_models import ChargeTerms
from apps.plans import estimates, reviews, selectors
from apps.plans import terms as plan_terms
from apps.plans.models import PlanVersion
from apps.subscriptions import selectors as subscription_selectors
from apps.workflows import backtest

_EVENTS_HELP = "The value of each event in order, separated by commas, such as 12.00, 5"
_AMOUNT_HELP = "The sum of the amounts that the events carry, such as 12.34"
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}


def plan_version_examine(request: HttpRequest, code: str, version: int) -> HttpResponse:
    """Show a version with all that speaks for and against it; price usage and try it on the past when asked."""
    if not request.user.has_perm("records.view"):
        raise PermissionDenied
    try:
        found = selectors.plan_version_get(plan_code=code, version=version)
    except DomainError as error:
        raise Http404(error.detail) from error
    at = clock.now()
    charges = [selectors.engine_terms(charge) for charge in selectors.charges_of(found)]
    is_asked = "simulate" in request.GET
    simulator = SimulatorForm(request.GET if is_asked else None, charges=charges)
    is_tried = "backtest" in request.GET
    span = BacktestForm(request.GET if is_tried else None, initial=_last_period(found, at))
    context = {
        "title": f"{found}: examine",
        "version": found,
        "review": reviews.version_review(version=found),
        "window": selectors.plan_version_window(found) if found.status != "DRAFT" else None,
        "subscription_count": subscription_selectors.subscriptions_on(version_id=found.id),
        "version_url": record_url(found),
        "simulator": simulator,
        "estimate": _estimate(found, simulator, at) if is_asked and simulator.is_valid() else None,
        "backtest_form": span,
        "backtest": _backtest(found, span, at) if is_tried and span.is_valid() else None,
    }
    return page_render(request, "backoffice/plan_version.html", context)


class SimulatorForm(forms.Form):
    """What somebody might use in a period: a field per meter of the version."""

    def __init__(self, data: Any = None, *, charges: list[ChargeTerms]) -> None:
        super().__init__(data, auto_id="simulate_%s")
        self.models = {charge.meter: charge.model for charge in charges if charge.meter is not None}
        self.fields["quantity"] = _text_field("Quantity", "Of the subscription, such as its seats.", initial="1")
        for meter, model in sorted(self.models.items()):
            units = next((charge.unit for charge in charges if charge.meter == meter and charge.unit), "units")
            helps = {"percentage": _EVENTS_HELP, "dynamic": _AMOUNT_HELP}
            self.fields[f"usage.{meter}"] = _text_field(f"{meter} ({units})", helps.get(model, ""))

    def usage(self) -> dict[str, Any]:
        """Return what was written, by meter, as the reader of usage by hand takes it."""
        usage: dict[str, Any] = {}
        for meter, model in self.models.items():
            text = self.cleaned_data[f"usage.{meter}"].strip()
            if text and model == "percentage":
                usage[meter] = {"events": [part.strip() for part in text.split(",")]}
            elif text:
                usage[meter] = {"amount": text} if model == "dynamic" else text
        return usage


class BacktestForm(forms.Form):
    """Which past, and how much more usage than there was."""

    starts = forms.DateTimeField(
        label="Periods that ended after",
        widget=widgets.UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="In UTC, like 2026-01-01 00:00.",
    )
    ends = forms.DateTimeField(
        label="and by", widget=widgets.UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}), help_text="In UTC."
    )
    factor = forms.DecimalField(
        label="Usage times",
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=6,
        initial=1,
        widget=widgets.UnfoldAdminTextInputWidget(),
        help_text="1 rates the usage as it was; 3 rehearses a spike.",
    )


def _text_field(label: str, help_text: str, *, initial: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        help_text=help_text,
        initial=initial,
        required=False,
        max_length=400,
        widget=widgets.UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )


def _last_period(version: PlanVersion, at: datetime) -> dict[str, str]:
    """Return the span in which each customer's last whole period ended."""
    interval = plan_terms.interval_of(version)
    begins = at - timedelta(days=_DAYS[interval.unit] * interval.count)
    return {"starts": begins.strftime("%Y-%m-%d %H:%M"), "ends": at.strftime("%Y-%m-%d %H:%M")}


def _estimate(version: PlanVersion, form: SimulatorForm, at: datetime) -> dict[str, Any]:
    try:
        estimate = estimates.plan_estimate(
            plan_code=version.plan.code,
            version=version.version,
            usage=form.usage(),
            quantity=form.cleaned_data["quantity"].strip() or None,
            at=at,
        )
    except DomainError as error:
        return {"problem": error.detail}
    lines = [
        {**line, "amount": formatting.decimal_amount_text(line["net"]["amount"], version.currency)}
        for line in estimate["lines"]
    ]
    total = formatting.decimal_amount_text(estimate["total"]["amount"], version.currency)
    return {"lines": lines, "total": total}


def _backtest(version: PlanVersion, form: BacktestForm, at: datetime) -> dict[str, Any]:
    asked = form.cleaned_data
    question = backtest.BacktestQuestion(
        plan_code=version.plan.code,
        version=version.version,
        starts_at=asked["starts"],
        ends_at=asked["ends"],
        usage_factor=asked["factor"],
    )
    try:
        found = backtest.backtest_run(question=question, at=at)
    except DomainError as error:
        return {"problem": error.detail}
    return {
        "found": found,
        "rows": [
            {
                "customer": change.customer,
                "url": record_url(change.customer),
                "periods": change.period_count,
                "before": formatting.money_text(change.before_minor, found.version.currency),
                "after": formatting.money_text(change.after_minor, found.version.currency),
                "change": formatting.money_text(change.change_minor, found.version.currency),
            }
            for change in sorted(found.customers, key=lambda change: -abs(change.change_minor))
        ],
        "before": formatting.money_text(found.before_minor, found.version.currency),
        "after": formatting.money_text(found.after_minor, found.version.currency),
        "change": formatting.money_text(found.change_minor, found.version.currency),
    }
