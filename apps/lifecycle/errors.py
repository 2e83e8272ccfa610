"""Anticipated failures of status changes."""

from apps.common.errors import Conflict


class TransitionRefused(Conflict):
    """The machine has no such edge from the present status."""

    code = "transition_refused"
