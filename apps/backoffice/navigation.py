"""The sidebar: nouns in the order of the walk of data, grouped by who works with them."""

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the sidebar: a noun's list (`app.model`) or a page of the site."""

    title: str
    icon: str
    target: str
    permissions: tuple[str, ...] = ("records.view",)

    @property
    def url(self) -> str:
        """Return where the line leads."""
        if "." in self.target:
            return reverse(f"admin:{self.target.replace('.', '_')}_changelist")
        return reverse(f"admin:{self.target}")


_AUDIT = ("audit.view",)
_STAFF = ("staff.write",)

GROUPS: tuple[tuple[str, tuple[Item, ...]], ...] = (
    ("", (Item("Today", "today", "index", ()),)),
    (
        "Billing",
        (
            Item("Invoices", "receipt_long", "invoices.invoice"),
            Item("Adjustments", "exposure", "invoices.adjustment"),
            Item("Payments", "payments", "payments.paymentattempt"),
            Item("Billing runs", "autorenew", "invoices.billingrun"),
            Item("Billing periods", "date_range", "subscriptions.billingperiod"),
        ),
    ),
    (
        "Customers",
        (
            Item("Customers", "groups", "customers.customer"),
            Item("Subscriptions", "loyalty", "subscriptions.subscription"),
            Item("Changes", "published_with_changes", "subscriptions.subscriptionchange"),
            Item("Discounts", "redeem", "subscriptions.applieddiscount"),
            Item("Agreed prices", "handshake", "subscriptions.priceoverride"),
            Item("Payment methods", "credit_card", "payments.paymentmethod"),
            Item("Test clocks", "schedule", "customers.testclock", ("records.view", "clock.advance")),
        ),
    ),
    (
        "Usage",
        (
            Item("Meters", "speed", "metering.meter"),
            Item("Events", "stream", "metering.usageevent"),
            Item("Find an event", "manage_search", "usage_search"),
            Item("Corrections", "edit_note", "metering.usagecorrection"),
            Item("Correction bounds", "rule", "metering.correctionbound"),
            Item("Usage not counted", "playlist_remove", "usage_uncounted"),
            Item("Late usage", "schedule_send", "metering.lateusage"),
            Item("Late usage policies", "rule", "metering.lateusagepolicy"),
            Item("Quarantined events", "report", "metering.quarantinedevent"),
            Item("Usage imports", "upload_file", "metering.usageimport"),
            Item("Limits", "block", "metering.usagelimit"),
            Item("Changes of limits", "history", "metering.usagelimitchange"),
            Item("Thresholds told", "notifications", "metering.usagethreshold"),
            Item("Caps of customers", "vertical_align_top", "entitlements.usagecap"),
            Item("Grants", "add_moderator", "entitlements.entitlement"),
            Item("Access decisions", "gavel", "entitlements.accessdecision"),
            Item("Event mappings", "swap_horiz", "metering.eventmapping"),
        ),
    ),
    (
        "Usage watch",
        (
            Item("Alerts", "notifications_active", "metering.usagealert"),
            Item("Leakage", "water_drop", "usage_leakage"),
            Item("Sources", "sensors", "metering.usagesource"),
            Item("Heartbeats", "ecg_heart", "metering.sourceheartbeat"),
            Item("Proofs", "task_alt", "metering.usageproof"),
            Item("Mended hours", "healing", "metering.usagemending"),
            Item("Archive", "archive", "metering.usagearchive"),
            Item("Watch rules", "tune", "metering.anomalyrule"),
            Item("Watch limits", "rule_settings", "metering.watchpolicy"),
            Item("Kept properties", "visibility_off", "metering.eventtypepolicy"),
            Item("Usage settings", "settings_input_component", "metering.usagesettings"),
        ),
    ),
    (
        "Catalogue",
        (
            Item("Plans", "sell", "plans.plan"),
            Item("Plan versions", "history_edu", "plans.planversion"),
            Item("Charges", "calculate", "plans.charge"),
            Item("Features", "toggle_on", "plans.feature"),
            Item("Cohorts", "groups", "plans.cohort"),
            Item("Cohort members", "person_add", "plans.cohortmember"),
            Item("Coupons", "local_activity", "plans.coupon"),
            Item("Tax rates", "percent", "taxes.taxrate"),
        ),
    ),
    (
        "Books",
        (
            Item("Trial balance", "balance", "trial_balance"),
            Item("Ledger transactions", "menu_book", "ledger.ledgertransaction"),
            Item("Postings", "list_alt", "ledger.posting"),
            Item("Accounts", "account_tree", "ledger.ledgeraccount"),
        ),
    ),
    (
        "Control",
        (
            Item("Audit trail", "verified_user", "audit_trail", _AUDIT),
            Item("Domain events", "bolt", "messaging.domainevent"),
            Item("Outbox", "outbox", "messaging.outboxmessage", ("records.view", "messages.requeue")),
            Item("Mails", "mail", "notifications.mail"),
            Item("Billing entities", "domain", "invoices.billingentity"),
            Item("Number series", "tag", "invoices.numberseries"),
        ),
    ),
    (
        "Access",
        (
            Item("People", "person", "identity.user", _STAFF),
            Item("Roles granted", "badge", "identity.rolegrant", (*_STAFF, *_AUDIT)),
            Item("API keys", "key", "identity.apikey", _STAFF),
            Item("Portal access", "door_open", "identity.portalmembership", (*_STAFF, "records.view")),
        ),
    ),
)


def sidebar(*, site: AdminSite, request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups in the theme's own shape, each with the lines that the user may open."""
    groups = []
    for title, items in GROUPS:
        lines = [_line(item, request) for item in items if _is_allowed(item, request)]
        if lines:
            groups.append({"title": title, "items": lines, "separator": False, "collapsible": False})
    return groups


def _is_allowed(item: Item, request: HttpRequest) -> bool:
    return not item.permissions or any(request.user.has_perm(permission) for permission in item.permissions)


def _line(item: Item, request: HttpRequest) -> dict[str, Any]:
    url = item.url
    is_home = item.target == "index"
    return {
        "title": item.title,
        "icon": item.icon,
        "link": url,
        "active": request.path == url if is_home else request.path.startswith(url),
        "has_permission": True,
    }
