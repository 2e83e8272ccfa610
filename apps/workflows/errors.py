"""Anticipated failures of the walk."""

from apps.common.errors import Conflict, Invalid, NotFound


class TooMuchDue(Invalid):
    """One call would have to do more than its bound allows."""

    code = "too_much_due"


class BacktestInvalid(Invalid):
    """The question of a backtest cannot be answered; every problem is named with its place and remedy."""

    code = "backtest_invalid"


class PlanMigrationInvalid(Invalid):
    """Subscriptions cannot be moved as asked; every problem is named with its place and remedy."""

    code = "plan_migration_invalid"


class CommitmentMissing(NotFound):
    """The subscription has no commitment that runs."""

    code = "commitment_missing"


class ReratingRefused(Conflict):
    """A period cannot be rated again; the reason says what to do."""

    code = "rerating_refused"
