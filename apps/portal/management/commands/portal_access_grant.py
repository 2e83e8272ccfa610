"""Let a person see a customer's portal pages."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.db import unit_of_work
from apps.common.errors import DomainError
from apps.customers import selectors as customer_selectors
from apps.identity import selectors as identity_selectors
from apps.identity import services as identity_services
from apps.identity.models import User
from apps.tenancy import context as tenancy_context


class Command(BaseCommand):
    """Take a person in if need be and connect them to a customer; run again it changes nothing."""

    help = "Let a person see a customer's portal pages; they sign in by a mailed link."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant's schema, the person's address and the customer's code."""
        parser.add_argument("schema_name", help="the tenant's schema, e.g. t_acme")
        parser.add_argument("email", help="where sign-in links are mailed to")
        parser.add_argument("customer", help="the customer's public id or your own code for it")
        parser.add_argument("--name", default="", help="the person's name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Grant access and say whose pages are open now."""
        try:
            with tenancy_context.tenant_context(schema_name=options["schema_name"]):
                customer_name, count = _access_grant(
                    email=options["email"].strip().lower(), name=options["name"], reference=options["customer"]
                )
        except (DomainError, tenancy_context.TenantUnknown) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{options['email']} sees {customer_name} ({count} customer{'' if count == 1 else 's'} in all)."
        )


@unit_of_work
def _access_grant(*, email: str, name: str, reference: str) -> tuple[str, int]:
    at = clock.now()
    customer = customer_selectors.customer_by_reference(reference)
    user = User.objects.filter(email=email).first()
    if user is None:
        user = identity_services.user_create(
            email=email, name=name, password=None, is_staff=False, actor=OPERATOR, at=at
        )
    identity_services.portal_membership_grant(user=user, customer_id=customer.id, actor=OPERATOR, at=at)
    return customer.name, len(identity_selectors.user_customer_ids(user=user))
