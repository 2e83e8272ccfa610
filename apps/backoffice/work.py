"""The home page: work that waits for somebody, with how much of it, how much money, and since when."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse

from apps.backoffice.work_sql import WORK_WAITING
from apps.common import formatting
from apps.common.db import fetch_all
from apps.identity.models import User
from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import BillingRun

RUNS_SHOWN = 5
# The sealer works every few seconds; a tail older than this means that it does not.
UNSEALED_ALARM = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkCard:
    """One kind of work: what it is, how much, and the list it leads to."""

    title: str
    count: int
    money: tuple[str, ...]
    oldest: str
    url: str
    hint: str
    tone: str

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing waits here."""
        return self.count == 0


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    target: str
    query: str
    hint: str
    tone: str
    permission: str = "records.view"


_KINDS = {
    "parked": _Kind(
        "Parked periods",
        "subscriptions_billingperiod_changelist",
        "?parked=yes",
        "Could not be closed. Each says why; repair the cause, then unpark.",
        "warning",
    ),
    "unknown": _Kind(
        "Unknown payments",
        "payments_paymentattempt_changelist",
        "?status__exact=UNKNOWN",
        "The processor's answer was not heard. Look them up; never charge again.",
        "warning",
    ),
    "dead": _Kind(
        "Dead messages",
        "messaging_outboxmessage_changelist",
        "?status__exact=DEAD",
        "Out of tries. Read the error, repair the cause, requeue.",
        "danger",
    ),
    "quarantined": _Kind(
        "Quarantined events",
        "metering_quarantinedevent_changelist",
        "?status__exact=HELD",
        "Refused usage is kept. Repair the cause, then replay.",
        "warning",
    ),
    "corrections": _Kind(
        "Corrections to decide",
        "metering_usagecorrection_changelist",
        "?status__exact=PENDING_APPROVAL",
        "Usage that somebody wants to count differently. Somebody else looks at the effect and decides.",
        "warning",
    ),
    "alerts": _Kind(
        "Usage alerts",
        "metering_usagealert_changelist",
        "?live=yes",
        "Events missing, late, silent, unusual or not equal; the money is an estimate. They close by themselves.",
        "danger",
    ),
    "late": _Kind(
        "Late usage",
        "metering_lateusage_changelist",
        "?status__exact=FOUND",
        "Came after its period was billed. Most is settled by itself; what stays says why.",
        "warning",
    ),
    "adjustments": _Kind(
        "Adjustments to approve",
        "invoices_adjustment_changelist",
        "?status__exact=PENDING_APPROVAL",
        "Differences above the bound. Somebody who did not make them decides.",
        "warning",
    ),
    "drafts": _Kind(
        "Draft invoices",
        "invoices_invoice_changelist",
        "?status__exact=DRAFT",
        "Wait out their grace for late usage, then become final by themselves.",
        "info",
    ),
    "overdue": _Kind(
        "Overdue invoices",
        "invoices_invoice_changelist",
        "?overdue=yes",
        "Open past their due date.",
        "warning",
    ),
    "unsealed": _Kind(
        "Unsealed entries",
        "audit_trail",
        "",
        "Audit entries and events not yet in the chain. Seconds are normal; minutes mean that the sealer stands still.",
        "info",
        "audit.view",
    ),
}


def cards(*, user: User, at: datetime) -> list[WorkCard]:
    """Return a card per kind of work that the user may see, also where nothing waits; one query for all."""
    rows: dict[str, list[tuple[str, int, int, datetime | None]]] = {}
    for kind, currency, count, minor, oldest_at in fetch_all(WORK_WAITING, {"at": at}):
        rows.setdefault(kind, []).append((currency, count, minor, oldest_at))
    return [_card(key, kind, rows.get(key, []), at) for key, kind in _KINDS.items() if user.has_perm(kind.permission)]


def runs_recent() -> list[BillingRun]:
    """Return the last runs with the count of each outcome, and when they started in words."""
    runs = list(invoice_selectors.billing_runs()[:RUNS_SHOWN])
    for run in runs:
        run.started_text = formatting.instant_text(run.started_at)  # type: ignore[attr-defined]
    return runs


def _card(key: str, kind: _Kind, rows: list[tuple[str, int, int, datetime | None]], at: datetime) -> WorkCard:
    oldest_at = min((row[3] for row in rows if row[3] is not None), default=None)
    count = sum(row[1] for row in rows)
    tone = kind.tone
    if key == "unsealed" and oldest_at is not None and at - oldest_at > UNSEALED_ALARM:
        tone = "danger"
    return WorkCard(
        title=kind.title,
        count=count,
        # One amount per currency: two currencies are never added.
        money=tuple(formatting.money_text(minor, currency) for currency, _, minor, _ in sorted(rows) if currency),
        oldest=formatting.age_text(oldest_at, at) if oldest_at else "",
        url=reverse(f"admin:{kind.target}") + kind.query,
        hint=kind.hint,
        tone=tone if count else "neutral",
    )
