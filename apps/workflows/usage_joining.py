"""Work that waits at the same moment is written together: one commit for all of it, and one writer a process.

Whoever comes while another writes waits in line; when the writer is done, the first in line takes all that wait with it
and writes it in one go, and each of the others finds its answer there. Nothing is held back to wait for company: who
comes alone writes alone and at once. What cannot be written together is handed back, for each to write by itself.

Many small transactions on the totals of the same customers cost the database twice what few large ones do: versions of
a row cannot be cleared away while a neighbour is open (`benchmarks/metering`, bars 2 and 4).
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Seat(Generic[T, R]):
    item: T
    answer: R | None = None
    is_served: bool = False


@dataclass(slots=True)
class _Line(Generic[T, R]):
    writing: threading.Lock = field(default_factory=threading.Lock)
    guard: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[_Seat[T, R]] = field(default_factory=list)


class Joining(Generic[T, R]):
    """
    Lines of work, each by its name; what stands in one line is written together.

    :param write: writes some items in one go and returns the answer to each, or nothing if they have to go apart
    :param size: how large an item is
    :param size_max: how much is written in one go; a single item may be larger
    """

    def __init__(
        self, *, write: Callable[[Sequence[T]], Sequence[R] | None], size: Callable[[T], int], size_max: int
    ) -> None:
        self._write, self._size, self._size_max = write, size, size_max
        self._lines: dict[str, _Line[T, R]] = {}
        self._guard = threading.Lock()

    def join(self, *, line: str, item: T) -> R | None:
        """Return the answer to an item once it is written, alone or with others; nothing if it has to go by itself."""
        with self._guard:
            place = self._lines.setdefault(line, _Line())
        seat: _Seat[T, R] = _Seat(item)
        with place.guard:
            place.waiting.append(seat)
        with place.writing:
            # Whoever has the pen need not be the first in line, and must not leave while somebody may still write its
            # item: it writes for those before it until its own turn has come.
            while not seat.is_served:
                self._serve(self._take(place))
        return seat.answer

    def _take(self, place: _Line[T, R]) -> list[_Seat[T, R]]:
        """Take who waits longest, and who waits behind them while there is room."""
        with place.guard:
            taken, size = 1, self._size(place.waiting[0].item)
            while taken < len(place.waiting):
                size += self._size(place.waiting[taken].item)
                if size > self._size_max:
                    break
                taken += 1
            seats, place.waiting[:taken] = place.waiting[:taken], []
        return seats

    def _serve(self, seats: list[_Seat[T, R]]) -> None:
        answers: Sequence[R] | None = None
        try:
            answers = self._write([seat.item for seat in seats])
        except Exception:  # noqa: BLE001  each goes by itself now, and whose fault it was meets it again there
            log.warning("written apart", items=len(seats), exc_info=True)
        for number, seat in enumerate(seats):
            seat.answer = None if answers is None else answers[number]
            seat.is_served = True
