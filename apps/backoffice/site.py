"""The two sites of staff: the tenant's finance admin, and the platform operators' own.

Nouns are registered here by name and nowhere else. With the stock site every table on the search path would show up
in every tenant's admin, the shared schema's included.
"""

import copy
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse
from unfold.sites import UnfoldAdminSite

from apps.audit.admin import RECORDS as AUDIT
from apps.backoffice import buttons, leakage_pages, navigation, pages, panels, plan_pages, signing_in, usage_pages, work
from apps.backoffice.tables import Panel
from apps.common import clock, formatting, sessions
from apps.customers.admin import RECORDS as CUSTOMERS
from apps.entitlements.admin import RECORDS as ENTITLEMENTS
from apps.identity.admin import RECORDS as IDENTITY
from apps.invoices.admin import RECORDS as INVOICES
from apps.invoices.models import BillingRun
from apps.ledger.admin import RECORDS as LEDGER
from apps.messaging.admin import RECORDS as MESSAGING
from apps.metering.admin import RECORDS as METERING
from apps.metering.limits_admin import RECORDS as LIMITS
from apps.metering.watching_admin import RECORDS as WATCHING
from apps.notifications.admin import RECORDS as NOTIFICATIONS
from apps.payments.admin import RECORDS as PAYMENTS
from apps.plans.admin import RECORDS as PLANS
from apps.subscriptions.admin import RECORDS as SUBSCRIPTIONS
from apps.subscriptions.special_terms_admin import RECORDS as SPECIAL_TERMS
from apps.taxes.admin import RECORDS as TAXES

_PRIMARY = {
    "50": "oklch(97% .014 254)",
    "100": "oklch(93% .032 255)",
    "200": "oklch(88% .059 254)",
    "300": "oklch(81% .1 252)",
    "400": "oklch(71% .14 254)",
    "500": "oklch(60% .17 257)",
    "600": "oklch(51% .17 259)",
    "700": "oklch(45% .16 260)",
    "800": "oklch(39% .13 261)",
    "900": "oklch(34% .1 262)",
    "950": "oklch(26% .07 264)",
}
# What Ctrl+K looks through besides page names.
_SEARCHED = ["customers.customer", "invoices.invoice", "subscriptions.subscription", "plans.plan", "metering.meter"]


class StaffSite(UnfoldAdminSite):
    """What both sites share: sign-in by e-mail, the look, and a theme that is configured here and not in settings."""

    index_title = "Today"
    login_form = signing_in.StaffSignInForm
    login_template = "backoffice/sign_in.html"
    enable_nav_sidebar = True

    def __init__(self) -> None:
        # The theme's own templates reverse "admin:..."; the two sites live on different hosts, so both may have it.
        super().__init__(name="admin")

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the person is staff and proved it by password; a portal's mailed link does not."""
        return super().has_permission(request) and not sessions.signed_in_by_link(request)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Ask for e-mail and password, then lead to the page that was asked for, or home."""
        # The theme's form posts to `app_path` and carries no other word of where to go.
        asked = request.GET.get("next") or reverse("admin:index")
        app_path = f"{request.path}?{urlencode({'next': asked})}"
        return super().login(request, {"app_path": app_path, **(extra_context or {})})

    def _get_config(self, key: str, *args: Any) -> Any:
        # The theme reads its settings through this method, per site; ours has two sites that differ.
        look = self.look(*args[:1])
        if key in look:
            return copy.deepcopy(look[key])
        return super()._get_config(key, *args)

    def look(self, request: HttpRequest | None = None) -> dict[str, Any]:
        """Return the theme's settings for this site."""
        base = super()._get_config("COLORS")
        return {
            "SITE_TITLE": "Countinghouse",
            "SITE_HEADER": "Countinghouse",
            "SITE_SYMBOL": "account_balance",
            "SITE_URL": None,
            "SHOW_HISTORY": False,
            "SHOW_BACK_BUTTON": False,
            "COLORS": {**base, "primary": _PRIMARY},
            "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": static("portal/icon.svg")}],
            "COMMAND": {"search_models": _SEARCHED, "search_callback": None, "show_history": False},
        }

    def extra_context(self, context: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        """Return the frame's context with our own style sheet; the theme takes style sheets from settings only."""
        return {**context, "styles": [static("backoffice/backoffice.css")]}

    def records_register(self, records: Iterable[tuple[type[Model], type[ModelAdmin]]]) -> None:
        for model, record_admin in records:
            self.register(model, record_admin)

    def record_buttons(self, *, request: HttpRequest, record: Model) -> list[buttons.Offer]:
        """Return what the user may do with a row."""
        return buttons.offers_for_record(user=signing_in.staff_of(request), record=record)

    def list_buttons(self, *, request: HttpRequest, model: type[Model]) -> list[buttons.Offer]:
        """Return what the user may do on a list."""
        return buttons.offers_for_list(user=signing_in.staff_of(request), model=model)

    def panels_of(self, *, request: HttpRequest, record: Model) -> list[Panel]:
        """Return the tables of what belongs to a row."""
        return panels.panels_of(record=record, user=signing_in.staff_of(request))


class BackofficeSite(StaffSite):
    """A tenant's finance admin."""

    def look(self, request: HttpRequest | None = None) -> dict[str, Any]:
        """Return the theme's settings, with the tenant's name at the head."""
        name = str(getattr(getattr(request, "tenant", None), "name", ""))
        return {**super().look(request), "SITE_HEADER": name, "SITE_SUBHEADER": "Countinghouse", "SITE_TITLE": name}

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the groups of the sidebar, without what the user may not read."""
        return navigation.sidebar(site=self, request=request)

    def extra_urls(self) -> list[URLPattern]:
        """Return the pages that are not lists of one noun."""
        return [
            path("do/<slug:name>/", self._page(pages.press), name="press_list"),
            path("do/<slug:name>/<uuid:pk>/", self._page(pages.press), name="press"),
            path("invoices/<str:reference>/pdf/", self._page(pages.invoice_pdf), name="invoice_pdf"),
            path("lines/<str:reference>/explain/", self._page(pages.line_explain), name="line_explain"),
            path("lines/<str:reference>/events.csv", self._page(pages.line_events_csv), name="line_events"),
            path("plan-presets/", self._page(plan_pages.plan_presets), name="plan_presets"),
            path("plan-presets/<slug:name>.yaml", self._page(plan_pages.plan_preset_file), name="plan_preset_file"),
            path(
                "plans/<str:code>/versions/<int:version>/examine/",
                self._page(plan_pages.plan_version_examine),
                name="plan_version_examine",
            ),
            path("usage/search/", self._page(usage_pages.usage_search), name="usage_search"),
            path("usage/uncounted/", self._page(usage_pages.usage_uncounted), name="usage_uncounted"),
            path("usage-leakage/", self._page(leakage_pages.usage_leakage_page), name="usage_leakage"),
            path("usage-leakage.csv", self._page(leakage_pages.usage_leakage_csv), name="usage_leakage_csv"),
            path("trial-balance/", self._page(pages.trial_balance), name="trial_balance"),
            path("audit-trail/", self._page(pages.audit_trail), name="audit_trail"),
        ]

    def _page(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def with_site(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            request.staff_site = self  # type: ignore[attr-defined]  # pages render inside this site's frame
            return view(request, *args, **kwargs)

        return self.admin_view(with_site)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Return the work that waits for somebody, not a list of tables."""
        at = clock.now()
        is_reader = request.user.has_perm("records.view")
        context = {
            **self.each_context(request),
            "title": self.index_title,
            "at": formatting.instant_text(at),
            "cards": work.cards(user=signing_in.staff_of(request), at=at),
            "shows_runs": is_reader,
            "runs": work.runs_recent() if is_reader else [],
            "buttons": self.list_buttons(request=request, model=BillingRun),
            **(extra_context or {}),
        }
        request.current_app = self.name
        return TemplateResponse(request, "backoffice/home.html", context)


backoffice_site = BackofficeSite()
for _records in (
    IDENTITY,
    AUDIT,
    MESSAGING,
    CUSTOMERS,
    TAXES,
    LEDGER,
    METERING,
    WATCHING,
    LIMITS,
    ENTITLEMENTS,
    PLANS,
    SUBSCRIPTIONS,
    SPECIAL_TERMS,
    INVOICES,
    PAYMENTS,
    NOTIFICATIONS,
):
    backoffice_site.records_register(_records)
