"""Reach subscriptions, drafts and invoices through the services, never by writing a status."""

from datetime import UTC, datetime

from apps.common.actors import OPERATOR
from apps.customers.models import Customer, TestClock
from apps.invoices.models import Invoice
from apps.payments import services as payment_services
from apps.payments.models import PaymentMethod
from apps.subscriptions import services
from apps.subscriptions.models import Subscription
from apps.workflows import clocks

START = datetime(2026, 1, 1, tzinfo=UTC)


def subscription(*, customer: Customer, plan_code: str, starts_at: datetime = START, **overrides) -> Subscription:
    """Subscribe a customer; active at once when the start has come by the customer's clock."""
    clock = customer.test_clock
    at = overrides.pop("at", clock.now_at if clock else starts_at)
    return services.subscription_create(
        customer=customer, plan_code=plan_code, starts_at=starts_at, actor=OPERATOR, at=at, **overrides
    )


def payment_method(*, customer: Customer, token: str = "tok_approve", at: datetime = START) -> PaymentMethod:
    """Attach a sandbox method whose token chooses what happens."""
    return payment_services.payment_method_attach(
        customer_id=customer.id, token=token, label=f"Test {token}", actor=OPERATOR, at=at
    )


def advance(clock: TestClock, to: datetime) -> None:
    """Move a test clock and do what falls due; the wall clock plays no part."""
    clocks.test_clock_advance(clock_id=clock.id, to=to, actor=OPERATOR, wall_at=to)
    clock.refresh_from_db()


def invoices_of(customer: Customer) -> list[Invoice]:
    """Return a customer's invoices, oldest first."""
    return list(Invoice.objects.filter(customer=customer).order_by("id"))
