"""Take lines from a socket's clients or from standard input, and acknowledge what is on the disk."""

import contextlib
import os
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .spool import Spool, SpoolFull, say

LINE_BYTES_MAX = 1024 * 1024
_ROUND_BYTES = 1024 * 1024
_READ_BYTES = 64 * 1024


@dataclass
class Peer:
    """Somebody who sends lines, and how many of them are safe."""

    read: Any
    reply: Any
    rest: bytes = b""
    is_skipping: bool = False
    taken: int = 0
    unsent: bytes = b""

    def lines(self, data: bytes) -> tuple[list[bytes], int]:
        """Return the whole lines that are there now, and how many lines that makes with those that hold nothing."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        count = len(whole)
        if self.is_skipping and whole:
            whole, self.is_skipping = whole[1:], False
        if len(self.rest) > LINE_BYTES_MAX:
            # Its beginning goes on as a line that is no event, and so is refused and kept.
            whole.append(self.rest[:1_000] + b" ... a line longer than a megabyte")
            self.is_skipping = True
        if self.is_skipping:
            self.rest = b""
        return [line.strip() for line in whole if line.strip()], count


class Receiver:
    """Takes lines from a socket's clients or from standard input, and acknowledges what is on the disk."""

    def __init__(self, spool: Spool, *, listen: str, is_acknowledged: bool) -> None:
        self.spool, self.is_acknowledged = spool, is_acknowledged
        # Not epoll, which refuses a plain file as standard input.
        self.selector = selectors.PollSelector()
        self.is_stopping = False
        self.listener = self._listener(listen) if listen else None
        if self.listener is None:
            peer = Peer(lambda: os.read(0, _READ_BYTES), lambda data: os.write(1, data))
            self.selector.register(0, selectors.EVENT_READ, peer)
        else:
            self.selector.register(self.listener, selectors.EVENT_READ)

    @staticmethod
    def _listener(listen: str) -> socket.socket:
        kind, _, address = listen.partition(":")
        if kind == "unix":
            # One of a collector that was killed; anything else in this place is not ours to remove.
            if Path(address).is_socket():
                Path(address).unlink()
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
        else:
            host, _, port = address.rpartition(":")
            listener = socket.create_server((host, int(port)))
        listener.listen()
        listener.setblocking(False)
        return listener

    def run(self) -> None:
        """Take lines until told to stop, or until standard input ends."""
        while not self.is_stopping:
            arrived: list[tuple[Peer, list[bytes], int]] = []
            size = 0
            for key, _mask in self.selector.select(timeout=0.2):
                if key.data is None:
                    self._welcome()
                elif size < _ROUND_BYTES:
                    size += self._take(key, arrived)
            lines = [line for _peer, whole, _count in arrived for line in whole]
            if lines and not self._keep(lines):
                return
            for peer, _whole, count in arrived:
                peer.taken += count
                self._acknowledge(peer)
            for key in list(self.selector.get_map().values()):
                if key.data is not None and key.data.unsent:
                    self._reply(key.data)
            if self.listener is None and not self.selector.get_map():
                return

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            client, _address = self.listener.accept()  # type: ignore[union-attr]
            client.setblocking(False)
            peer = Peer(lambda: client.recv(_READ_BYTES), client.send)
            self.selector.register(client, selectors.EVENT_READ, peer)

    def _take(self, key: selectors.SelectorKey, arrived: list[tuple[Peer, list[bytes], int]]) -> int:
        """Read what is there from a peer; return its size."""
        peer = key.data
        try:
            data = peer.read()
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            arrived.append((peer, *peer.lines(data)))
            return len(data)
        self.selector.unregister(key.fileobj)
        if isinstance(key.fileobj, socket.socket):
            # A line without its end was cut off on the way and never acknowledged.
            key.fileobj.close()
        elif peer.rest:
            arrived.append((peer, *peer.lines(b"\n")))
        return 0

    def _keep(self, lines: list[bytes]) -> bool:
        """Put lines into the spool, waiting for room if need be; false when the end was asked for first."""
        is_told = False
        while not self.is_stopping:
            try:
                self.spool.append(lines)
                return True
            except SpoolFull as full:
                if not is_told:
                    say(f"the spool is full ({full}); nothing is read until there is room")
                    is_told = True
                time.sleep(0.2)
        return False

    def _acknowledge(self, peer: Peer) -> None:
        if not (self.listener or self.is_acknowledged):
            return
        # The number counts up, so of two that wait the newer one says all; half of one is finished first.
        peer.unsent = peer.unsent.partition(b"\n")[0] + b"\n" if peer.unsent else b""
        peer.unsent += b"%d\n" % peer.taken
        self._reply(peer)

    @staticmethod
    def _reply(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.unsent = peer.unsent[peer.reply(peer.unsent) :]
