"""Fill the demo tenants with a year of believable business, through the services and a test clock.

Nothing here writes a row: customers join, usage arrives (some of it twice, some of it late), the clock moves and the
house bills, collects and books as it would in earnest.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from apps.audit import services as audit_services
from apps.common.actors import OPERATOR
from apps.customers import services as customer_services
from apps.customers.inputs import CustomerInput
from apps.customers.models import TestClock
from apps.invoices import services as invoice_services
from apps.invoices.inputs import EntityProfile
from apps.invoices.models import TaxRegime
from apps.messaging import services as messaging_services
from apps.metering import services as metering_services
from apps.metering.inputs import MeterInput
from apps.payments import services as payment_services
from apps.plans import coupons
from apps.plans import services as plan_services
from apps.subscriptions.models import Subscription
from apps.taxes import services as tax_services
from apps.taxes.services import TaxRateInput
from apps.tenancy import context as tenancy_context
from apps.tenancy.models import Tenant
from apps.workflows import clocks, demo_catalogue, demo_changes, demo_usage, provisioning, subscribing, usage_intake
from apps.workflows.demo_catalogue import DemoCustomer, DemoTenant

MONTHS = 12
# Usage is told about every other day and may be a day old by then: together less than the grace, so that all of it
# is on the document of its period.
STEP_DAYS = 2
DELAY_DAYS_MAX = 1
GRACE_HOURS = 72
CLOCK_NAME = "Demo year"


def demo_provision(*, at: datetime, say: Callable[[str], None]) -> list[Tenant]:
    """Provision and fill each demo tenant once, telling how far it is; tenants that are there keep what they have."""
    tenants = []
    for demo in demo_catalogue.TENANTS:
        tenant = provisioning.tenant_provision(
            slug=demo.slug,
            name=demo.name,
            timezone=demo.timezone,
            domain=f"{demo.slug}.{settings.BASE_DOMAIN}",
            at=at,
        )
        with tenancy_context.tenant_context(schema_name=str(tenant.schema_name)):
            if not TestClock.objects.filter(name=CLOCK_NAME).exists():
                demo_fill(demo=demo, at=at, say=say)
        tenants.append(tenant)
    return tenants


def demo_fill(*, demo: DemoTenant, at: datetime, say: Callable[[str], None], months: int = MONTHS) -> None:
    """
    Live a tenant's last months and the running one up to `at`; the same tenant gives the same life each time.

    It begins on the first of a month, so that the periods running now are neither all new nor all over.
    """
    starts = [_month_before(at, months - number) for number in range(months + 1)]
    began_at = starts[0]
    catalogue_define(demo=demo, at=began_at)
    clock = customer_services.test_clock_create(name=CLOCK_NAME, now_at=began_at, actor=OPERATOR, at=at)
    dice = random.Random(demo.slug)  # noqa: S311  believable, not secret
    waiting = sorted(demo.customers, key=lambda c: (c.joins_month, c.join_day))
    active: list[DemoCustomer] = []
    for month, (month_starts_at, month_ends_at) in enumerate(zip(starts, [*starts[1:], at], strict=True)):
        while waiting and waiting[0].joins_month <= month:
            active.append(_join(waiting.pop(0), demo=demo, clock=clock, month_starts_at=month_starts_at))
        for day_starts_at in _days(month_starts_at, month_ends_at, step=STEP_DAYS):
            until = min(day_starts_at + timedelta(days=STEP_DAYS), month_ends_at)
            clocks.test_clock_advance(clock_id=clock.id, to=until, actor=OPERATOR, wall_at=at)
            _use(active, demo=demo, starts_at=day_starts_at, ends_at=until, at=until, dice=dice)
            demo_changes.changes_make(people=active, demo=demo, month=month, starts_at=day_starts_at, at=until)
        say(f"{demo.name}: month {month + 1} of {months + 1}")
    demo_usage.usage_show(demo=demo, people=active, measure=lambda person: _measured(person, demo, dice), at=at)
    _seal()


def catalogue_define(*, demo: DemoTenant, at: datetime) -> None:
    """Define what a demo tenant measures, sells and taxes, effective from `at`."""
    invoice_services.billing_entity_update(
        profile=EntityProfile(
            legal_name=demo.name,
            address=demo.address,
            country=demo.country,
            tax_id=demo.tax_id,
            tax_regime=TaxRegime.STATIC if demo.tax_rates else TaxRegime.NOT_REGISTERED,
            timezone=demo.timezone,
            grace_hours=GRACE_HOURS,
            footer="Thank you for your business. Every line of this invoice is explained in your portal.",
        ),
        actor=OPERATOR,
        at=at,
    )
    for country, name, percent in demo.tax_rates:
        tax_services.tax_rate_add(
            data=TaxRateInput(country=country, name=name, rate_percent=percent, valid_from_date=at.date()),
            actor=OPERATOR,
            at=at,
        )
    for meter in demo.meters:
        metering_services.meter_define(data=MeterInput(**meter), actor=OPERATOR, at=at)
    for coupon in demo.coupons:
        coupons.coupon_create(data=coupons.CouponInput(**coupon), actor=OPERATOR, at=at)
    for document in demo.plans:
        applied = plan_services.plan_document_apply(
            document={**document, "effective_at": at.isoformat()}, actor=OPERATOR, at=at
        )
        plan_services.plan_version_publish(
            plan_code=document["plan"], version=applied.version.version, actor=OPERATOR, at=at
        )


def _join(person: DemoCustomer, *, demo: DemoTenant, clock: TestClock, month_starts_at: datetime) -> DemoCustomer:
    day = min(person.join_day, 28) if month_starts_at.month == 2 else min(person.join_day, 30)
    starts_at = (month_starts_at.replace(day=1) + timedelta(days=day - 1)).replace(hour=9)
    starts_at = max(starts_at, clock.now_at)
    customer = customer_services.customer_create(
        data=CustomerInput(
            external_id=person.external_id,
            name=person.name,
            email=f"billing@{person.external_id}.example",
            currency=demo.currency,
            country=person.country,
            city=person.city,
            timezone=person.timezone,
            address_line1="1 Main Street",
            test_clock_id=clock.id,
        ),
        actor=OPERATOR,
        at=starts_at,
    )
    if person.token:
        payment_services.payment_method_attach(
            customer_id=customer.id, token=person.token, label=person.method_label, actor=OPERATOR, at=starts_at
        )
    agreed = subscribing.NewSubscription(
        plan_code=person.plan,
        starts_at=starts_at.astimezone(ZoneInfo(person.timezone)),
        external_id=person.subscription_id,
        coupon_codes=(person.coupon,) if person.coupon else (),
    )
    subscribing.subscribe(customer=customer, agreed=agreed, actor=OPERATOR, at=month_starts_at)
    return person


def _use(
    people: list[DemoCustomer],
    *,
    demo: DemoTenant,
    starts_at: datetime,
    ends_at: datetime,
    at: datetime,
    dice: random.Random,
) -> None:
    events = [event for person in people for event in _events(person, demo, starts_at, ends_at, dice)]
    if not events:
        return
    # Producers retry: a tenth of the events comes a second time and is counted once.
    repeated = dice.sample(events, k=len(events) // 10)
    for batch in (events, repeated):
        usage_intake.batch_accept(body=json.dumps({"events": batch}).encode(), actor=OPERATOR, at=at, mapping_source="")


def _events(
    person: DemoCustomer, demo: DemoTenant, starts_at: datetime, ends_at: datetime, dice: random.Random
) -> Iterator[dict[str, Any]]:
    subscription = Subscription.objects.get(external_id=person.subscription_id)
    if subscription.is_clock_stopped:
        return
    first_day_at = max(starts_at, subscription.starts_at)
    for day_at in _days(first_day_at, ends_at, step=1):
        for number in range(dice.randint(0, person.events_a_day * 2)):
            # One event in ten is told about late: the grace is made for them.
            delay = timedelta(days=DELAY_DAYS_MAX if dice.randrange(10) == 0 else 0)
            occurred_at = day_at - delay + timedelta(seconds=dice.randrange(86_400))
            if not first_day_at <= occurred_at < ends_at:
                continue
            yield {
                "id": f"{person.external_id}-{day_at:%Y%m%d}-{number}",
                "source": "gateway-1",
                "customer": person.external_id,
                "occurred_at": occurred_at.isoformat(),
                **_measured(person, demo, dice),
            }


def _measured(person: DemoCustomer, demo: DemoTenant, dice: random.Random) -> dict[str, Any]:
    if person.plan == "commerce":
        if dice.randrange(10) == 0:
            return {"type": "report.ordered", "properties": {}}
        return {"type": "payment.captured", "properties": {"amount": str(Decimal(dice.randrange(500, 20_000)) / 100)}}
    if demo.slug == "acme":
        return {
            "type": "http.request",
            "properties": {"bytes": str(dice.randrange(1_000_000, 900_000_000)), "region": dice.choice(("eu", "us"))},
        }
    if dice.randrange(20) == 0:
        return {"type": "seats.changed", "properties": {"seats": str(dice.randint(1, 9))}}
    return {"type": "job.finished", "properties": {"minutes": str(Decimal(dice.randrange(10, 900)) / 10)}}


def _days(starts_at: datetime, ends_at: datetime, *, step: int) -> Iterator[datetime]:
    day_at = starts_at
    while day_at < ends_at:
        yield day_at
        day_at += timedelta(days=step)


def _month_before(at: datetime, months: int) -> datetime:
    """Return the first instant of the month `months` before the one of `at`."""
    index = at.year * 12 + at.month - 1 - months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def _seal() -> None:
    while messaging_services.events_seal():
        continue
    while audit_services.entries_seal():
        continue
