"""The request id that follows one request through replies, log lines, audit entries and messages."""

from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """Return the id of the request or task being served, or an empty string outside of one."""
    return _request_id.get()


def request_id_set(value: str) -> None:
    """Remember the id of the request or task that begins."""
    _request_id.set(value)
