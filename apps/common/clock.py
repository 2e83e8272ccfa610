"""The one place that reads the clock. Edges (views, tasks, commands) call it and pass `at` inward."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)
