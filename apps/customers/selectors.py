"""Read customers and test clocks."""

from datetime import datetime

from django.db.models import Q, QuerySet

from apps.common import ids
from apps.customers.errors import CustomerUnknown, TestClockUnknown
from apps.customers.models import Customer, TestClock


def customers_queryset() -> QuerySet[Customer]:
    """Return all customers with their clocks, newest first."""
    return Customer.objects.select_related("test_clock").order_by("-id")


def customer_by_reference(reference: str) -> Customer:
    """
    Return the customer with this public id or code of the caller.

    :raises CustomerUnknown: if there is none
    """
    try:
        match = Q(id=Customer.id_from_public(reference))
    except ids.IdInvalid:
        # No code reads like a public id, so the two ways to name a customer never meet.
        match = Q(external_id=reference)
    customer = customers_queryset().filter(match).first() if ids.is_searchable(reference) else None
    if customer is None:
        raise CustomerUnknown(f"There is no customer '{reference[:120]}'.", facts={"customer": reference[:120]})
    return customer


def customer_now(*, customer: Customer, at: datetime) -> datetime:
    """Return the time at which a customer lives: its test clock's, else `at`."""
    return customer.test_clock.now_at if customer.test_clock is not None else at


def test_clocks_queryset() -> QuerySet[TestClock]:
    """Return all test clocks, newest first."""
    return TestClock.objects.order_by("-id")


def test_clock_by_reference(reference: str) -> TestClock:
    """
    Return the test clock with this public id.

    :raises TestClockUnknown: if there is none
    """
    try:
        clock = TestClock.objects.filter(id=TestClock.id_from_public(reference)).first()
    except ids.IdInvalid:
        clock = None
    if clock is None:
        raise TestClockUnknown(f"There is no test clock '{reference[:120]}'.")
    return clock


# Not tests, whatever pytest thinks of their names.
test_clocks_queryset.__test__ = False  # type: ignore[attr-defined]
test_clock_by_reference.__test__ = False  # type: ignore[attr-defined]
