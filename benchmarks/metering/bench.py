"""What every case is given: the ground, the tenants built so far, one web server, and how much to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.metering import ground as grounds
from benchmarks.metering import servers
from benchmarks.metering.ground import Ground, House
from benchmarks.metering.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much each case does. What is small measures little, and shows that everything runs."""

    repeats: int = 3
    customers: int = 1_000
    events: int = 200_000
    small_events: int = 60_000
    singles: int = 2_000
    batch: int = 10_000
    present_events: int = 1_000_000
    tenants: tuple[int, ...] = (1, 10, 100)
    memory_events: int = 1_000_000


QUICK = Amounts(
    repeats=1,
    customers=100,
    events=20_000,
    small_events=5_000,
    singles=200,
    present_events=100_000,
    tenants=(1, 3),
    memory_events=100_000,
)


@dataclass(kw_only=True)
class Bench:
    """The ground with what was built on it."""

    ground: Ground
    amounts: Amounts
    houses: dict[str, House] = field(default_factory=dict)
    _streams: dict[str, Traffic] = field(default_factory=dict)

    def house(self, slug: str = "bench", *, customers: int | None = None) -> House:
        """Return a tenant, built when first asked for."""
        if slug not in self.houses:
            self.houses[slug] = grounds.house_build(slug=slug, customers=customers or self.amounts.customers)
        return self.houses[slug]

    def traffic(self, slug: str = "bench") -> Traffic:
        """Return the stream of events of a tenant; what it gives never repeats."""
        if slug not in self._streams:
            self._streams[slug] = Traffic(customers=self.house(slug).customers, event_type=self.house(slug).event_type)
        return self._streams[slug]

    @contextmanager
    def web(self, slug: str = "bench") -> Iterator[servers.Web]:
        """Run the web server, each thread connected and every customer known to both processes, as after a minute."""
        house, stream = self.house(slug), self.traffic(slug)
        with servers.web_running(local_dir=self.ground.local_dir, environ=self.ground.environ) as web:
            self.ground.post(house, web, stream.roll_calls(32), connections=16)
            yield web
