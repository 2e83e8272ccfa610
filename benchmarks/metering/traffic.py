"""Events as producers send them: time-ordered ids, a few busy customers and many quiet ones, three properties each."""

import itertools
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# How steeply use falls from the first customer to the thousandth: a batch of 100, 1,000, 10,000 events is of about 43,
# 207 and 690 customers, so with two meters it touches about 86, 414 and 1,380 running totals.
_STEEPNESS = 1.25
_REGIONS = ("eu-central", "eu-west", "us-east", "us-west")
_PER_MILLISECOND = 1
COPIED_AT_ONCE = 10_000

BARE_COLUMNS = """
event_key uuid, source text, event_id text, type text, customer_id uuid, subscription_id uuid, occurred_at timestamptz,
received_at timestamptz, quantity numeric, properties jsonb, mapping_version smallint, batch_position smallint
"""


@dataclass(frozen=True, kw_only=True)
class Customer:
    """Whom an event is about: the code that producers know, and the id that is stored."""

    code: str
    id: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some events as one request's body, and the same rows as a bare table would take them."""

    size: int
    body: bytes
    rows: tuple[str, ...]


class Traffic:
    """A stream of events, one a millisecond of its own time, that begins three hours ago and never repeats an id."""

    def __init__(self, *, customers: Sequence[Customer], seed: int = 1, event_type: str) -> None:
        self.customers = customers
        self.event_type = event_type
        self._random = random.Random(seed)  # noqa: S311  nothing is kept secret by it
        self._weights = list(itertools.accumulate(1 / rank**_STEEPNESS for rank in range(1, len(customers) + 1)))
        self._millisecond = (time.time_ns() // 10**6) - 3 * 60 * 60 * 1000

    def batches(self, *, size: int, count: int) -> list[Batch]:
        """Return the next events in batches of one size."""
        return [self.batch(size) for _ in range(count)]

    def roll_calls(self, count: int) -> list[Batch]:
        """Return batches in each of which every customer has one event: after them a process knows them all."""
        return [self._batch_of(self.customers) for _ in range(count)]

    def batch(self, size: int) -> Batch:
        """Return the next events as one batch."""
        return self._batch_of(self._random.choices(self.customers, cum_weights=self._weights, k=size))

    def _batch_of(self, customers: Sequence[Customer]) -> Batch:
        chance = self._random
        documents, rows = [], []
        for position, customer in enumerate(customers):
            self._millisecond += _PER_MILLISECOND
            event_id = uuid7_text(self._millisecond, chance.getrandbits(74))
            occurred_at = instant_text(self._millisecond)
            source = f"gateway-{position % 4}"
            properties = (
                f'{{"bytes":"{chance.randrange(100, 9_100)}","region":"{chance.choice(_REGIONS)}","status":"200"}}'
            )
            documents.append(
                f'{{"id":"{event_id}","source":"{source}","type":"{self.event_type}","customer":"{customer.code}",'
                f'"occurred_at":"{occurred_at}","properties":{properties}}}'
            )
            rows.append(
                f"{event_id}\t{source}\t{event_id}\t{self.event_type}\t{customer.id}\t\\N\t{occurred_at}\t{occurred_at}"
                f"\t\\N\t{properties}\t0\t{position}\n"
            )
        body = f'{{"events":[{",".join(documents)}]}}'.encode()
        return Batch(size=len(customers), body=body, rows=tuple(rows))

    def singles(self, count: int) -> list[Batch]:
        """Return the next events each as a body of its own, for the door that takes one."""
        bodies = []
        for _ in range(count):
            batch = self.batch(1)
            document = json.dumps(json.loads(batch.body)["events"][0]).encode()
            bodies.append(Batch(size=1, body=document, rows=batch.rows))
        return bodies


def uuid7_text(millisecond: int, chance: int) -> str:
    """Return a UUIDv7 of a millisecond and 74 bits of chance."""
    number = millisecond << 80 | 7 << 76 | (chance >> 62) << 64 | 2 << 62 | (chance & (1 << 62) - 1)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def instant_text(millisecond: int) -> str:
    """Return a millisecond since 1970 as RFC 3339."""
    instant = datetime.fromtimestamp(millisecond // 1000, tz=UTC) + timedelta(milliseconds=millisecond % 1000)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{millisecond % 1000:03d}Z"


def rows_in_blocks(batches: Sequence[Batch]) -> list[str]:
    """Return the rows of some batches as the text of COPY, 10,000 rows a block."""
    rows = [row for batch in batches for row in batch.rows]
    return ["".join(rows[start : start + COPIED_AT_ONCE]) for start in range(0, len(rows), COPIED_AT_ONCE)]
