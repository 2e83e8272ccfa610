"""Anticipated failures of messaging."""

from apps.common.errors import Conflict


class MessageNotDead(Conflict):
    """Only dead messages are requeued by hand."""

    code = "message_not_dead"
