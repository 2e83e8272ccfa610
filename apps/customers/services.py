"""Write customers and test clocks."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db import models

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers import profile_checks
from apps.customers.errors import (
    ClockMovesBack,
    CustomerExists,
    CustomerInvalid,
    CustomerUnknown,
    TestClockInvalid,
    TestClockUnknown,
)
from apps.customers.inputs import CustomerInput
from apps.customers.models import Customer, TestClock
from apps.messaging import services as messaging_services

__all__ = ["CustomerInput", "customer_create", "customer_update", "test_clock_create", "test_clock_move"]

# What documents, events and books were written with; a change would make them say something else.
_FIXED: Final[Mapping[str, str]] = {
    "external_id": "events and callers find the customer by it",
    "currency": "plans, invoices and books of the customer are kept in it",
    "test_clock_id": "its usage and documents are dated by it",
}


@unit_of_work
def customer_create(*, data: CustomerInput, actor: Actor, at: datetime) -> Customer:
    """
    Take in a customer, and return it.

    :raises CustomerInvalid: naming every field that cannot be accepted
    :raises CustomerExists: if the caller's code is taken
    """
    values = asdict(data)
    clock_id = values.pop("test_clock_id")
    accepted, problems = profile_checks.profile_check(values=values)
    if clock_id is not None and not TestClock.objects.filter(id=clock_id).exists():
        detail = "There is no such test clock; create one first, or leave it out."
        problems += (FieldProblem(pointer="/test_clock", code="test_clock_unknown", detail=detail),)
    _refuse_if(problems)
    # The code is locked by name, because a row that is not there yet cannot be: who comes second waits, then sees it.
    locks.advisory_lock(f"customer:{accepted['external_id']}")
    taken = Customer.objects.filter(external_id=accepted["external_id"]).first()
    if taken is not None:
        raise CustomerExists(
            f"There is a customer '{taken.external_id}' already: {taken.public_id}. Use it, or choose another code.",
            facts={"customer": taken.public_id, "external_id": taken.external_id},
        )
    customer = Customer.objects.create(**accepted, test_clock_id=clock_id)
    _record(customer, action="create", actor=actor, at=at, before={}, after=_profile(customer), verb="created")
    return customer


@unit_of_work
def customer_update(*, customer_id: UUID, changes: Mapping[str, Any], actor: Actor, at: datetime) -> Customer:
    """
    Change a customer's profile as of now, and return the customer; issued documents keep what they printed.

    Values that are the present ones change nothing and leave no trace.

    :raises CustomerUnknown: if there is no such customer
    :raises CustomerInvalid: naming every field that is unknown, fixed, or cannot be accepted
    """
    locked = locks.get_many_for_update(Customer, [customer_id])
    if not locked:
        raise CustomerUnknown(f"There is no customer with the id {customer_id}.")
    customer = locked[0]
    known = {name: value for name, value in changes.items() if name in profile_checks.CHECKS and name not in _FIXED}
    accepted, problems = profile_checks.profile_check(values=known)
    _refuse_if((*_refused_names(customer, changes), *problems))
    before = {name: getattr(customer, name) for name, value in accepted.items() if getattr(customer, name) != value}
    if not before:
        return customer
    for name in before:
        setattr(customer, name, accepted[name])
    customer.save(update_fields=list(before))
    after = {name: accepted[name] for name in before}
    _record(customer, action="update", actor=actor, at=at, before=before, after=after, verb="updated")
    return customer


@unit_of_work
def test_clock_create(*, name: str, now_at: datetime, actor: Actor, at: datetime) -> TestClock:
    """
    Make a clock that stands at `now_at`, and return it.

    :raises TestClockInvalid: if the name is missing or the time has no offset
    """
    problems: list[FieldProblem] = []
    try:
        name = profile_checks.text_check(name, length_max=100, is_required=True)
    except ValueError as error:
        problems.append(FieldProblem(pointer="/name", code="name_invalid", detail=str(error)))
    if now_at.tzinfo is None:
        detail = 'has no offset and so is not an instant; write it like "2026-01-31T00:00:00Z"'
        problems.append(FieldProblem(pointer="/now", code="time_without_offset", detail=detail))
    if problems:
        raise TestClockInvalid(_summary("test clock", tuple(problems)), problems=tuple(problems))
    clock = TestClock.objects.create(name=name, now_at=now_at.astimezone(UTC))
    after = {"name": clock.name, "now_at": clock.now_at.isoformat()}
    _record(clock, action="create", actor=actor, at=at, before={}, after=after, verb="created")
    return clock


@unit_of_work
def test_clock_move(*, clock_id: UUID, to: datetime, actor: Actor) -> TestClock:
    """
    Set a clock to a later time, and return it; what falls due on the way is the workflow's business.

    The trail is dated by the clock itself: that is when its customers lived through it.

    :raises TestClockUnknown: if there is no such clock
    :raises TestClockInvalid: if the time has no offset
    :raises ClockMovesBack: if `to` lies before the clock's time
    """
    locked = locks.get_many_for_update(TestClock, [clock_id])
    if not locked:
        raise TestClockUnknown(f"There is no test clock with the id {clock_id}.")
    clock = locked[0]
    if to.tzinfo is None:
        detail = 'has no offset and so is not an instant; write it like "2026-01-31T00:00:00Z"'
        problem = FieldProblem(pointer="/to", code="time_without_offset", detail=detail)
        raise TestClockInvalid(_summary("test clock", (problem,)), problems=(problem,))
    if to < clock.now_at:
        raise ClockMovesBack(
            f"The clock '{clock.name}' stands at {clock.now_at.isoformat()} and cannot go back to {to.isoformat()}; "
            "make a new clock and new customers on it instead.",
            facts={"now": clock.now_at.isoformat(), "to": to.isoformat()},
        )
    if to == clock.now_at:
        return clock
    before = {"now_at": clock.now_at.isoformat()}
    clock.now_at = to.astimezone(UTC)
    clock.save(update_fields=["now_at"])
    after = {"now_at": clock.now_at.isoformat()}
    _record(clock, action="move", actor=actor, at=clock.now_at, before=before, after=after, verb="moved")
    return clock


# Not tests, whatever pytest thinks of their names.
test_clock_create.__test__ = False  # type: ignore[attr-defined]
test_clock_move.__test__ = False  # type: ignore[attr-defined]


def _refused_names(customer: Customer, changes: Mapping[str, Any]) -> list[FieldProblem]:
    problems = []
    for name, value in changes.items():
        if name in _FIXED:
            if value != getattr(customer, name):
                detail = f"cannot change: {_FIXED[name]}; create a new customer instead"
                problems.append(FieldProblem(pointer=f"/{name}", code="fixed", detail=detail))
        elif name not in profile_checks.CHECKS:
            known = ", ".join(sorted(profile_checks.CHECKS.keys() - _FIXED.keys()))
            detail = f"is not a field of a customer; remove it or use one of {known}"
            problems.append(FieldProblem(pointer=f"/{name}", code="unknown_field", detail=detail))
    return problems


def _refuse_if(problems: tuple[FieldProblem, ...]) -> None:
    if problems:
        raise CustomerInvalid(_summary("customer", problems), problems=problems)


def _summary(noun: str, problems: tuple[FieldProblem, ...]) -> str:
    listed = "; ".join(f"{problem.pointer.lstrip('/')} {problem.detail}" for problem in problems)
    return f"The {noun} cannot be accepted: {listed}."


def _profile(customer: Customer) -> dict[str, Any]:
    clock = {"test_clock": customer.test_clock.public_id} if customer.test_clock is not None else {}
    return {name: getattr(customer, name) for name in profile_checks.CHECKS} | clock


def _record(
    entity: Customer | TestClock,
    *,
    action: str,
    actor: Actor,
    at: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    verb: str,
) -> None:
    """Write the trail and the news of one change; the news names what changed and never carries personal data."""
    audit_services.entry_write(entity=entity, action=action, actor=actor, at=at, before=before, after=after)
    kind: type[models.Model] = type(entity)
    noun = "customer" if isinstance(entity, Customer) else "test_clock"
    messaging_services.event_publish(
        topic=f"customers.{noun}.{verb}",
        aggregate_type=kind._meta.label_lower,
        aggregate_id=entity.id,
        payload={"id": entity.public_id, "fields": sorted(after)},
        actor=actor,
        at=at,
    )
