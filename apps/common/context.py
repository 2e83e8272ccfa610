"""The request id that follows one request through replies, log lines, audit entries and messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """Return the id of the request or task being served, or an empty string outside of one."""
    return _request_id.get()


@contextmanager
def request_scope(value: str) -> Iterator[None]:
    """Give a block an id of its own and take it back afterwards: the next job must not write under this one's."""
    token = _request_id.set(value)
    try:
        yield
    finally:
        _request_id.reset(token)


def request_id_set(value: str) -> None:
    """Remember the id of the request or task that begins."""
    _request_id.set(value)
