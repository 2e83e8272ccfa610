"""What /metrics tells, and to whom."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import Client

from apps.common.actors import SCHEDULE
from apps.metering import proofs
from apps.tenancy import context as tenancy_context
from apps.workflows import usage_metrics, usage_watch
from tests.apps.metering.watched import follow, store
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
BEGIN = datetime(2026, 1, 15, 11, 30, tzinfo=UTC)


@pytest.fixture
def scrape(settings):
    """A scraper that knows the token; returns samples by their name and labels."""
    settings.METRICS_TOKEN = "s3cret"

    def ask() -> dict[str, str]:
        # Back into the tenant afterwards, where the test is.
        with tenancy_context.shared_context():
            response = Client(HTTP_HOST="localhost").get("/metrics", HTTP_AUTHORIZATION="Bearer s3cret")
        assert response.status_code == 200
        lines = response.content.decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))

    return ask


def test_tenants_are_named_to_who_has_the_token_only(settings):
    """S236: 401 without it; where none is set, anybody is answered and no tenant is named."""
    platform = Client(HTTP_HOST="localhost")
    settings.METRICS_TOKEN = "s3cret"
    for header in ({}, {"HTTP_AUTHORIZATION": "Bearer wrong"}, {"HTTP_AUTHORIZATION": "Bearer "}):
        response = platform.get("/metrics", **header)
        assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
        assert b"countinghouse_usage" not in response.content
    settings.METRICS_TOKEN = ""
    open_to_all = platform.get("/metrics")
    assert open_to_all.status_code == 200
    assert b"t_alpha" not in open_to_all.content
    assert Client(HTTP_HOST="alpha.localhost").get("/metrics").status_code == 404


def test_events_are_counted_by_what_became_of_them_and_how_fast(api, scrape):
    """S032, S053, S236: accepted, repeats (the hit rate of the identities), conflicts, refusals by reason; latency."""
    metering.meter()
    customers.customer(external_id="acme")
    before = scrape()

    def risen(sample: str) -> int:
        return int(float(scrape().get(sample, "0")) - float(before.get(sample, "0")))

    event = {**metering.event(), "occurred_at": "2026-01-15T11:00:00Z"}
    api.post("events/batch", {"events": [event]})
    answer = api.post(
        "events/batch", {"events": [event, {**event, "quantity": "5"}, {**event, "id": "2", "customer": "x"}]}
    )
    assert answer.status_code == 207
    name = 'countinghouse_usage_events_total{code="%s",outcome="%s",tenant="t_alpha"}'
    assert risen(name % ("", "accepted")) == 1
    assert risen(name % ("", "duplicate")) == 1
    assert risen(name % ("id_reused", "conflict")) == 1
    assert risen(name % ("unknown_customer", "rejected")) == 1
    assert risen('countinghouse_usage_requests_total{status="207",tenant="t_alpha"}') == 1, "S052: the error budget"
    assert risen('countinghouse_usage_visible_seconds_count{tenant="t_alpha"}') == 2
    assert risen('countinghouse_usage_visible_seconds_bucket{le="5.0",tenant="t_alpha"}') == 2, (
        "S053: under five seconds"
    )


def test_rows_tell_sources_delays_alerts_and_accuracy(tenant, scrape):
    """S237, S238, S032, S236, S080: the histogram of storage, queues, sizes, differences and skew."""
    metering.meter()
    customer = customers.customer(external_id="acme")
    store(range(10), customer_id=customer.id, begin=BEGIN, delay=timedelta(minutes=6))
    store(range(90), customer_id=customer.id, begin=BEGIN, source="fast", delay=timedelta(milliseconds=800))
    store(range(3), customer_id=customer.id, begin=BEGIN, source="fast", event_type="nobody.reads", is_numbered=False)
    follow()
    usage_watch.sources_watch(actor=SCHEDULE, at=BEGIN + timedelta(minutes=7))
    proofs.usage_proof_make(usage_date=BEGIN.date(), at=BEGIN + timedelta(days=1))
    told = scrape()
    of = 'tenant="t_alpha"'
    assert told[f'countinghouse_usage_source_events_total{{source="fast",{of}}}'] == "93.0"
    assert told[f'countinghouse_usage_source_clock_ahead_ms{{source="edge",{of}}}'] == "0.0"
    buckets = {
        match[1]: float(value)
        for name, value in told.items()
        if (
            match := re.match(
                r'countinghouse_usage_storage_delay_seconds_bucket\{le="([^"]+)",tenant="t_alpha"\}', name
            )
        )
    }
    assert (buckets["1"], buckets["300"], buckets["900"], buckets["+Inf"]) == (90, 93, 103, 103)
    assert told[f"countinghouse_usage_storage_delay_seconds_sum{{{of}}}"] == "3678.0"
    assert told[f'countinghouse_usage_alerts{{kind="delay",{of}}}'] == "1.0"
    assert told[f'countinghouse_usage_unmatched{{reason="no_meter",{of}}}'] == "3.0"
    assert told[f"countinghouse_usage_proof_differences{{{of}}}"] == "0.0"
    assert float(told[f"countinghouse_usage_dedup_keys_bytes{{{of}}}"]) > 0
    assert float(told[f"countinghouse_usage_outbox_waiting{{{of}}}"]) >= 0
    assert float(told["countinghouse_queue_waiting"]) >= 0
    assert 'countinghouse_usage_events_estimate{tenant="t_beta"}' in told


def test_no_statement_of_the_metrics_reads_the_events(tenant, django_assert_max_num_queries):
    """S236: a scrape costs a handful of small statements, whatever was ever sent."""
    with django_assert_max_num_queries(4):
        usage_metrics._Found().read("t_alpha")
    for statement in (usage_metrics.usage_metrics_sql.VALUES, usage_metrics.usage_metrics_sql.SOURCES):
        assert "FROM metering_usageevent " not in statement
        assert "FROM metering_usageeventkey " not in statement


_PROCESS = """
import sys
from prometheus_client import Counter
Counter("countinghouse_probe", "x").inc(int(sys.argv[1]))
"""


def test_counts_of_all_processes_are_added_up(tmp_path, settings, scrape):
    """S236: several web processes, one sum, whichever answers; those that have ended count on."""
    for number in ("3", "4"):
        subprocess.run(
            [sys.executable, "-c", _PROCESS, number],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            check=True,
        )
    settings.METRICS_DIR = str(tmp_path)
    assert scrape()["countinghouse_probe_total"] == "7.0"


def test_every_metric_is_explained():
    """S236: the page names each metric that is told, so that nobody has to guess."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    found = usage_metrics._Found()
    names = {family.name for family in found.families()} | {"countinghouse_queue_waiting"}
    names |= {
        metric.describe()[0].name for metric in (usage_metrics.EVENTS, usage_metrics.REQUESTS, usage_metrics.VISIBLE)
    }
    assert {name for name in names if f"`{name}" not in page} == set()
