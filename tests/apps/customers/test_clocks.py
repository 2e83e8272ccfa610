"""Test clocks: forward only, and the time of those who live on them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import IntegrityError, connection, transaction

from apps.audit.models import AuditEntry
from apps.common import ids
from apps.common.actors import OPERATOR
from apps.customers import selectors, services
from apps.customers.errors import ClockMovesBack, TestClockInvalid, TestClockUnknown
from apps.customers.models import TestClock
from tests.builders import customers

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)


def _move(clock, to) -> TestClock:
    return services.test_clock_move(clock_id=clock.id, to=to, actor=OPERATOR)


def test_a_customer_lives_at_its_clock_s_time(tenant, at):
    """Others live at the time they are asked with."""
    clock = customers.test_clock(now_at=START)
    on_clock = customers.customer(test_clock=clock)
    elsewhere = customers.customer()
    assert selectors.customer_now(customer=selectors.customer_by_reference(on_clock.public_id), at=at) == START
    assert selectors.customer_now(customer=elsewhere, at=at) == at
    _move(clock, START + timedelta(days=40))
    moved = selectors.customer_by_reference(on_clock.external_id)
    assert selectors.customer_now(customer=moved, at=at) == START + timedelta(days=40)


def test_a_clock_goes_forward_with_trail(tenant):
    """The trail is dated by the clock itself; the same time again is no move."""
    clock = customers.test_clock(now_at=START)
    _move(clock, START + timedelta(hours=1))
    _move(clock, START + timedelta(hours=1))
    entries = AuditEntry.objects.filter(entity_id=clock.id, action="move")
    assert [(entry.at, entry.before["now_at"]) for entry in entries] == [
        (START + timedelta(hours=1), START.isoformat())
    ]


def test_a_clock_never_goes_back(tenant):
    """What happened at a later time cannot be unhappened; the clock stands where it stood."""
    clock = customers.test_clock(now_at=START)
    counted = AuditEntry.objects.count()
    with pytest.raises(ClockMovesBack) as refused:
        _move(clock, START - timedelta(microseconds=1))
    assert refused.value.code == "clock_moves_back"
    assert "make a new clock" in refused.value.detail
    clock.refresh_from_db()
    assert clock.now_at == START
    assert AuditEntry.objects.count() == counted


def test_the_database_keeps_clocks_and_their_direction(tenant):
    """Past the service too: never back by a microsecond, never gone; forward and renamed it may be."""
    row = TestClock.objects.filter(id=customers.test_clock(now_at=START).id)
    with pytest.raises(IntegrityError, match="test_clock_forward"), transaction.atomic():
        row.update(now_at=START - timedelta(microseconds=1))
    with pytest.raises(IntegrityError, match="test_clock_kept"), transaction.atomic():
        row.delete()
    with pytest.raises(IntegrityError, match="kept_truncate"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE customers_testclock CASCADE")
    assert row.update(now_at=START, name="Same") == 1
    assert row.update(now_at=START + timedelta(microseconds=1)) == 1


def test_times_have_offsets(tenant):
    """A time without offset is not an instant; one with another offset is stored in UTC."""
    with pytest.raises(TestClockInvalid) as refused:
        services.test_clock_create(name=" ", now_at=datetime(2026, 1, 1), actor=OPERATOR, at=START)  # noqa: DTZ001
    assert [problem.pointer for problem in refused.value.problems] == ["/name", "/now"]
    clock = customers.test_clock(now_at=datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now_at == START
    with pytest.raises(TestClockInvalid):
        _move(clock, datetime(2026, 2, 1))  # noqa: DTZ001


def test_an_unknown_clock_is_said(tenant, at):
    """By id, by public id, and for a new customer."""
    with pytest.raises(TestClockUnknown):
        services.test_clock_move(clock_id=ids.new_id(), to=at, actor=OPERATOR)
    for reference in ("clk_nothing", "", ids.to_public(prefix="clk", value=ids.new_id())):
        with pytest.raises(TestClockUnknown):
            selectors.test_clock_by_reference(reference)
    clock = customers.test_clock()
    assert selectors.test_clock_by_reference(clock.public_id) == clock
