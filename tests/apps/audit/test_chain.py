"""The audit chain: sealed in order, and every tampering found."""

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from apps.audit import chain, selectors, services
from apps.audit.models import AuditEntry
from apps.common.actors import OPERATOR
from apps.customers.models import TestClock

pytestmark = pytest.mark.django_db


@pytest.fixture
def entries(tenant, at) -> list[AuditEntry]:
    """Three changes, not yet sealed."""
    clock = TestClock.objects.create(name="c", now_at=at)
    return [
        services.entry_write(
            entity=clock, action=f"step_{n}", actor=OPERATOR, at=at, before={"n": n}, after={"n": n + 1}
        )
        for n in range(3)
    ]


def _tamper(sql: str) -> None:
    # What somebody with the owner's rights could do: switch the triggers off for a moment.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql)
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def test_sealing_gives_positions_and_links_without_a_hole(entries):
    before = AuditEntry.objects.filter(position__isnull=False).count()
    services.entries_seal()
    sealed = list(AuditEntry.objects.filter(id__in=[e.id for e in entries]).order_by("position"))
    assert [e.position for e in sealed] == list(range(before + 1, before + 1 + len(entries)))
    assert [e.action for e in sealed] == ["step_0", "step_1", "step_2"]
    assert sealed[1].previous_hash == sealed[0].entry_hash
    assert {e.hash_version for e in sealed} == {chain.VERSION}
    assert services.entries_seal() == 0
    assert selectors.chain_verify().is_intact


def test_a_changed_entry_is_found_at_its_position(entries):
    services.entries_seal()
    _tamper("UPDATE audit_auditentry SET actor_label = 'somebody else' WHERE action = 'step_1'")
    report = selectors.chain_verify()
    assert report.broken_position == AuditEntry.objects.get(action="step_1").position
    assert "changed after it was sealed" in report.detail


def test_a_removed_entry_is_found(entries):
    services.entries_seal()
    position = AuditEntry.objects.get(action="step_1").position
    _tamper("DELETE FROM audit_auditentry WHERE action = 'step_1'")
    report = selectors.chain_verify()
    assert (report.broken_position, report.is_intact) == (position, False)
    assert "is missing" in report.detail


def test_the_command_fails_on_a_broken_chain(entries, capsys):
    services.entries_seal()
    call_command("audit_verify", schema="t_alpha")
    assert "t_alpha: intact" in capsys.readouterr().out
    _tamper("UPDATE audit_auditentry SET comment = 'x' WHERE action = 'step_2'")
    with pytest.raises(CommandError, match="t_alpha"):
        call_command("audit_verify", schema="t_alpha")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_auditentry SET comment = 'better story'",
        "DELETE FROM audit_auditentry",
        "TRUNCATE audit_auditentry",
    ],
)
def test_the_trail_only_grows(entries, sql):
    with pytest.raises(IntegrityError, match="audit_sealed_once|kept|never emptied|Only the sealer"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)


def test_a_sealed_entry_cannot_be_sealed_again(entries):
    services.entries_seal()
    with pytest.raises(IntegrityError, match="Only the sealer"), transaction.atomic():
        AuditEntry.objects.filter(action="step_0").update(entry_hash="f" * 64)
