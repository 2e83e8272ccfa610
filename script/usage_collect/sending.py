"""Send what is in the spool until the server has answered for it."""

import argparse
import contextlib
import http.client
import json
import random
import threading
from typing import Any
from urllib.parse import quote, urlsplit

from .aggregating import Item, aggregated, event_of
from .spool import Place, Spool, say

_ANSWER_SECONDS_MAX = 60
_PAUSE_SECONDS_MAX = 60.0
# The body is not what the server takes; smaller parts of it may be.
_UNREADABLE = (400, 413, 422)


class Stopped(Exception):
    """Somebody asked for the end; what was not answered stays in the spool."""


class Sender:
    """Sends what is in the spool until the server has answered for it."""

    def __init__(self, spool: Spool, options: argparse.Namespace) -> None:
        self.spool, self.options = spool, options
        self.url = urlsplit(options.url)
        mapping = f"?mapping={quote(options.mapping)}" if options.mapping else ""
        self.path = f"{self.url.path.rstrip('/')}/api/v1/events/batch{mapping}"
        self.key = options.key_file.read_text().strip()
        self.is_stopping = threading.Event()
        self.is_draining = threading.Event()
        self.connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Send batches until told to stop, or until all is sent when no more comes."""
        with contextlib.suppress(Stopped):
            while self._wait_for_batch():
                try:
                    self._send_batch()
                except OSError as error:
                    # The disk: nothing is forgotten, so the batch is sent again and found to be there.
                    say(f"{self.spool.folder}: {error.strerror}; trying again")
                    self.is_stopping.wait(1)

    def _send_batch(self) -> None:
        lines, after = self.spool.read(events_max=self.options.batch_events)
        if self.options.aggregate and self.spool.until is None:
            self.spool.plan(after)
        self._deliver(lines)
        self.spool.forget(count=len(lines), after=after)

    def _wait_for_batch(self) -> bool:
        """Return when there is a full batch or one that has waited enough; false when all is sent and none comes."""
        options, spool = self.options, self.spool
        with spool.changed:
            while not self.is_stopping.is_set():
                is_due = spool.waited() >= options.batch_seconds or self.is_draining.is_set()
                if spool.pending >= options.batch_events or (spool.pending and is_due):
                    return True
                if self.is_draining.is_set():
                    return False
                spool.changed.wait(timeout=0.1)
        return False

    def _deliver(self, lines: list[tuple[Place, bytes]]) -> None:
        refused: list[dict[str, Any]] = []
        items = []
        for place, raw in lines:
            try:
                event_of(raw)
                items.append(Item(raw, [place]))
            except ValueError as error:
                refused.append(self._record(Item(raw, [place]), "invalid_line", f"{error}; send one JSON object."))
        if self.options.aggregate:
            weight_name = self.options.weight_property
            items, reused = aggregated(items, precision=self.options.aggregate, weight_name=weight_name)
            refused += [self._record(item, "id_reused", "Its id stands for another event.") for item in reused]
        parts = [items] if items else []
        while parts:
            part = parts.pop()
            status, answer = self._answered(part)
            if status not in _UNREADABLE:
                refused += [
                    self._record(part[r["index"]], r["code"], r["detail"])
                    for r in answer["results"]
                    if r["status"] != "duplicate"
                ]
            elif len(part) == 1:
                refused.append(self._record(part[0], str(answer.get("code", status)), str(answer.get("detail", ""))))
            else:
                # One event spoils the body: halves find out which.
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
        if refused:
            self.spool.refuse(refused)
            say(f"{len(refused)} events were refused; they are in {self.spool.folder / 'refused.jsonl'}")

    @staticmethod
    def _record(item: Item, code: str, detail: str) -> dict[str, Any]:
        text = item.raw.decode(errors="backslashreplace")
        return {"places": item.places, "code": code, "detail": detail, "event": text}

    def _answered(self, part: list[Item]) -> tuple[int, dict[str, Any]]:
        """Send a body, again and again, until there is an answer that says what became of it."""
        body = b'{"events":[' + b",".join(item.raw for item in part) + b"]}"
        pause = 0.25
        while not self.is_stopping.is_set():
            wait = None
            try:
                status, headers, content = self._post(body)
                # A proxy that finds the body too long does not speak JSON.
                answer = {} if status == 413 and not content.startswith(b"{") else json.loads(content)
                if status in _UNREADABLE:
                    return status, answer
                counts = ("accepted", "duplicates", "conflicts", "rejected")
                if status in (200, 207) and sum(answer[name] for name in counts) == len(part):
                    return status, answer
                reason = f"the server answered {status}: {str(answer.get('detail', ''))[:200]}"
                if (headers.get("Retry-After") or "").isdecimal():
                    wait = float(min(int(headers["Retry-After"]), 300))
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
                self._disconnect()
                reason = f"no answer to be had ({type(error).__name__}: {error})"
            # Never all collectors at once: each waits for a time of its own.
            wait = wait if wait is not None else random.uniform(pause / 2, pause)  # noqa: S311  no secret
            say(f"{reason}; {self.spool.pending} events wait, trying again in {wait:.1f} s")
            self.is_stopping.wait(wait)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)
        raise Stopped

    def _post(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        if self.connection is None:
            kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
            self.connection = kind(self.url.hostname or "", self.url.port, timeout=_ANSWER_SECONDS_MAX)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if self.options.host:
            headers["Host"] = self.options.host
        self.connection.request("POST", self.path, body, headers)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def _disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
