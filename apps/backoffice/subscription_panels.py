"""The tables under a subscription: its periods with their terms, its changes, and what was agreed beyond the plan."""

from django.db.models import Q

from apps.backoffice.tables import ROWS_SHOWN, Column, Panel
from apps.common import formatting
from apps.common.admin import badge, record_link, words_before_colon
from apps.subscriptions import discounts, overrides, selectors
from apps.subscriptions.admin import change_state, change_words
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.subscriptions.special_terms_admin import discount_words, override_state

_KIND_TONES = {"REGULAR": "neutral", "TRIAL": "info", "FIXED_ONLY": "warning", "FROZEN": "warning"}


def subscription_panels(subscription: Subscription) -> list[Panel]:
    """Return what was agreed and what follows of it, the future first."""
    return [_changes(subscription), _periods(subscription), _discounts(subscription), _overrides(subscription)]


def _changes(subscription: Subscription) -> Panel:
    changes = selectors.changes_of(subscription_id=subscription.id).order_by("-effective_at", "-id")[:ROWS_SHOWN]
    return Panel(
        title="Changes",
        columns=(Column("For"), Column("What"), Column("State"), Column("Agreed by"), Column("Why")),
        rows=[
            [
                record_link(row, formatting.instant_text(row.effective_at, subscription.timezone)),
                change_words(row),
                change_state(row),
                row.requested_by,
                row.comment or row.reason_code.replace("_", " "),
            ]
            for row in changes
        ],
        empty="Nothing was changed since it was made, and nothing is agreed for later.",
    )


def _periods(subscription: Subscription) -> Panel:
    periods = selectors.periods_of(subscription_id=subscription.id).order_by("-sequence")[:ROWS_SHOWN]
    return Panel(
        title="Periods",
        columns=(
            Column("#", True),
            Column("Period"),
            Column("Kind"),
            Column("Terms"),
            Column("Quantity", True),
            Column("Status"),
            Column("Remarks"),
        ),
        rows=[
            [
                row.sequence,
                record_link(row, formatting.period_text(row.starts_at, row.ends_at, subscription.timezone)),
                badge(words_before_colon(row, "kind"), _KIND_TONES[str(row.kind)]),
                record_link(row.plan_version),
                formatting.number_text(row.quantity),
                words_before_colon(row, "status"),
                _remarks(row),
            ]
            for row in periods
        ],
        empty="No period is stored yet; the first one comes when the subscription begins.",
    )


def _remarks(period: BillingPeriod) -> str:
    remarks = []
    zone = period.subscription.timezone
    if period.cut_from_at is not None:
        remarks.append(f"Would have ended {formatting.instant_text(period.cut_from_at, zone)}.")
    if period.is_credit_due:
        remarks.append("Unused fees are given back.")
    if period.prepaid_by_id is not None or period.is_fixed_covered:
        remarks.append("Its fixed fees are borne by an earlier period.")
    if period.park_reason:
        remarks.append(f"Parked, because: {period.park_reason}")
    return " ".join(remarks)


def _discounts(subscription: Subscription) -> Panel:
    redeemed = discounts.discounts_queryset().filter(
        Q(subscription=subscription) | Q(subscription__isnull=True), customer_id=subscription.customer_id
    )[:ROWS_SHOWN]
    return Panel(
        title="Discounts",
        columns=(Column("Code"), Column("Takes off"), Column("For"), Column("From"), Column("Ended")),
        rows=[
            [
                record_link(row, row.code),
                discount_words(row),
                "this subscription" if row.subscription_id else "the customer",
                formatting.instant_text(row.applied_at),
                formatting.instant_text(row.ended_at) if row.ended_at else "",
            ]
            for row in redeemed
        ],
        empty="No coupon was redeemed for it.",
    )


def _overrides(subscription: Subscription) -> Panel:
    asked = overrides.overrides_queryset().filter(subscription=subscription)[:ROWS_SHOWN]
    return Panel(
        title="Agreed prices",
        columns=(
            Column("Charge"),
            Column("State"),
            Column("Asked for by"),
            Column("Decided by"),
            Column("From"),
            Column("Why"),
        ),
        rows=[
            [
                record_link(row, row.charge_code),
                override_state(row),
                row.requested_by_name,
                row.decided_by_name,
                formatting.instant_text(row.decided_at) if row.is_approved and row.decided_at else "",
                row.reason,
            ]
            for row in asked
        ],
        empty="Every charge is billed at the plan's price.",
    )
