"""What is remembered of meters saves time and never decides, and a batch costs few round trips."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.metering import intake_terms
from apps.metering.models import UsageEvent
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(tenant):
    metering.meter()
    return customers.customer(external_id="acme")


def _statements(*events, at) -> list[str]:
    """Send a batch and return its statements, but for savepoints and what a process asks once and remembers."""
    with CaptureQueriesContext(connection) as captured:
        metering.send(*events, at=at)
    statements = [query["sql"].strip() for query in captured.captured_queries]
    once = ("SAVEPOINT", "customers_customer", "pg_class")
    return [sql for sql in statements if not any(word in sql for word in once)]


def test_terms_that_are_out_of_date_are_read_again_before_anything_is_written(customer, at):
    """S026: a rule that is defined while a batch is on its way holds for that batch."""
    stale = intake_terms.intake_terms_read()
    metering.meter(code="ruled", rules={"required": ["region"]})
    intake_terms._remembered[connection.schema_name] = stale
    result = metering.send(metering.event(), metering.event(properties={"region": "eu"}), at=at)
    assert [(r.index, r.code) for r in result.results] == [(0, "rule_required")]
    assert UsageEvent.objects.count() == 1


def test_a_retired_version_makes_no_demands_from_the_next_batch_on(customer, at):
    metering.meter(code="ruled", rules={"required": ["region"]})
    assert metering.send(metering.event(), at=at).rejected == 1
    metering.meter(code="ruled", rules={})
    assert metering.send(metering.event(), at=at).accepted == 1


def test_a_batch_is_four_statements_however_many_events_it_has(customer, at):
    """S033: duplicates are told apart where events are written; nothing is asked about each event."""
    metering.send(metering.event(), at=at)
    for size in (1, 50):
        statements = _statements(*(metering.event() for _ in range(size)), at=at)
        assert len(statements) == 4
        assert [sql.split()[0] for sql in statements] == ["SELECT", "COPY", "INSERT", "COPY"]


def test_a_batch_that_comes_again_is_found_before_it_is_written(customer, at):
    """S036: a retry costs one look at the keys: no failed write, no second transaction."""
    batch = [metering.event() for _ in range(20)]
    metering.send(*batch, at=at)
    statements = _statements(*batch, at=at)
    assert len(statements) == 2
    assert not any(sql.startswith(("COPY", "INSERT")) for sql in statements)
