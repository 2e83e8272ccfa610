"""The routes of version 1 as the URL table names them, for tests that go over all of them."""

import re
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern

from apps.api import urls
from apps.api.base import ApiView

# What a path's parts are filled with when a test only wants to reach the view: nothing that exists.
_ARGUMENTS = {"int": "1", "str": "missing"}
# Open to everybody on purpose: what the API looks like, and what is not there.
PUBLIC = ("openapi.json", "docs/", ".*")


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    pattern: str
    method: str
    view: type[ApiView]

    @property
    def path(self) -> str:
        """Return a path that reaches the view and names nothing that exists."""
        return re.sub(r"<(\w+):\w+>", lambda found: _ARGUMENTS[found.group(1)], self.pattern)

    @property
    def scope(self) -> str:
        """Return the scope that the table asks for."""
        return str(self.view.scopes[self.method])

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"


def views() -> list[tuple[str, Any]]:
    """Return (path, view class) of everything that is not open to everybody."""
    patterns = [entry for entry in urls.urlpatterns if isinstance(entry, URLPattern)]
    found = [(str(entry.pattern), getattr(entry.callback, "cls", None)) for entry in patterns]
    return [(pattern, view) for pattern, view in found if pattern not in PUBLIC]


def routes() -> list[Route]:
    """Return every method of every path."""
    return [
        Route(pattern=pattern, method=method, view=view)
        for pattern, view in views()
        if view is not None
        for method in sorted(view.scopes)
    ]
