"""django-tenants' command with django-pgtrigger's autodetector, which the two cannot agree on by themselves.

Both packages replace `migrate`; Django's check commands.E001 refuses differing autodetectors, so the command in the
first installed app wins and carries the one of `makemigrations`.
"""

from django.core.management.commands import makemigrations
from django_tenants.management.commands.migrate_schemas import MigrateSchemasCommand


class Command(MigrateSchemasCommand):
    """Migrate the shared schema and every tenant."""

    autodetector = makemigrations.Command.autodetector
