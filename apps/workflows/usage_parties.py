"""Who an event is about: customers and subscriptions by reference, remembered for a short while.

Only what was found is remembered, and what it says of itself never changes: a customer keeps its id, its code and its
clock, and rows are never deleted. A miss always goes to the database. Inside a larger transaction nothing is
remembered, because what it sees may be rolled back.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from django.db import connection

from apps.common import ids
from apps.customers.models import Customer
from apps.metering.usage_rows import UsageParty
from apps.subscriptions.models import Subscription
from apps.tenancy import context as tenancy_context

_SECONDS_MAX: Final = 60
_ENTRIES_MAX: Final = 100_000

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class CustomerParty:
    """A customer as an event needs it."""

    party: UsageParty
    test_clock_id: UUID | None

    @property
    def id(self) -> UUID:
        """Return the customer's id."""
        return self.party.customer_id


@dataclass(frozen=True, slots=True)
class SubscriptionParty:
    """A subscription as an event needs it, and whose it is."""

    party: UsageParty


_customers: dict[tuple[str, str], tuple[int, CustomerParty]] = {}
_subscriptions: dict[tuple[str, str], tuple[int, SubscriptionParty]] = {}


def customers_find(*, references: Collection[str]) -> dict[str, CustomerParty]:
    """Return the customers with these public ids or codes; references that nobody has are left out."""
    return _find(_customers, references, _customers_read)


def subscriptions_find(*, references: Collection[str]) -> dict[str, SubscriptionParty]:
    """Return the subscriptions with these public ids or codes; references that nobody has are left out."""
    return _find(_subscriptions, references, _subscriptions_read)


def _find(
    cache: dict[tuple[str, str], tuple[int, P]],
    references: Collection[str],
    read: Callable[[Collection[str]], dict[str, P]],
) -> dict[str, P]:
    if connection.in_atomic_block:
        return read(references) if references else {}
    schema_name, seconds = tenancy_context.current_schema(), time.monotonic_ns() // 10**9
    found: dict[str, P] = {}
    missing = []
    for reference in references:
        remembered = cache.get((schema_name, reference))
        if remembered is not None and seconds - remembered[0] < _SECONDS_MAX:
            found[reference] = remembered[1]
        else:
            missing.append(reference)
    if missing:
        fresh = read(missing)
        if len(cache) + len(fresh) > _ENTRIES_MAX:
            cache.clear()
        cache.update({(schema_name, reference): (seconds, party) for reference, party in fresh.items()})
        found.update(fresh)
    return found


def _customers_read(references: Collection[str]) -> dict[str, CustomerParty]:
    by_id = _public_ids(references, Customer.id_from_public)
    rows = [
        *Customer.objects.filter(id__in=by_id).values_list("id", "external_id", "test_clock_id"),
        *Customer.objects.filter(external_id__in=references).values_list("id", "external_id", "test_clock_id"),
    ]
    found: dict[str, CustomerParty] = {}
    for id_, external_id, clock_id in rows:
        party = CustomerParty(UsageParty.of(id_), clock_id)
        found.setdefault(external_id, party)
        if id_ in by_id:
            # Whoever has the id comes before one whose code only looks like it.
            found[by_id[id_]] = party
    return {reference: found[reference] for reference in references if reference in found}


def _subscriptions_read(references: Collection[str]) -> dict[str, SubscriptionParty]:
    by_id = _public_ids(references, Subscription.id_from_public)
    rows = [
        *Subscription.objects.filter(id__in=by_id).values_list("id", "external_id", "customer_id"),
        *Subscription.objects.filter(external_id__in=references).values_list("id", "external_id", "customer_id"),
    ]
    found: dict[str, SubscriptionParty] = {}
    for id_, external_id, customer_id in rows:
        party = SubscriptionParty(UsageParty.of(customer_id, id_))
        if external_id is not None:
            found.setdefault(external_id, party)
        if id_ in by_id:
            # Whoever has the id comes before one whose code only looks like it.
            found[by_id[id_]] = party
    return {reference: found[reference] for reference in references if reference in found}


def _public_ids(references: Iterable[str], read: Callable[[str], UUID]) -> dict[UUID, str]:
    by_id = {}
    for reference in references:
        try:
            by_id[read(reference)] = reference
        except ids.IdInvalid:
            continue
    return by_id
