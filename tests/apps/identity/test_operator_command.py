"""The command that makes a platform operator."""

import io

import pytest
from django.core.management import CommandError, call_command

from apps.identity.models import Role, RoleGrant, User
from apps.tenancy import context
from tests.builders.identity import PASSWORD

pytestmark = pytest.mark.django_db


def _create(monkeypatch, email: str, password: str = PASSWORD) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    out = io.StringIO()
    call_command("operator_create", email, stdout=out)
    return out.getvalue()


def test_an_operator_lives_in_the_shared_schema(tenant, monkeypatch):
    """Signs in by password, has the one role, and is nobody in any tenant; the password is not printed."""
    printed = _create(monkeypatch, "Olga@House.Example")
    assert "olga@house.example" in printed
    assert PASSWORD not in printed
    assert not User.objects.exists()
    with context.shared_context():
        operator = User.objects.get(email="olga@house.example")
        assert (operator.is_staff, operator.check_password(PASSWORD)) == (True, True)
        assert list(RoleGrant.objects.filter(user=operator).values_list("role", flat=True)) == [Role.OPERATOR]
        assert operator.has_perm("staff.write")
        assert not operator.has_perm("invoices.finalize")


@pytest.mark.parametrize(
    ("email", "password", "said"), [("nobody", PASSWORD, "/email"), ("a@house.example", "password", "/password")]
)
def test_what_cannot_be_is_said_and_not_done(tenant, monkeypatch, email, password, said):
    """A sentence with the reason, and no half operator."""
    with pytest.raises(CommandError, match=said):
        _create(monkeypatch, email, password)
    with context.shared_context():
        assert not User.objects.filter(email=email).exists()


def test_twice_is_told(tenant, monkeypatch):
    """The second time names the address and changes nothing."""
    _create(monkeypatch, "twice@house.example")
    with pytest.raises(CommandError, match="twice@house.example already"):
        _create(monkeypatch, "twice@house.example", "another good long password")
    with context.shared_context():
        assert User.objects.get(email="twice@house.example").check_password(PASSWORD)
