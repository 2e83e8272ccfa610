"""Put the message queue's functions and tables into the database, once."""

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand
from pgmq.install import install_pgmq_from_sql

# Two starts at once must not both install; the script cannot be run twice.
_LOCK = 7_342


class Command(BaseCommand):
    """Install the queue of the pgmq:// broker; other brokers need nothing."""

    help = "Install the pgmq queue in the broker's database, if it is the broker and is not there yet."

    def handle(self, *args: Any, **options: Any) -> None:
        """Install, or say why nothing is to be done."""
        if not settings.CELERY_BROKER_URL.startswith("pgmq://"):
            self.stdout.write("The broker is not pgmq://; nothing to install.")
            return
        with psycopg.connect(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["conn_string"])) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            is_there = connection.execute("SELECT to_regnamespace('pgmq') IS NOT NULL").fetchone()
            if is_there and is_there[0]:
                self.stdout.write("The queue is installed.")
                return
            version = install_pgmq_from_sql(conn=connection)
        self.stdout.write(f"Installed the queue, version {version}.")
