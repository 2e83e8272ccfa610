"""A small tenant that has lived: what people look at in the back office and the portal."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.test import Client

from apps.common.actors import OPERATOR
from apps.customers.models import Customer, TestClock
from apps.identity import services as identity_services
from apps.identity.models import Role, User
from apps.invoices.models import Invoice, InvoiceKind
from apps.subscriptions.models import Subscription
from tests.builders import customers, metering, plans, subscriptions
from tests.builders.subscriptions import START

HOST = "alpha.localhost"
PASSWORD = "correct horse battery staple"
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 10, tzinfo=UTC)

CHARGES = [
    {
        "code": "api_calls",
        "description": "API calls",
        "meter": "api_calls",
        "unit": "calls",
        "model": "graduated",
        "tiers": [{"up_to": "10", "unit_rate": "1.00"}, {"up_to": None, "unit_rate": "0.50"}],
    }
]


@dataclass(frozen=True)
class House:
    """A customer on a test clock with a paid January and a running February."""

    clock: TestClock
    customer: Customer
    subscription: Subscription

    @property
    def invoice(self) -> Invoice:
        """Return the invoice of January's usage."""
        return Invoice.objects.get(customer=self.customer, kind=InvoiceKind.CYCLE, status__in=["OPEN", "PAID"])


def house(*, name: str = "acme", token: str = "tok_approve", until: datetime = NOW, **overrides) -> House:
    """Live from January to February: 25 calls in January (17.50 over the ladder), 3 in February."""
    if not plans.selectors.plans_queryset().filter(code="growth").exists():
        metering.meter(code="api_calls", name="API calls", event_type="api.call", unit_name="calls")
        plans.published_plan(code="growth", base_fee="99.00", charges=CHARGES)
    clock = customers.test_clock(now_at=START, name=f"Clock of {name}")
    profile = {"external_id": name, "name": f"{name.title()} Ltd", "email": f"ada@{name}.example"} | overrides
    customer = customers.customer(test_clock=clock, **profile)
    if token:
        subscriptions.payment_method(customer=customer, token=token)
    subscription = subscriptions.subscription(customer=customer, plan_code="growth")
    # Events may not lie in the future of whom they are about, so the clock goes first.
    subscriptions.advance(clock, datetime(2026, 1, 11, tzinfo=UTC))
    used(name, 25, datetime(2026, 1, 10, 12, tzinfo=UTC))
    subscriptions.advance(clock, until)
    if until >= NOW:
        used(name, 3, datetime(2026, 2, 3, 12, tzinfo=UTC))
    clock.refresh_from_db()
    customer.refresh_from_db()
    return House(clock=clock, customer=customer, subscription=subscription)


def used(name: str, count: int, occurred_at: datetime) -> None:
    """Send usage events of a customer."""
    metering.events(
        customer=name,
        event_type="api.call",
        count=count,
        occurred_at=occurred_at,
        prefix=f"{name}-{occurred_at:%m%d}",
        at=occurred_at,
    )


def staff(*roles: Role, email: str = "finance@alpha.example") -> User:
    """Take in a member of staff with these roles."""
    user = identity_services.user_create(
        email=email, name="Finance", password=PASSWORD, is_staff=True, actor=OPERATOR, at=START
    )
    for role in roles:
        identity_services.role_grant(user=user, role=role, actor=OPERATOR, at=START)
    return user


def portal_user(customer: Customer, *, email: str = "") -> User:
    """Take in a person of a customer, with access to its portal pages."""
    user = identity_services.user_create(
        email=email or customer.email, name="Ada", password=None, is_staff=False, actor=OPERATOR, at=START
    )
    identity_services.portal_membership_grant(user=user, customer_id=customer.id, actor=OPERATOR, at=START)
    return user


def browser(user: User | None = None, *, host: str = HOST) -> Client:
    """Return a client on a tenant's host, signed in as a person."""
    client = Client(HTTP_HOST=host)
    if user is not None:
        client.force_login(user, backend="apps.identity.backends.RoleBackend")
    return client
