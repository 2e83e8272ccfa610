"""
Follow the events: whatever is not needed within the accepting request is done here, once for every event.

A run processes what became visible since the last one, told by transaction snapshots (ADR 0016), in one transaction
with moving its cursor. A run that is killed leaves nothing and is repeated; of two at once the second waits for the
first. Nothing is processed before all transactions have ended that ran when the cursor reached it: a document that was
made final beside the event is then there, and whatever it did not see is found to be late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from apps.common import ids, locks
from apps.common.db import fetch_all, unit_of_work
from apps.metering import following_sql, late_usage_sql, sources_sql
from apps.metering.models import UsageFollower


@dataclass(frozen=True, slots=True)
class FollowStep:
    """
    A statement that each run executes once, and what it does with the new events.

    It selects them by `following_sql.is_new`, whose parameters `%(done)s` and `%(reached)s` it is given; `%(at)s` is
    when the run takes place. Steps run in their order and see what those before them wrote.
    """

    name: str
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowResult:
    """Whether the follower went on, and how many rows each step wrote."""

    has_moved: bool
    written: Mapping[str, int]


STEPS: tuple[FollowStep, ...] = (
    FollowStep("wait for who settles late usage", late_usage_sql.LATE_LOCK),
    FollowStep("find late usage", late_usage_sql.FIND_LATE),
    FollowStep("find late cancellations", late_usage_sql.FIND_CANCELLED),
    FollowStep("mark customers with new usage", following_sql.MARK_CUSTOMERS),
    FollowStep("fold sources", sources_sql.FOLD_SOURCES),
    FollowStep("count what no meter counts", sources_sql.COUNT_UNMATCHED),
)


@unit_of_work
def usage_follow(*, at: datetime) -> FollowResult:
    """
    Process what is new since the last run, if everything has ended that ran when it was reached.

    :raises django.db.OperationalError: if another run does not end within LOCK_WAIT_MS_MAX
    """
    cursor = _cursor_lock()
    snapshots: dict[str, Any] = {"done": cursor.done_snapshot, "reached": cursor.reached_snapshot, "at": at}
    ((has_ended,),) = fetch_all(following_sql.HAS_ENDED, snapshots)
    if not has_ended:
        return FollowResult(has_moved=False, written={})
    written = {step.name: _run(step, snapshots) for step in STEPS}
    ((now_snapshot,),) = fetch_all(following_sql.CURRENT)
    cursor.done_snapshot, cursor.reached_snapshot, cursor.moved_at = cursor.reached_snapshot, now_snapshot, at
    cursor.save(update_fields=["done_snapshot", "reached_snapshot", "moved_at"])
    return FollowResult(has_moved=True, written=written)


def _cursor_lock() -> UsageFollower:
    fetch_all(following_sql.CURSOR_CREATE, {"id": ids.new_id(), "nothing": following_sql.NOTHING_SEEN})
    (cursor_id,) = UsageFollower.objects.values_list("id", flat=True)
    return locks.get_for_update(UsageFollower, cursor_id)


def _run(step: FollowStep, snapshots: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(step.statement, snapshots)
        return int(cursor.rowcount)
