"""
Collect usage events where they happen and send them to a tenant. Standard library only: copy this folder anywhere.

    python3 -m usage_collect --url https://acme.example.com --key-file key --spool /var/spool/usage < events.jsonl
    python3 -m usage_collect ... --listen unix:/run/usage.sock      or      --listen tcp:127.0.0.1:9009

Events come as JSON lines. They are on the disk before they are acknowledged (a line with the number of lines taken so
far, to whoever sent them), and leave it when the server has answered for them. Batches of 1,000, or what has come in
5 seconds, are sent with the events' own ids until they are answered, so being killed, or a server that is away, loses
nothing and doubles nothing. What the server refuses is kept in `refused.jsonl` with its reason. A full spool stops
reading: senders wait.
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from .aggregating import PRECISIONS
from .receiving import Receiver
from .sending import Sender
from .spool import Spool, say

_MEGABYTE = 1024 * 1024
_MEGABYTES_MIN = 16


def arguments_read(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="usage_collect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="where the tenant is, e.g. https://acme.example.com")
    parser.add_argument("--key-file", required=True, type=Path, help="a file with an API key of scope events:write")
    parser.add_argument("--spool", required=True, type=Path, help="a folder of this collector alone")
    parser.add_argument("--listen", default="", help="unix:PATH or tcp:HOST:PORT; standard input without it")
    parser.add_argument("--acknowledge", action="store_true", help="acknowledge standard input on standard output")
    parser.add_argument("--mapping", default="", help="let the server read the events by this source's mapping")
    parser.add_argument("--batch-events", type=int, default=1_000)
    parser.add_argument("--batch-seconds", type=float, default=5.0)
    parser.add_argument("--spool-megabytes-max", type=int, default=1_024)
    parser.add_argument("--host", default="", help="the Host header, when the URL names an address")
    parser.add_argument("--aggregate", choices=PRECISIONS, help="put alike events of one second, minute, hour together")
    parser.add_argument("--weight-property", default="events", help="with --aggregate: the property with their number")
    options = parser.parse_args(arguments)
    if options.spool_megabytes_max < _MEGABYTES_MIN:
        parser.error(f"--spool-megabytes-max is at least {_MEGABYTES_MIN}")
    if not 1 <= options.batch_events <= 10_000:
        parser.error("--batch-events is 1 to 10000, as many as the server takes at once")
    return options


def main() -> int:
    """Collect until told to end."""
    options = arguments_read()
    spool = Spool(options.spool, bytes_max=options.spool_megabytes_max * _MEGABYTE)
    sender = Sender(spool, options)
    receiver = Receiver(spool, listen=options.listen, is_acknowledged=options.acknowledge)

    def stop(_number: int, _frame: object) -> None:
        receiver.is_stopping = True
        sender.is_stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    def send() -> None:
        try:
            sender.run()
        finally:
            # Nobody may go on collecting when nothing is sent any more.
            receiver.is_stopping = True

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    receiver.run()
    sender.is_draining.set()
    while thread.is_alive() and not sender.is_stopping.is_set():
        thread.join(0.2)
    thread.join(2)
    if spool.pending:
        say(f"{spool.pending} events wait in {spool.folder}; the next start sends them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
