"""Write and read cohorts: some of the customers, for whom a plan version can be published before all of them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.engine.exact import decimal_text
from apps.plans.errors import CohortExists, CohortInvalid, CohortUnknown
from apps.plans.models import Cohort, CohortMember, PlanVersion

_PERCENT_MAX: Final = Decimal(100)
_PERCENT_DIGITS_MAX: Final = 2
_HASH_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortInput:
    """
    Who belongs to a cohort: the customers named, and those whose share of the experiment lies in the range.

    The range is half-open, [from, to). Cohorts that are to divide the customers name the same experiment; without one
    a cohort is an experiment of its own.
    """

    code: str
    name: str
    experiment: str = ""
    from_percent: Decimal | None = None
    to_percent: Decimal | None = None
    customers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who belongs to a cohort, read once and asked often."""

    cohort: Cohort
    named: frozenset[UUID]

    def __contains__(self, customer_id: UUID) -> bool:
        return customer_id in self.named or _is_in_range(self.cohort, customer_id)


@unit_of_work
def cohort_create(*, data: CohortInput, actor: Actor, at: datetime) -> Cohort:
    """
    Make a cohort with its first named members.

    :raises CohortInvalid: naming every field that is wrong, or the cohort of the experiment with the same customers
    :raises CohortExists: if the code is taken
    :raises CustomerUnknown: if one of the customers is not there
    """
    experiment = data.experiment or data.code
    # By name, because neither the cohort nor those it might overlap with need to exist yet.
    locks.advisory_lock(f"experiment:{experiment}")
    problems = _problems(data) or _overlaps(data, experiment)
    if problems:
        listed = "; ".join(f"{problem.pointer} {problem.detail}" for problem in problems)
        raise CohortInvalid(f"The cohort cannot be made: {listed}.", problems=tuple(problems))
    locks.advisory_lock(f"cohort:{data.code}")
    if Cohort.objects.filter(code=data.code).exists():
        raise CohortExists(f"There is a cohort '{data.code}' already; choose another code.")
    cohort = Cohort.objects.create(
        code=data.code,
        name=data.name,
        experiment=experiment,
        from_percent=data.from_percent,
        to_percent=data.to_percent,
    )
    after = {
        "code": cohort.code,
        "experiment": cohort.experiment,
        "from_percent": None if data.from_percent is None else decimal_text(data.from_percent),
        "to_percent": None if data.to_percent is None else decimal_text(data.to_percent),
    }
    audit_services.entry_write(entity=cohort, action="create", actor=actor, at=at, before={}, after=after)
    if data.customers:
        cohort_members_change(cohort_id=cohort.id, add=data.customers, remove=(), actor=actor, at=at)
    return cohort


@unit_of_work
def cohort_members_change(
    *, cohort_id: UUID, add: tuple[str, ...], remove: tuple[str, ...], actor: Actor, at: datetime
) -> Cohort:
    """
    Name customers as members, or name them no more, and return the cohort; who is there, or not, already stays so.

    Subscriptions keep the version that they are on. Removing does not touch who belongs by its share.

    :param add: ids or codes of customers
    :param remove: ids or codes of customers
    :raises CohortInvalid: if a customer is to be added and removed
    :raises CustomerUnknown: if one of the customers is not there
    """
    cohort = locks.get_for_update(Cohort, cohort_id)
    added, removed = ({_customer(reference).id for reference in references} for references in (add, remove))
    if added & removed:
        detail = "names a customer that is to be added, too; leave it out of one of the two"
        raise CohortInvalid(f"remove {detail}.", problems=(FieldProblem("/remove", "added_and_removed", detail),))
    present = set(CohortMember.objects.filter(cohort=cohort).values_list("customer_id", flat=True))
    joining, leaving = sorted(added - present), sorted(removed & present)
    CohortMember.objects.bulk_create(CohortMember(cohort=cohort, customer_id=each) for each in joining)
    CohortMember.objects.filter(cohort=cohort, customer_id__in=leaving).delete()
    if joining or leaving:
        change = {"added": _public(joining), "removed": _public(leaving)}
        audit_services.entry_write(entity=cohort, action="change_members", actor=actor, at=at, before={}, after=change)
    return cohort


def cohorts_queryset() -> QuerySet[Cohort]:
    """Return all cohorts with the customers named in them, newest first."""
    return Cohort.objects.prefetch_related("members__customer").order_by("-id")


def cohort_by_reference(reference: str) -> Cohort:
    """
    Return the cohort with this public id or code.

    :raises CohortUnknown: if there is none
    """
    try:
        match = Q(id=Cohort.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(code=reference)
    cohort = cohorts_queryset().filter(match).first() if ids.is_searchable(reference) else None
    if cohort is None:
        raise CohortUnknown(f"There is no cohort '{reference[:60]}'.", facts={"cohort": reference[:60]})
    return cohort


def membership_of(cohort: Cohort) -> Membership:
    """Return who belongs to a cohort."""
    named = CohortMember.objects.filter(cohort=cohort).values_list("customer_id", flat=True)
    return Membership(cohort=cohort, named=frozenset(named))


def cohorts_of(*, customer_id: UUID) -> frozenset[UUID]:
    """Return the cohorts that a customer belongs to."""
    candidates = Cohort.objects.filter(Q(members__customer_id=customer_id) | Q(to_percent__isnull=False)).distinct()
    named = set(CohortMember.objects.filter(customer_id=customer_id).values_list("cohort_id", flat=True))
    return frozenset(row.id for row in candidates if row.id in named or _is_in_range(row, customer_id))


def is_offered_to(*, version: PlanVersion, customer_id: UUID) -> bool:
    """Tell whether a version is for a customer: it is for everybody, or for a cohort that the customer belongs to."""
    return version.cohort is None or customer_id in membership_of(version.cohort)


def share_of(*, customer_id: UUID, experiment: str) -> Fraction:
    """
    Return a customer's place in an experiment, from 0 up to 100 percent: always the same, and evenly spread.

    A hash of both, so that it says nothing about the places in other experiments and needs no row.
    """
    digest = hashlib.sha256(f"{experiment}:{customer_id}".encode()).digest()
    return Fraction(100 * int.from_bytes(digest[:_HASH_BYTES]), 1 << 8 * _HASH_BYTES)


def _is_in_range(cohort: Cohort, customer_id: UUID) -> bool:
    if cohort.from_percent is None or cohort.to_percent is None:
        return False
    return cohort.from_percent <= share_of(customer_id=customer_id, experiment=cohort.experiment) < cohort.to_percent


def _customer(reference: str) -> Customer:
    return customer_selectors.customer_by_reference(reference)


def _public(customer_ids: list[UUID]) -> list[str]:
    return [ids.to_public(prefix=Customer.id_prefix, value=customer_id) for customer_id in customer_ids]


def _problems(data: CohortInput) -> list[FieldProblem]:
    problems = [
        FieldProblem(f"/{name}", "required", "must be text that is not empty")
        for name in ("code", "name")
        if not getattr(data, name).strip()
    ]
    if ids.looks_public(data.code):
        problems.append(FieldProblem("/code", "code_invalid", "reads like an id of ours; choose another code"))
    if (data.from_percent is None) != (data.to_percent is None):
        missing = "from_percent" if data.from_percent is None else "to_percent"
        detail = "is required with the other end of the range; leave both out of a cohort of named customers"
        problems.append(FieldProblem(f"/{missing}", "required", detail))
    for name in ("from_percent", "to_percent"):
        percent: Any = getattr(data, name)
        if percent is not None and not _is_percentage(percent):
            detail = f"must lie from 0 to 100, with at most {_PERCENT_DIGITS_MAX} digits behind the point"
            problems.append(FieldProblem(f"/{name}", "percent_invalid", detail))
    is_range = not problems and data.from_percent is not None and data.to_percent is not None
    if is_range and data.from_percent >= data.to_percent:  # type: ignore[operator]
        problems.append(FieldProblem("/to_percent", "range_empty", "must be above from_percent"))
    return problems


def _overlaps(data: CohortInput, experiment: str) -> list[FieldProblem]:
    """Return a problem for each cohort of the experiment that the range shares customers with."""
    if data.from_percent is None:
        return []
    others = Cohort.objects.filter(
        experiment=experiment, from_percent__lt=data.to_percent, to_percent__gt=data.from_percent
    )
    return [
        FieldProblem(
            "/from_percent",
            "range_taken",
            f"to to_percent overlaps with cohort '{other.code}', which has {decimal_text(other.from_percent)} to "
            f"{decimal_text(other.to_percent)} percent of experiment '{experiment}'; choose a free range, or another "
            "experiment",
        )
        for other in others
        if other.from_percent is not None and other.to_percent is not None
    ]


def _is_percentage(percent: Decimal) -> bool:
    if not percent.is_finite() or not 0 <= percent <= _PERCENT_MAX:
        return False
    return round(percent, _PERCENT_DIGITS_MAX) == percent
