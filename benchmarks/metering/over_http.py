"""Bars 2 to 6 and 15: the whole way over HTTP, two web workers, every guarantee of the product on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.metering.bench import Bench
from benchmarks.metering.ground import House
from benchmarks.metering.report import Figure, medians
from benchmarks.metering.sender import Sent
from benchmarks.metering.servers import Web
from benchmarks.metering.traffic import Batch, Traffic

# The measured peer's batch endpoint as a share of bare COPY, by batch size.
PEER = {100: 0.006, 1_000: 0.009}
WRITERS = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch size with its connections and its bar."""

    bar: str
    size: int
    connections: int
    must: float
    goal: float


CASES = (
    Case(bar="2", size=1_000, connections=8, must=0.25, goal=0.5),
    Case(bar="3", size=10_000, connections=8, must=0.33, goal=0.65),
    Case(bar="4", size=100, connections=16, must=0.12, goal=0.25),
)


@dataclass(kw_only=True)
class Taken:
    """What the repetitions of one case gave."""

    bare: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Return each repetition's ratio to the bare COPY of the same rows."""
        return [rate / bare for rate, bare in zip(self.rates, self.bare, strict=True)]

    def note(self) -> str:
        """Return the absolute figures."""
        slowest = max(self.sent, key=lambda sent: sent.milliseconds(99))
        typical = medians([sent.milliseconds(50) for sent in self.sent])
        return (
            f"{medians(self.rates)} events/s beside {medians(self.bare)} bare; "
            f"a request p50 {typical} ms, p99 {slowest.milliseconds(99):,.0f} ms"
        )


def measure(bench: Bench, *, bars: Sequence[str]) -> Iterator[Figure]:
    """Measure the cases whose bars are asked for; bars 5 and 15 need bars 2 and 4."""
    wanted = set(bars) | ({"2"} if {"5", "15"} & set(bars) else set()) | ({"4"} if "15" in bars else set())
    house = bench.house()
    taken: dict[str, Taken] = {case.bar: Taken() for case in CASES if case.bar in wanted}
    twice: list[float] = []
    with bench.web() as web:
        for _ in range(bench.amounts.repeats):
            for case in CASES:
                if case.bar in taken:
                    once(bench, web, house, case, taken[case.bar])
            if "5" in bars:
                twice.append(sent_twice(bench, web, house) / taken["2"].rates[-1])
        bench.ground.verify(house, is_deep=True)
        for case in CASES:
            if case.bar in bars:
                yield _figure(case, taken[case.bar])
        if "5" in bars:
            yield Figure(bar="5", what="every batch sent twice / once", ratios=twice, must=0.7, goal=1.0)
        if "15" in bars:
            yield from (_peer(size, taken[bar]) for size, bar in ((100, "4"), (1_000, "2")))
        if "single" in bars:
            yield singles(bench, web, house)
        if "6" in bars:
            yield one_customer(bench, web)


def _figure(case: Case, taken: Taken) -> Figure:
    what = f"HTTP, batches of {case.size:,}, {case.connections} connections / bare COPY"
    return Figure(bar=case.bar, what=what, ratios=taken.ratios, must=case.must, goal=case.goal, notes=[taken.note()])


def _peer(size: int, taken: Taken) -> Figure:
    what = f"times faster than the measured peer's {PEER[size]} of bare COPY, batch {size:,}"
    return Figure(bar="15", what=what, ratios=[ratio / PEER[size] for ratio in taken.ratios], must=30, goal=50)


def once(bench: Bench, web: Web, house: House, case: Case, taken: Taken) -> None:
    """Send fresh batches once, and measure the bare COPY of the same rows beside it."""
    size = min(case.size, bench.amounts.batch)
    events = bench.amounts.events if case.size >= 1_000 else bench.amounts.small_events
    batches = bench.traffic().batches(size=size, count=max(case.connections, events // size))
    taken.bare.append(bench.ground.bare_rate(batches))
    sent = bench.ground.post(house, web, batches, connections=case.connections)
    events = sum(batch.size for batch in batches)
    assert sent.accepted == events, (sent.accepted, events)
    taken.sent.append(sent)
    taken.rates.append(events / sent.seconds)
    bench.ground.verify(house)


def sent_twice(bench: Bench, web: Web, house: House) -> float:
    """Send each batch and then the same again, as a sender does who got no answer; return events a second sent."""
    connections = CASES[0].connections
    size = min(CASES[0].size, bench.amounts.batch)
    rounds = max(1, bench.amounts.events // size // connections)
    batches = bench.traffic().batches(size=size, count=rounds * connections)
    doubled: list[Batch] = []
    for start in range(0, len(batches), connections):
        # The second follows when about as many other requests are under way as there are connections.
        doubled += batches[start : start + connections] * 2
    sent = bench.ground.post(house, web, doubled, connections=connections)
    events = sum(batch.size for batch in batches)
    assert (sent.accepted, sent.duplicates) == (events, events), (sent.accepted, sent.duplicates, events)
    bench.ground.verify(house)
    return 2 * events / sent.seconds


def singles(bench: Bench, web: Web, house: House) -> Figure:
    """Send one event a request, one after the other, and the same on 16 connections."""
    count = bench.amounts.singles
    alone = bench.ground.post(house, web, bench.traffic().singles(count), connections=1, path="/api/v1/events")
    batches = bench.traffic().singles(count * 2)
    bare = bench.ground.bare_rate(batches)
    many = bench.ground.post(house, web, batches, connections=16, path="/api/v1/events")
    bench.ground.verify(house)
    return Figure(
        bar="",
        what="HTTP, one event a request, 16 connections / bare COPY",
        ratios=[count * 2 / many.seconds / bare],
        notes=[
            f"one connection: p50 {alone.milliseconds(50):.1f} ms, p99 {alone.milliseconds(99):.1f} ms, "
            f"{count / alone.seconds:,.0f} events/s",
            f"16 connections: p50 {many.milliseconds(50):.1f} ms, p99 {many.milliseconds(99):.1f} ms, "
            f"{count * 2 / many.seconds:,.0f} events/s",
        ],
    )


def one_customer(bench: Bench, web: Web) -> Figure:
    """Send the events of one customer, all on the same running totals, by one writer and by eight."""
    house = bench.house()
    heavy = Traffic(customers=house.customers[:1], event_type=house.event_type, seed=6)
    ratios, notes = [], []
    deadlocks = bench.ground.deadlocks()
    for _ in range(bench.amounts.repeats):
        rates = []
        for writers in (1, WRITERS):
            batches = heavy.batches(
                size=min(100, bench.amounts.batch), count=max(WRITERS, bench.amounts.small_events // 200)
            )
            sent = bench.ground.post(house, web, batches, connections=writers)
            rates.append(sum(batch.size for batch in batches) / sent.seconds)
        ratios.append(rates[1] / rates[0])
        notes = [f"one writer {rates[0]:,.0f} events/s, {WRITERS} writers {rates[1]:,.0f}"]
    bench.ground.verify(house, is_deep=True)
    broken = bench.ground.deadlocks() - deadlocks
    assert broken == 0, f"{broken} deadlocks"
    what = f"HTTP, {WRITERS} writers on one customer, batches of 100 / one writer; no deadlock"
    return Figure(bar="6", what=what, ratios=ratios, must=1.0, goal=1.3, notes=notes)
