"""A plan version under examination: what it says, proves, changes and would have cost; and presets to begin with."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from unfold import widgets

from apps.backoffice import buttons, panels, plan_simulator, signing_in
from apps.backoffice import plan_terms as plan_terms_words
from apps.backoffice.pages import page_render
from apps.common import clock, formatting
from apps.common.admin import badge, record_url, words_before_colon
from apps.common.errors import DomainError
from apps.plans import reviews, selectors
from apps.plans import terms as plan_terms
from apps.plans.models import PlanVersion
from apps.plans.presets import PRESETS
from apps.subscriptions import selectors as subscription_selectors
from apps.workflows import backtest

# More than a version's column holds is no number of one.
_DIGITS_MAX = 9
_TONES = {"DRAFT": "warning", "PUBLISHED": "success", "RETIRED": "neutral"}
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
    simulator = plan_simulator.SimulatorForm(request.GET if is_asked else None, charges=charges)
    is_tried = "backtest" in request.GET
    span = BacktestForm(request.GET if is_tried else None, initial=_last_period(found, at))
    context = {
        "title": f"{found}: examine",
        "version": found,
        "versions": _versions(found, at),
        "facts": plan_terms_words.plan_facts(found),
        "charges": plan_terms_words.charge_views(charges=charges, currency=found.currency),
        "features": panels.features_panel(found),
        "review": reviews.version_review(version=found, against=_compared(found, request.GET.get("against", ""))),
        "plan_url": record_url(found.plan),
        "version_url": record_url(found),
        "buttons": buttons.offers_for_record(user=signing_in.staff_of(request), record=found),
        "simulator": simulator,
        "estimate": simulator.estimate(version=found, at=at) if is_asked and simulator.is_valid() else None,
        "backtest_form": span,
        "backtest": _backtest(found, span, at) if is_tried and span.is_valid() else None,
    }
    return page_render(request, "backoffice/plan_version.html", context)


def plan_presets(request: HttpRequest) -> HttpResponse:
    """Show the documents to begin with, and when to choose each."""
    if not request.user.has_perm("records.view"):
        raise PermissionDenied
    return page_render(request, "backoffice/plan_presets.html", {"title": "Presets for plans", "presets": PRESETS})


def plan_preset_file(request: HttpRequest, name: str) -> HttpResponse:
    """Return a document to begin with as a file."""
    if not request.user.has_perm("records.view"):
        raise PermissionDenied
    preset = next((preset for preset in PRESETS if preset.name == name), None)
    if preset is None:
        raise Http404(f"There is no preset '{name}'.")
    response = HttpResponse(preset.text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{preset.name}.yaml"'
    return response


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


def _last_period(version: PlanVersion, at: datetime) -> dict[str, str]:
    """Return the span in which each customer's last whole period ended."""
    interval = plan_terms.interval_of(version)
    begins = at - timedelta(days=_DAYS[interval.unit] * interval.count)
    return {"starts": begins.strftime("%Y-%m-%d %H:%M"), "ends": at.strftime("%Y-%m-%d %H:%M")}


def _versions(found: PlanVersion, at: datetime) -> list[dict[str, Any]]:
    """Return all versions of the plan for a table: when each is on sale, and how many are on it."""
    counts = subscription_selectors.subscription_counts(plan_id=found.plan_id)
    return [
        {
            "version": version,
            "is_shown": version.pk == found.pk,
            "status": badge(words_before_colon(version, "status"), _TONES[str(version.status)]),
            "sale": _sale(version, at),
            "subscriptions": counts.get(version.pk, 0),
        }
        for version in selectors.plan_versions_queryset().filter(plan_id=found.plan_id).select_related("cohort")
    ]


def _sale(version: PlanVersion, at: datetime) -> str:
    if version.status == "DRAFT":
        return f"Not before it is published; meant from {formatting.instant_text(version.effective_at)}"
    window = selectors.plan_version_window(version)
    if window.effective_to_at is not None and window.effective_to_at <= window.effective_from_at:
        return "Never: a later version or its retirement came first"
    begins = formatting.instant_text(window.effective_from_at)
    if window.effective_to_at is None:
        return f"From {begins} until further notice"
    return f"From {begins} until {formatting.instant_text(window.effective_to_at)}"


def _compared(found: PlanVersion, text: str) -> PlanVersion | None:
    """Return the version that was chosen to compare with; what is no version of the plan is not one to compare with."""
    if not text.isdecimal() or len(text) > _DIGITS_MAX:
        return None
    return selectors.plan_versions_queryset().filter(plan_id=found.plan_id, version=int(text)).first()


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
