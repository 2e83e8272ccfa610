"""Locks are waited for, and not for ever."""

import pytest
from django.db import OperationalError, connection, transaction

from apps.common import ids, locks
from tests import races


def test_who_waits_too_long_for_a_named_lock_is_told_so(committed_tenant, monkeypatch):
    monkeypatch.setattr(locks, "LOCK_WAIT_MS_MAX", 200)
    name = f"tests-{ids.new_id()}"
    with transaction.atomic():
        locks.advisory_lock(name)

        def second() -> None:
            with transaction.atomic():
                locks.advisory_lock(name)

        (answer,) = races.race(committed_tenant, [second])
    assert isinstance(answer, OperationalError)
    assert "lock timeout" in str(answer)


@pytest.mark.django_db
def test_the_bound_ends_with_the_transaction(tenant):
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        before = cursor.fetchone()[0]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            locks.advisory_lock("x")
            raise ZeroDivisionError
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == before
