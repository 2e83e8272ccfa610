"""Anticipated failures of the walk."""

from apps.common.errors import Invalid


class TooMuchDue(Invalid):
    """One call would have to do more than its bound allows."""

    code = "too_much_due"
