"""The command that lets a person see a customer's pages."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.identity.models import PortalMembership, User
from tests.builders import customers

pytestmark = pytest.mark.django_db


def _grant(*arguments):
    said = StringIO()
    call_command("portal_access_grant", *arguments, stdout=said)
    return said.getvalue()


def test_person_is_taken_in_and_connected_once(tenant):
    customer = customers.customer(external_id="acme", name="Acme Ltd")
    for _ in range(2):
        assert "Acme Ltd (1 customer in all)" in _grant("t_alpha", "Ada@Acme.example", "acme")
    user = User.objects.get(email="ada@acme.example")
    assert not user.is_staff
    assert not user.has_usable_password()
    assert PortalMembership.objects.filter(user=user, customer_id=customer.id).count() == 1


@pytest.mark.parametrize(
    ("schema_name", "customer"), [("t_nowhere", "acme"), ("t_alpha", "nobody"), ("public", "acme")]
)
def test_what_does_not_exist_is_named(tenant, schema_name, customer):
    with pytest.raises(CommandError):
        _grant(schema_name, "ada@acme.example", customer)
    assert not User.objects.filter(email="ada@acme.example").exists()
