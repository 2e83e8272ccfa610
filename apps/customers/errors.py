"""Anticipated failures of customers and test clocks."""

from apps.common.errors import Conflict, Invalid, NotFound


class CustomerInvalid(Invalid):
    """The profile cannot be accepted; each field that is wrong is named with its remedy."""

    code = "customer_invalid"


class CustomerExists(Conflict):
    """The caller's code is taken by a customer that is here already."""

    code = "customer_exists"


class CustomerUnknown(NotFound):
    """No customer has this id or code."""

    code = "customer_unknown"


class TestClockInvalid(Invalid):
    """The clock's name or time cannot be accepted."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    code = "test_clock_invalid"


class TestClockUnknown(NotFound):
    """No test clock has this id."""

    __test__ = False
    code = "test_clock_unknown"


class ClockMovesBack(Conflict):
    """A test clock only goes forward: what happened at a later time cannot be unhappened."""

    code = "clock_moves_back"
