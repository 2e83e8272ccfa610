"""The load generator: one light process, any number of kept connections, requests made beforehand."""

import multiprocessing
import re
import selectors
import socket
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_COUNTS = re.compile(rb'"accepted":(\d+),"duplicates":(\d+),"conflicts":(\d+),"rejected":(\d+)')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SECONDS_MAX = 300.0


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a tenant takes events in."""

    port: int
    host: str
    secret: str

    def request(self, body: bytes, *, path: str = "/api/v1/events/batch") -> bytes:
        """Return a whole request as it goes over the wire."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(kw_only=True)
class Sent:
    """What came of some requests."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0

    def milliseconds(self, share: int) -> float:
        """Return the latency that this percentage of the requests kept within."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[share - 1] * 1000


class _Line:
    """One connection: what it has to send, what it waits for."""

    def __init__(self, port: int, waiting: deque[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.waiting = waiting
        self.out = memoryview(b"")
        self.answer = bytearray()
        self.began = 0.0

    def next(self) -> bool:
        """Take up the next request of all that wait; return whether there is one."""
        if not self.waiting:
            return False
        self.out, self.answer = memoryview(self.waiting.popleft()), bytearray()
        self.began = time.perf_counter()
        return True

    def push(self) -> bool:
        """Send what the socket takes; return whether all of the request is out."""
        try:
            self.out = self.out[self.socket.send(self.out) :]
        except BlockingIOError:
            return False
        return not self.out

    def pull(self) -> bytes | None:
        """Read what is there; return the answer once it is whole."""
        got = self.socket.recv(262_144)
        if not got:
            raise RuntimeError(f"The server closed the connection: {bytes(self.answer[:500])!r}")
        self.answer += got
        end = self.answer.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = _LENGTH.search(self.answer, 0, end)
        if length is None:
            raise RuntimeError(f"An answer without a length: {bytes(self.answer[:500])!r}")
        return bytes(self.answer) if len(self.answer) >= end + 4 + int(length[1]) else None


def send(*, port: int, requests: Sequence[bytes], connections: int) -> Sent:
    """
    Send requests over kept connections, each with one request in flight, from a process of its own.

    Whichever connection is free takes the next request, as a pool does; so a web worker that happened to get fewer of
    the connections is kept as busy as the other.
    """
    context = multiprocessing.get_context("fork")
    receiver, teller = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(port, requests, connections, teller), daemon=True)
    process.start()
    teller.close()
    try:
        result = receiver.recv() if receiver.poll(_SECONDS_MAX) else RuntimeError("The sender does not end.")
    except EOFError:
        result = RuntimeError("The sender died.")
    if isinstance(result, Exception):
        process.terminate()
    process.join()
    if isinstance(result, Exception):
        raise result
    return result


def _run(port: int, requests: Sequence[bytes], connections: int, teller: Any) -> None:
    try:
        waiting = deque(requests)
        teller.send(_exchange([_Line(port, waiting) for _ in range(min(connections, len(requests)))]))
    except Exception as error:  # noqa: BLE001  told to the process that waits
        teller.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _exchange(lines: list[_Line]) -> Sent:
    sent, open_lines = Sent(), len(lines)
    with selectors.DefaultSelector() as selector:
        began = time.perf_counter()
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
            line.next()
            _push(selector, line)
        while open_lines:
            for key, ready in selector.select():
                line = key.data
                if ready & selectors.EVENT_WRITE:
                    _push(selector, line)
                if not ready & selectors.EVENT_READ:
                    continue
                answer = line.pull()
                if answer is None:
                    continue
                _judge(sent, answer, time.perf_counter() - line.began)
                if line.next():
                    _push(selector, line)
                else:
                    selector.unregister(line.socket)
                    open_lines -= 1
        sent.seconds = time.perf_counter() - began
    return sent


def _push(selector: selectors.BaseSelector, line: _Line) -> None:
    wanted = selectors.EVENT_READ if line.push() else selectors.EVENT_READ | selectors.EVENT_WRITE
    if selector.get_key(line.socket).events != wanted:
        selector.modify(line.socket, wanted, line)


def _judge(sent: Sent, answer: bytes, seconds: float) -> None:
    counts = _COUNTS.search(answer)
    if counts is None:
        raise RuntimeError(f"Refused: {answer[:600]!r}")
    accepted, duplicates, conflicts, rejected = (int(count) for count in counts.groups())
    sent.accepted += accepted
    sent.duplicates += duplicates
    sent.refused += conflicts + rejected
    sent.latencies.append(seconds)
