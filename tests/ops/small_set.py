"""A supervised set small enough for a test: optional PostgreSQL, a service with children of its own, named by argument.

python -m tests.ops.small_set FOLDER family|postgres|falling|ordered
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from script.lib.embedded_postgres import EmbeddedPostgres
from script.lib.server import postgres_service
from script.lib.supervisor import Interrupted, Service, ServiceGaveUp, Supervisor

FOLDER = Path(sys.argv[1])


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def shell(supervisor: Supervisor, name: str, script: str) -> Service:
    log = FOLDER / f"{name}.log"

    def start() -> "subprocess.Popen[bytes]":
        return supervisor.launch(["/bin/sh", "-c", script], env=os.environ | {"FOLDER": str(FOLDER)}, log=log)

    return Service(name=name, start=start, log=log, stop_signal=signal.SIGTERM, stop_seconds=5)


def main(kind: str) -> int:
    with Supervisor(say=say, falls_max=3, backoff_seconds=0.1) as supervisor:
        try:
            if kind == "postgres":
                supervisor.add(postgres_service(EmbeddedPostgres(FOLDER / "pg", durable=True)))
            if kind in ("family", "postgres"):
                # Grandchildren, one of them deaf to polite signals.
                supervisor.add(
                    shell(supervisor, "family", 'cd "$FOLDER"; sleep 300 & (trap "" TERM; sleep 300) & wait')
                )
            elif kind == "falling":
                supervisor.add(shell(supervisor, "faller", "echo the reason is written here; exit 7"))
            elif kind == "ordered":
                for name in ("first", "second", "third"):
                    note = f'trap "echo {name} >> $FOLDER/order; exit 0" TERM; while :; do sleep 0.05; done'
                    supervisor.add(shell(supervisor, name, note))
            say("UP")
            supervisor.watch()
        except Interrupted:
            say("asked to end")
            return 0
        except ServiceGaveUp as error:
            say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2]))
