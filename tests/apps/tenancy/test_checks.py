"""The check that keeps the house out from behind a transaction pooler."""

import pytest

from apps.tenancy import checks


def test_two_clients_on_one_server_process_are_behind_a_transaction_pooler():
    (error,) = checks.no_transaction_pooler(pids=lambda: (4711, 4711))
    assert error.id == "tenancy.E001"
    assert "session mode" in error.hint


def test_a_pooler_that_is_busy_at_first_is_found_by_asking_again():
    answers = iter([(1, 2), (3, 3)])
    assert checks.no_transaction_pooler(pids=lambda: next(answers))


@pytest.mark.django_db
def test_a_direct_connection_passes():
    first, second = checks.server_pids()
    assert first != second
    assert checks.no_transaction_pooler(databases=["default"]) == []


def test_without_a_database_nothing_is_asked():
    assert checks.no_transaction_pooler(databases=None) == []
