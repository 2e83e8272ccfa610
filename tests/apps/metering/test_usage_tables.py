"""What the tables themselves hold: partitions, identity, append-only, totals by trigger."""

from datetime import UTC, date, datetime

import pytest
from django.db import IntegrityError, transaction

from apps.common.db import fetch_all
from apps.metering import partitions, selectors, services, usage_guards_sql
from apps.metering.models import UsageAggregate
from tests.builders import customers, metering

pytestmark = pytest.mark.django_db


def _partitions() -> set[str]:
    return {
        name.removeprefix("metering_usageevent_")
        for (name,) in fetch_all(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'metering_usageevent'::regclass"
        )
    }


def test_months_ahead_cross_the_year():
    months = services.months_ahead(at=datetime(2026, 11, 30, 23, tzinfo=UTC))
    assert months == [date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1)]
    assert services.months_ahead(at=datetime(2026, 1, 1, tzinfo=UTC))[0] == date(2025, 12, 1)


def test_partitions_are_made_once_and_hold_their_month_only(tenant):
    months = [date(1999, 12, 1), date(2000, 1, 1)]
    for _ in range(2):
        services.usage_partitions_ensure(months=months)
    assert {"199912", "200001"} <= _partitions()
    bounds = fetch_all(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'metering_usageevent_199912'"
    )
    assert "1999-12-01" in bounds[-1][0]
    assert "2000-01-01" in bounds[-1][0]


def test_what_is_rolled_back_is_not_remembered(tenant):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        services.usage_partitions_ensure(months=[date(1999, 11, 1)])
        raise ZeroDivisionError
    assert "199911" not in _partitions()
    services.usage_partitions_ensure(months=[date(1999, 11, 1)])
    assert "199911" in _partitions()
    assert not any(month == date(1999, 11, 1) for _schema, month in partitions._known)


def test_an_event_of_any_accepted_month_finds_its_partition(tenant, at):
    customers.customer(external_id="acme")
    assert metering.send(metering.event(occurred_at="2025-01-31T23:59:59.999999Z"), at=at).accepted == 1
    assert "202501" in _partitions()


@pytest.mark.parametrize("table", ["metering_usageevent", "metering_usageeventkey"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET received_at = received_at", "DELETE FROM {}", "TRUNCATE {}"])
def test_events_and_keys_only_grow(tenant, at, table, verb):
    customers.customer(external_id="acme")
    metering.send(metering.event(), at=at)
    with pytest.raises(IntegrityError, match="only grow"), transaction.atomic():
        fetch_all(verb.format(table))


def test_partitions_are_guarded_like_their_parent(tenant, at):
    customers.customer(external_id="acme")
    metering.send(metering.event(), at=at)
    metering.send(metering.event(occurred_at="2025-03-10T12:00:00Z"), at=at)
    for partition in ("metering_usageevent_202601", "metering_usageevent_202503"):
        for verb in ("UPDATE {} SET received_at = received_at", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(IntegrityError, match="only grow"), transaction.atomic():
                fetch_all(verb.format(partition))


def test_every_partition_carries_the_statement_triggers(tenant, at):
    """Those that were there when the guards came, and those that are made since."""
    fetch_all(usage_guards_sql.UNGUARD_PARTITIONS)
    fetch_all(usage_guards_sql.GUARD_PARTITIONS)
    customers.customer(external_id="acme")
    metering.send(metering.event(occurred_at="2025-03-10T12:00:00Z"), at=at)
    rows = fetch_all(
        "SELECT i.inhrelid::regclass::text, array_agg(t.tgname::text ORDER BY t.tgname) FROM pg_inherits i "
        "LEFT JOIN pg_trigger t ON t.tgrelid = i.inhrelid AND t.tgenabled = 'O' AND t.tgparentid = 0 "
        "WHERE i.inhparent = 'metering_usageevent'::regclass GROUP BY 1"
    )
    assert len(rows) == len(_partitions()) >= 2
    for name, triggers in rows:
        assert triggers == ["usage_event_count", "usage_event_fold", "usage_event_no_truncate"], name


@pytest.mark.parametrize("table", ["metering_usageevent", "metering_usageevent_202601"])
def test_an_insert_is_counted_once_whichever_table_it_names(tenant, at, table):
    customers.customer(external_id="acme")
    meter = metering.meter()
    metering.send(metering.event(), at=at)
    fetch_all(
        f"INSERT INTO {table} (event_key, source, event_id, type, customer_id, occurred_at, received_at, properties) "
        "SELECT gen_random_uuid(), source, 'by hand', type, customer_id, occurred_at, received_at, properties "
        "FROM metering_usageevent"
    )
    assert list(UsageAggregate.objects.filter(meter_id=meter.id).values_list("event_count", flat=True)) == [2]
    assert selectors.aggregates_compare(limit=1) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE metering_usageaggregate SET event_count = 7",
        "INSERT INTO metering_usageaggregate SELECT * FROM metering_usageaggregate",
        "DELETE FROM metering_usageaggregate",
        "TRUNCATE metering_usageaggregate",
    ],
)
def test_totals_are_written_by_their_trigger_only(tenant, at, statement):
    customers.customer(external_id="acme")
    metering.meter()
    metering.send(metering.event(), at=at)
    with pytest.raises(IntegrityError, match="follow the events"), transaction.atomic():
        fetch_all(statement)
    metering.send(metering.event(), at=at)
    assert UsageAggregate.objects.get().event_count == 2


def test_identity_is_the_databases_own(tenant, at):
    """S028: a unique constraint, not check-then-act: the key table refuses a second row whoever writes it."""
    customers.customer(external_id="acme")
    metering.send(metering.event(), at=at)
    with pytest.raises(IntegrityError, match="pkey"), transaction.atomic():
        fetch_all("INSERT INTO metering_usageeventkey SELECT * FROM metering_usageeventkey")


def test_the_ordering_key_of_usage_is_the_customer_and_meter(tenant, at):
    """S249: totals are kept and locked by customer first, and the event's id is no part of that key."""
    (definition,) = fetch_all(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'usage_aggregate_once'"
    )[-1]
    assert definition == "PRIMARY KEY (customer_id, meter_id, hour, subscription_id, dimensions)"


def test_order_of_arrival_does_not_change_the_totals(tenant, at):
    """S249, S261: shuffled and late events give the same hourly totals, by the time they occurred."""
    meter = metering.meter(aggregation="max", value_property="v", group_by=["r"])
    batch = [
        metering.event(
            occurred_at=f"2026-01-10T{hour:02}:30:00Z", properties={"v": str(hour * n), "r": "a" if n % 2 else "b"}
        )
        for hour in range(4)
        for n in range(1, 6)
    ]
    totals = []
    for external_id, order in (("forward", batch), ("backward", batch[::-1])):
        customer = customers.customer(external_id=external_id)
        for start in range(0, len(order), 7):
            again = [{**event, "id": f"{external_id}-{event['id']}", "customer": external_id} for event in order]
            metering.send(*again[start : start + 7], at=at)
        rows = UsageAggregate.objects.filter(customer_id=customer.id, meter_id=meter.id).order_by("hour", "dimensions")
        totals.append([(row.hour, row.dimensions, row.event_count, row.value_sum, row.value_max) for row in rows])
    assert totals[0] == totals[1]
    assert len(totals[0]) == 8
    assert [row[0].hour for row in totals[0]] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert selectors.aggregates_compare(limit=1) == []
