"""Anticipated failures: classes with stable codes that say what to do. They know nothing of HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with one field: where (JSON pointer), a stable code, and what to do about it."""

    pointer: str
    code: str
    detail: str


class DomainError(Exception):
    """
    A refusal that the caller can understand and act on; anything else is a bug.

    `code` is stable and documented; `kind` tells edges how to translate it (HTTP status, exit code).
    """

    code: ClassVar[str] = "domain_error"
    kind: ClassVar[str] = "refused"

    def __init__(
        self, detail: str, *, problems: tuple[FieldProblem, ...] = (), facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = problems
        self.facts = dict(facts or {})


class Invalid(DomainError):
    """The input cannot be accepted; `problems` name each field and the remedy."""

    code = "invalid"
    kind = "invalid"


class NotFound(DomainError):
    """What was named does not exist here."""

    code = "not_found"
    kind = "not_found"


class Conflict(DomainError):
    """The request contradicts what is already recorded."""

    code = "conflict"
    kind = "conflict"


class Forbidden(DomainError):
    """The actor may not do this."""

    code = "forbidden"
    kind = "forbidden"
