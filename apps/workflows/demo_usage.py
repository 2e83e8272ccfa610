"""What metering is there for, in the demo's last hours: limits, late and refused events, a loss, a correction, a proof.

All of it comes about as it would in earnest; the beat goes on from here.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apps.common.actors import OPERATOR, SCHEDULE
from apps.customers.models import Customer
from apps.entitlements import services as entitlement_services
from apps.entitlements.caps import CapInput
from apps.entitlements.models import CapKind
from apps.entitlements.services import EntitlementInput
from apps.identity import actors as identity_actors
from apps.identity import services as identity_services
from apps.identity.models import User
from apps.metering import corrections, following, proofs
from apps.metering import selectors as metering_selectors
from apps.metering.correction_documents import CorrectionKind, CorrectionReason
from apps.metering.corrections import CorrectionTerms
from apps.metering.models import UsageEvent, UsageWindow
from apps.subscriptions.models import Subscription
from apps.workflows import (
    access_checks,
    demo_changes,
    late_settlement,
    usage_corrections,
    usage_intake,
    usage_limits,
    usage_watch,
)
from apps.workflows.demo_catalogue import DemoCustomer, DemoTenant
from apps.workflows.usage_corrections import CorrectionOrder

Measure = Callable[[DemoCustomer], dict[str, Any]]

SOURCE: Final = "edge-1"
# The numbers that the edge never sent: 12 of 80, far above the limit of an alert.
NUMBERS: Final = range(1, 81)
LOST: Final = range(31, 43)
LATE_EVENTS: Final = 25
CORRECTED_EVENTS: Final = 3


def usage_show(*, demo: DemoTenant, people: list[DemoCustomer], measure: Measure, at: datetime) -> None:
    """
    Let the first customers of a tenant come to what the house does with usage that is not as it should be.

    :param measure: what an event of a customer says, as in the rest of the demo
    """
    first, second = people[0], people[1]
    _limits(first, second, demo=demo, at=at)
    _send(_numbered(first, measure, at=at), at=at)
    _send(_refused(first, measure, at=at), at=at)
    _send(_late([second, first], measure), at=at)
    _correction(first, demo=demo, at=at)
    # The first run reaches what is there, the second one processes it; then late usage is rated again.
    following.usage_follow(at=at)
    following.usage_follow(at=at)
    late_settlement.late_usage_settle_due(at=at)
    # A gap is a loss when the next look still finds it.
    usage_watch.sources_watch(actor=SCHEDULE, at=at)
    usage_watch.sources_watch(actor=SCHEDULE, at=at)
    proofs.usage_proof_make(usage_date=(at - timedelta(days=1)).date(), at=at)


def _limits(first: DemoCustomer, second: DemoCustomer, *, demo: DemoTenant, at: datetime) -> None:
    """Cap a customer by its own wish, refuse a feature, then grant it."""
    subscription = Subscription.objects.get(external_id=first.subscription_id)
    customer = subscription.customer
    # The same person that the demo's access lets into the portal.
    user = User.objects.filter(email=customer.email).first() or identity_services.user_create(
        email=customer.email, name=customer.name, password=None, is_staff=False, actor=OPERATOR, at=at
    )
    meter = metering_selectors.meter_by_reference(demo.meters[0]["code"])
    for kind, units in ((CapKind.ALERT, Decimal(200)), (CapKind.HARD, Decimal(100_000))):
        entitlement_services.cap_set(
            subscription=subscription,
            data=CapInput(meter=meter, kind=kind, cap_units=units),
            actor=identity_actors.actor_of_user(user),
            at=at,
        )
    usage_limits.usage_limits_make_due(at=at)
    guest = Customer.objects.get(external_id=second.external_id)
    access_checks.entitlement_check(customer_id=guest.id, feature_code="beta_reports", at=at)
    access_checks.entitlement_check(customer_id=guest.id, feature_code="projects", units=Decimal(26), at=at)
    entitlement_services.entitlement_grant(
        customer=guest,
        data=EntitlementInput(
            feature_code="projects",
            grant_key="order-1042",
            starts_at=at,
            extra_units=Decimal(10),
            comment="Ten projects more, agreed by phone",
        ),
        actor=demo_changes.staff_person(name="finance", demo=demo, at=at),
        at=at,
    )


def _numbered(person: DemoCustomer, measure: Measure, *, at: datetime) -> Iterable[dict[str, Any]]:
    """Tell a customer's events by a source that numbers them, and has lost some."""
    for number in NUMBERS:
        if number not in LOST:
            occurred_at = at - timedelta(hours=2) + timedelta(minutes=number)
            event = _event(person, f"{SOURCE}-{number}", occurred_at=occurred_at, source=SOURCE)
            yield {**event, **measure(person), "sequence": number}


def _refused(person: DemoCustomer, measure: Measure, *, at: datetime) -> Iterable[dict[str, Any]]:
    """Tell what cannot be counted, each for another reason, and what no meter counts."""
    now = at - timedelta(minutes=5)
    wrong = measure(person)
    yield {**_event(person, "stray-1", occurred_at=now), **measure(person), "customer": "nowhere"}
    yield {**_event(person, "stray-2", occurred_at=at - timedelta(days=900)), **measure(person)}
    yield {**_event(person, "stray-3", occurred_at=at + timedelta(days=2)), **measure(person)}
    yield {**_event(person, "stray-4", occurred_at=now), **wrong, "properties": dict.fromkeys(wrong["properties"], "?")}
    # An id that is known already, for another fact.
    used = {**_event(person, f"{SOURCE}-1", occurred_at=now, source=SOURCE), **measure(person)}
    yield used
    yield {**_event(person, "stray-5", occurred_at=now), "type": "page.viewed", "properties": {}}


def _late(people: Iterable[DemoCustomer], measure: Measure) -> Iterable[dict[str, Any]]:
    """Tell usage of a period whose document is final, of the first who has one."""
    for person in people:
        subscription = Subscription.objects.get(external_id=person.subscription_id)
        window = UsageWindow.objects.filter(subscription_id=subscription.id).order_by("-ends_at").first()
        if window is None:
            continue
        for number in range(LATE_EVENTS):
            occurred_at = window.ends_at - timedelta(hours=1) + timedelta(minutes=number)
            yield {**_event(person, f"{person.external_id}-late-{number}", occurred_at=occurred_at), **measure(person)}
        return


def _correction(person: DemoCustomer, *, demo: DemoTenant, at: datetime) -> None:
    """Ask to take events out that were sent twice under two ids; somebody else has to agree."""
    finance = demo_changes.staff_person(name="finance", demo=demo, at=at)
    corrections.correction_bound_set(
        events_max=1, units_max=Decimal(100), comment="More than one event needs a second person", actor=OPERATOR, at=at
    )
    customer = Customer.objects.get(external_id=person.external_id)
    doubled = UsageEvent.objects.filter(customer_id=customer.id, source=SOURCE).order_by("source_sequence")
    usage_corrections.correction_request(
        order=CorrectionOrder(
            terms=CorrectionTerms(
                kind=CorrectionKind.CANCEL,
                reason_code=CorrectionReason.DUPLICATE,
                comment="The edge sent these twice after its restart",
            ),
            events=[{"source": event.source, "id": event.event_id} for event in doubled[:CORRECTED_EVENTS]],
        ),
        actor=finance,
        at=at,
    )


def _event(
    person: DemoCustomer, event_id: str, *, occurred_at: datetime, source: str = "gateway-1"
) -> Mapping[str, Any]:
    return {"id": event_id, "source": source, "customer": person.external_id, "occurred_at": occurred_at.isoformat()}


def _send(events: Iterable[Mapping[str, Any]], *, at: datetime) -> None:
    if batch := list(events):
        body = json.dumps({"events": batch}).encode()
        usage_intake.batch_accept(body=body, actor=OPERATOR, at=at, mapping_source="")
