"""Run a management command with the settings of the product that runs here: `script/manage` ends up here."""

import os
import sys
from collections.abc import Mapping, Sequence

from script.lib import server
from script.lib.embedded_postgres import EmbeddedPostgres
from script.lib.postgres_binaries import PostgresUnavailable
from script.lib.supervisor import ServiceGaveUp


def command_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment `script/server` gives its processes.

    :raises ServiceGaveUp: if the embedded database is meant and does not run
    """
    settings = server.settings_read(environ)
    if not settings.is_database_ours:
        return server.child_environment(settings, environ, None)
    postgres = EmbeddedPostgres(settings.local_dir / "postgres", durable=True)
    if not postgres.answers():
        raise ServiceGaveUp(
            f"No database runs in {settings.local_dir}; start `script/server` first, or set DATABASE_URL."
        )
    return server.child_environment(settings, environ, postgres)


def main(arguments: Sequence[str]) -> None:
    """Replace this process by the management command, or end it with the reason why that is not possible."""
    os.chdir(server.ROOT)
    try:
        env = command_environment(os.environ)
    except (ServiceGaveUp, PostgresUnavailable) as error:
        sys.exit(str(error))
    os.execve(sys.executable, [sys.executable, "manage.py", *arguments], env)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
