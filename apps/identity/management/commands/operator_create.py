"""`manage.py operator_create EMAIL`: let a person keep the platform, in the shared schema."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from apps.common import clock
from apps.common.actors import OPERATOR
from apps.common.errors import DomainError
from apps.identity import services
from apps.identity.models import Role
from apps.tenancy import context


class Command(BaseCommand):
    """Take in a platform operator; the password is asked for, or read as one line from a pipe."""

    help = "Let a person keep tenants, staff and keys. The password is asked for, never an argument: those are logged."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and the name."""
        parser.add_argument("email")
        parser.add_argument("--name", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """
        Make the operator.

        :raises CommandError: if the address is none or taken, or the password is too easy
        """
        password = _password()
        try:
            # Both or nothing: an operator without the role could sign in and would see an empty house.
            with context.shared_context(), transaction.atomic():
                user = services.user_create(
                    email=options["email"],
                    name=options["name"],
                    password=password,
                    is_staff=True,
                    actor=OPERATOR,
                    at=clock.now(),
                )
                services.role_grant(user=user, role=Role.OPERATOR, actor=OPERATOR, at=clock.now())
        except DomainError as error:
            reasons = "".join(f"\n  {problem.pointer}: {problem.detail}" for problem in error.problems)
            raise CommandError(f"{error.detail}{reasons}") from error
        self.stdout.write(f"{user.email} may sign in at /operators/.")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise CommandError("The two passwords differ; nothing was done.")
    return password
