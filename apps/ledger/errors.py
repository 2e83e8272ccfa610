"""Anticipated failures of booking."""

from apps.common.errors import Conflict


class AlreadyBooked(Conflict):
    """The same fact may not be booked twice."""

    code = "already_booked"
