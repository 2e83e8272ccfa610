"""
Metrics of the metering: what this process counted, and what each tenant's rows say.

Counters of processes are added up by the library when PROMETHEUS_MULTIPROC_DIR names a folder; what the database knows
is read from it, so it is the same whichever process answers. `docs/metrics.md` says what each one means.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any, Final

import structlog
from celery import current_app
from django.conf import settings
from django.db import DatabaseError
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import REGISTRY

from apps.common.db import fetch_all
from apps.metering.sources_sql import DELAY_BOUNDS_MS
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors
from apps.workflows import usage_metrics_sql
from apps.workflows.intake_results import IntakeResult

log = structlog.get_logger(__name__)

SOURCES_MAX: Final = 100
_PREFIX: Final = "countinghouse_usage"

EVENTS = Counter(f"{_PREFIX}_events", "Events offered, by what became of each.", ["tenant", "outcome", "code"])
# The error budget of the door: what is 500 or above was ours to answer otherwise.
REQUESTS = Counter(
    f"{_PREFIX}_requests", "Requests at the door for events, by the answer's status.", ["tenant", "status"]
)
VISIBLE = Histogram(
    f"{_PREFIX}_visible_seconds",
    "From the request's arrival to the commit after which totals, limits and pages show its events.",
    ["tenant"],
    buckets=tuple(f"{bound}e-3" for bound in (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000)),
)

# The library's own, of the process and the language: they have heard of no tenant.
_OF_NO_TENANT: Final = CollectorRegistry()
for _collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    _OF_NO_TENANT.register(_collector)

# Metric -> its label and what it is.
_GAUGES: Final = {
    "events_estimate": ("", "Raw events in the database, by the planner's estimate."),
    "events_bytes": ("", "Bytes of raw events in the database, indexes included."),
    "dedup_keys_estimate": ("", "Identities of events ever accepted, by the planner's estimate."),
    "dedup_keys_bytes": ("", "Bytes of the identities, index included: the price of exactly once."),
    "rollups_estimate": ("", "Running totals, by the planner's estimate."),
    "follower_moved_at": ("", "When the follower moved on last, in Unix seconds."),
    "outbox_waiting": ("", "Messages that wait for their handlers."),
    "outbox_oldest_at": ("", "When the news of the oldest waiting message was written, in Unix seconds."),
    "quarantined": ("code", "Refused events that wait, by reason."),
    "alerts": ("kind", "Alerts whose cause is there."),
    "unmatched": ("reason", "Accepted events that no meter counted, ever."),
    "late_windows": ("", "Billed windows with late usage that is not settled."),
    "proof_differences": ("", "Differences between running totals and raw events in the latest proofs of all days."),
    "proof_made_at": ("", "When the last proof was made, in Unix seconds."),
}
# In the order of the statement's columns.
_SOURCE_GAUGES: Final = (
    ("received_at", "When the source was heard of last, in Unix seconds."),
    ("watermark_at", "The source's newest occurrence, in Unix seconds."),
    ("clock_ahead_ms", "So far the source's clock ran ahead of ours lately, at least."),
)


def request_observe(*, schema_name: str, status: int) -> None:
    """Count an answer at the door for events."""
    REQUESTS.labels(schema_name, str(status)).inc()


def batch_observe(*, schema_name: str, result: IntakeResult, nanoseconds: int) -> None:
    """Count what became of a batch, and how long it took from its arrival until it was visible."""
    VISIBLE.labels(schema_name).observe(nanoseconds / 10**9)
    if result.accepted:
        EVENTS.labels(schema_name, "accepted", "").inc(result.accepted)
    refused = Tally((outcome.status, outcome.code) for outcome in result.results)
    for (status, code), count in refused.items():
        EVENTS.labels(schema_name, status, code).inc(count)


def metrics_text(*, has_tenants: bool) -> bytes:
    """
    Return the metrics in Prometheus' text format.

    :param has_tenants: tell of each tenant by name; without, only what this process needs and does
    """
    if not has_tenants:
        return bytes(generate_latest(_OF_NO_TENANT))
    counted = REGISTRY
    if settings.METRICS_DIR:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted, path=settings.METRICS_DIR)  # type: ignore[no-untyped-call]
    return bytes(generate_latest(counted) + generate_latest(_TenantRows()))


class _TenantRows(CollectorRegistry):
    """What the rows of each ready tenant say, read when it is asked for."""

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with a sample per tenant; a tenant that cannot be read is told and stops no other."""
        found = _Found()
        for schema_name in tenancy_selectors.tenant_schemas_ready():
            try:
                with tenancy_context.tenant_context(schema_name=schema_name):
                    found.read(schema_name)
            except DatabaseError:
                log.exception("metrics of a tenant could not be read", schema_name=schema_name)
                found.unreadable.add_metric([schema_name], 1)
        yield from found.families()
        yield _queue()


class _Found:
    """The metrics of all tenants while they are read."""

    def __init__(self) -> None:
        self.gauges = {
            name: GaugeMetricFamily(f"{_PREFIX}_{name}", words, labels=["tenant", *([label] if label else [])])
            for name, (label, words) in _GAUGES.items()
        }
        labels = ["tenant", "source"]
        self.source_events = CounterMetricFamily(f"{_PREFIX}_source_events", "Events accepted, ever.", labels=labels)
        self.source_gauges = [
            GaugeMetricFamily(
                f"{_PREFIX}_source_received_at", "When it was heard of last, Unix seconds.", labels=labels
            ),
            GaugeMetricFamily(f"{_PREFIX}_source_watermark_at", "Its newest occurrence, Unix seconds.", labels=labels),
            GaugeMetricFamily(f"{_PREFIX}_source_clock_ahead_ms", "Its clock ran ahead so far lately.", labels=labels),
        ]
        self.delays = HistogramMetricFamily(
            f"{_PREFIX}_storage_delay_seconds", "From occurrence to storage, of all events ever.", labels=["tenant"]
        )
        self.unreadable = GaugeMetricFamily(
            f"{_PREFIX}_unreadable", "1 for a tenant whose numbers could not be read.", labels=["tenant"]
        )

    def read(self, tenant: str) -> None:
        """Add the samples of the tenant that is entered."""
        for name, label, value in fetch_all(usage_metrics_sql.VALUES):
            labels = [tenant, label] if _GAUGES[name][0] else [tenant]
            self.gauges[name].add_metric(labels, value)
        for source, events, *gauges in fetch_all(usage_metrics_sql.SOURCES, {"limit": SOURCES_MAX}):
            self.source_events.add_metric([tenant, source], events)
            for family, value in zip(self.source_gauges, gauges, strict=True):
                family.add_metric([tenant, source], value)
        counts = [count for _n, count in fetch_all(usage_metrics_sql.DELAYS)]
        if counts:
            ((sum_ms,),) = fetch_all(usage_metrics_sql.DELAY_SUM)
            bounds = [str(bound // 1000) for bound in DELAY_BOUNDS_MS] + ["+Inf"]
            below = [(bound, sum(counts[: n + 1])) for n, bound in enumerate(bounds)]
            self.delays.add_metric([tenant], below, sum_ms / 1000)

    def families(self) -> Iterator[Metric]:
        """Yield what was read."""
        yield from self.gauges.values()
        yield self.source_events
        yield from self.source_gauges
        yield self.delays
        yield self.unreadable


def _queue() -> Any:
    waiting = GaugeMetricFamily("countinghouse_queue_waiting", "Wake-up calls that wait for a worker.")
    try:
        with current_app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            # As the workers declare it: an empty broker has no queue before its first worker.
            declared = channel.queue_declare(queue=settings.CELERY_TASK_DEFAULT_QUEUE, durable=True, auto_delete=False)
            waiting.add_metric([], declared.message_count)
    except Exception:  # noqa: BLE001  whatever the broker's library raises, the other metrics are told
        log.warning("the queue could not be asked for its depth", exc_info=True)
    return waiting
