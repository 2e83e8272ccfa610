"""Reach customers and test clocks through the services."""

import itertools
from datetime import UTC, datetime

from apps.common.actors import OPERATOR
from apps.customers import services
from apps.customers.inputs import CustomerInput
from apps.customers.models import Customer, TestClock

JOINED = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


def customer_input(**overrides) -> CustomerInput:
    """Return the profile of a customer who can be billed; `test_clock` takes the row."""
    number = next(_numbers)
    clock = overrides.pop("test_clock", None)
    profile = {
        "external_id": f"customer-{number}",
        "name": f"Customer {number} Ltd",
        "email": f"billing@customer-{number}.example",
        "address_line1": "1 Main Street",
        "city": "Springfield",
        "postal_code": "12345",
        "country": "US",
        "test_clock_id": clock.id if clock else None,
    }
    return CustomerInput(**(profile | overrides))


def customer(*, at: datetime = JOINED, **overrides) -> Customer:
    """Take in a customer; `test_clock` takes the row."""
    return services.customer_create(data=customer_input(**overrides), actor=OPERATOR, at=at)


def test_clock(*, now_at: datetime = JOINED, name: str = "January") -> TestClock:  # noqa: PT028  # not a test
    """Make a test clock."""
    return services.test_clock_create(name=name, now_at=now_at, actor=OPERATOR, at=now_at)


test_clock.__test__ = False  # not a test, whatever pytest thinks of its name


def update(customer: Customer, *, at: datetime = JOINED, **changes) -> Customer:
    """Change a customer's profile as of now."""
    return services.customer_update(customer_id=customer.id, changes=changes, actor=OPERATOR, at=at)
