"""The beat table: name, task, cadence, why. Each task fans out over tenants; the claim is in the database.

Beat may run twice or stop for an hour: each job looks for rows that are due, so a missed tick is caught up by the
next one and a doubled tick finds nothing left to claim.
"""

from datetime import timedelta
from typing import Any


def _every(seconds: int, task: str) -> dict[str, Any]:
    # A tick nobody picked up before the next one is worthless: let it expire instead of stacking up.
    return {"task": task, "schedule": timedelta(seconds=seconds), "options": {"expires": max(seconds, 30)}}


BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    # News waits for nobody; handlers also sweep after the transaction that wrote the news.
    "relay outbox": _every(2, "workflows.outbox_relay_all"),
    # Positions and chain hashes follow the business transaction by seconds.
    "seal journal and audit": _every(5, "workflows.journal_seal_all"),
    # Time zones make some customer's period end in every hour; a minute keeps test clocks lively too.
    "close due periods": _every(60, "workflows.billing_run_all"),
    # What the accepting request need not do is done seconds later: late usage, sources, whom there is news of.
    "follow usage": _every(10, "workflows.usage_follow_all"),
    # What was found late is rated again and billed as the policy says; a minute later is soon enough.
    "settle late usage": _every(60, "workflows.late_usage_settle_all"),
    # Charges in advance are billed when the usage happens, not at the end of its period.
    "bill usage in advance": _every(60, "workflows.usage_bill_all"),
    # Drafts past their grace become documents.
    "finalise drafts past grace": _every(60, "workflows.drafts_finalize_all"),
    # Outcomes we did not hear are looked up, never repeated.
    "resolve unknown payments": _every(60, "workflows.payments_resolve_all"),
    # Months are cut ahead, because an event must never wait for DDL.
    "make usage partitions": _every(3600, "workflows.usage_partitions_all"),
    # Limits are there before their window begins; terms that moved are caught up with, whoever asks first.
    "make usage limits": _every(60, "workflows.usage_limits_make_all"),
    # A share of a limit is told within the minute in which usage came to it, once.
    "tell usage thresholds": _every(60, "workflows.usage_thresholds_tell_all"),
    "forget old access decisions": _every(3600, "workflows.access_decisions_prune_all"),
    # What a source lost, or whether it fell silent, is known a minute after it could be.
    "watch sources of usage": _every(60, "workflows.usage_watch_all"),
    # An hour is judged once it is over; four looks at it, because a tick may be missed.
    "watch unusual usage": _every(900, "workflows.unusual_usage_watch_all"),
    # Each run proves a few days, so that none reads everything; a night is enough for what a day has changed.
    "prove usage": _every(900, "workflows.usage_proofs_all"),
    # What a tenant's window has forgotten goes in small batches; tenants without a window keep every id.
    "forget old event ids": _every(3600, "workflows.usage_keys_purge_all"),
    # A month a time, once it is older than the tenant keeps it.
    "archive usage": _every(6 * 3600, "workflows.usage_retention_all"),
    # Invariants are watched in production, not only in tests.
    "check invariants": _every(3600, "workflows.invariants_check_all"),
}
