"""Read plans, their terms and what they grant; price what somebody thinks of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.common import ids
from apps.common.errors import FieldProblem
from apps.engine.charge_models import ChargeTerms, charge_from_document
from apps.engine.errors import EngineError
from apps.engine.exact import Rounding
from apps.engine.money import parse_decimal, parse_rounding
from apps.engine.periods import Interval
from apps.metering.models import Meter
from apps.plans import features, pricing
from apps.plans.documents.problems import pointer_of, pointer_of_engine_path
from apps.plans.errors import EstimateInvalid, PlanUnknown, PlanVersionUnknown
from apps.plans.features import FeatureGrant
from apps.plans.models import Charge, Plan, PlanVersion, PlanVersionStatus

_ZERO = Decimal(0)


def plans_queryset() -> QuerySet[Plan]:
    """Return all plans with their versions, in the order of their codes."""
    return Plan.objects.prefetch_related("versions").order_by("code")


def plan_versions_queryset() -> QuerySet[PlanVersion]:
    """Return all versions with their plans, by plan and newest first."""
    return PlanVersion.objects.select_related("plan").order_by("plan__code", "-version")


def plan_by_reference(reference: str) -> Plan:
    """
    Return the plan with this public id or code.

    :raises PlanUnknown: if there is none
    """
    try:
        match = Q(id=Plan.id_from_public(reference))
    except ids.IdInvalid:
        match = Q(code=reference)
    plan = plans_queryset().filter(match).first() if ids.is_searchable(reference) else None
    if plan is None:
        raise PlanUnknown(f"There is no plan '{reference[:60]}'.")
    return plan


def plan_version_get(*, plan_code: str, version: int) -> PlanVersion:
    """
    Return one version of a plan.

    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if the plan has no such version
    """
    plan = plan_by_reference(plan_code)
    found = plan_versions_queryset().filter(plan=plan, version=version).first()
    if found is None:
        raise PlanVersionUnknown(f"Plan '{plan.code}' has no version {version}.")
    return found


def plan_version_current(*, plan_code: str, at: datetime) -> PlanVersion:
    """
    Return the version on sale at an instant: the published one that took effect last.

    A version ends the one before it when it takes effect. Retiring the last one takes the plan off sale; it does not
    bring the one before it back.

    :raises PlanUnknown: if there is no such plan, or none of its versions is on sale then
    """
    plan = plan_by_reference(plan_code)
    version = _effective_versions(plan.id).filter(effective_at__lte=at).first()
    if version is None:
        raise PlanUnknown(f"No version of plan '{plan.code}' is on sale at {at.isoformat()}; publish one first.")
    if version.retired_at is not None and version.retired_at <= at:
        raise PlanUnknown(
            f"Plan '{plan.code}' is off sale since {version.retired_at.isoformat()}, when version {version.version} "
            "was retired."
        )
    return version


@dataclass(frozen=True, slots=True)
class VersionWindow:
    """The half-open time in which a version is the one on sale; no end means until further notice."""

    effective_from_at: datetime
    effective_to_at: datetime | None


def plan_version_window(version: PlanVersion) -> VersionWindow:
    """Return when a version is on sale: from its effective date to the next one's, or to its retirement."""
    later = _effective_versions(version.plan_id).filter(effective_at__gt=version.effective_at).last()
    ends = [moment for moment in (version.retired_at, later.effective_at if later else None) if moment is not None]
    return VersionWindow(effective_from_at=version.effective_at, effective_to_at=min(ends, default=None))


def _effective_versions(plan_id: UUID) -> QuerySet[PlanVersion]:
    frozen = [PlanVersionStatus.PUBLISHED, PlanVersionStatus.RETIRED]
    return (
        PlanVersion.objects.filter(plan_id=plan_id, status__in=frozen)
        .select_related("plan")
        .order_by("-effective_at", "-version")
    )


def charges_of(version: PlanVersion) -> list[Charge]:
    """Return the charges of a version in order, the base fee first."""
    return list(version.charges.select_related("plan_version", "meter").order_by("position"))


def engine_terms(charge: Charge) -> ChargeTerms:
    """Return a charge as the engine reads it."""
    return charge_from_document(charge.terms, currency=charge.plan_version.currency, path=charge.code)


def feature_lookup(*, plan_version: PlanVersion, feature_code: str) -> FeatureGrant:
    """Return what a version grants for a feature: its own row, else the wildcard's, else nothing."""
    return features.feature_grant(plan_version=plan_version, feature_code=feature_code)


def meters_current() -> dict[str, Meter]:
    """Return the meters in use by code."""
    return {meter.code: meter for meter in Meter.objects.filter(retired_at__isnull=True).order_by("code")}


def plan_estimate(
    *, plan_code: str, usage: Mapping[str, Any], at: datetime, version: int | None = None
) -> dict[str, Any]:
    """
    Return what a whole period on a plan would cost before tax, each line explained; amounts are decimal strings.

    :param usage: units by meter code, as decimal strings; meters that are not named count zero
    :param version: any version, drafts included; without it the one on sale at `at`
    :raises PlanUnknown: if there is no such plan, or no version on sale
    :raises PlanVersionUnknown: if there is no such version
    :raises EstimateInvalid: naming each unit that cannot be priced
    """
    if version is None:
        found = plan_version_current(plan_code=plan_code, at=at)
    else:
        found = plan_version_get(plan_code=plan_code, version=version)
    offer = pricing.PricedOffer(
        code=found.plan.code,
        version=found.version,
        currency=found.currency,
        rounding=Rounding(found.rounding),
        interval=Interval(unit=found.interval_unit, count=found.interval_count),  # type: ignore[arg-type]
        charges=tuple(engine_terms(charge) for charge in charges_of(found)),
    )
    quantities = _quantities(usage, charged=pricing.meters_of(charges=offer.charges))
    return {"plan": {"code": offer.code, "version": offer.version}, **_priced(offer, quantities, at)}


def charge_estimate(
    *,
    charge: Mapping[str, Any],
    currency: str,
    units: object,
    at: datetime,
    rounding: str = Rounding.HALF_UP.value,
) -> dict[str, Any]:
    """
    Return what units on a charge that nobody stored would cost, explained; amounts are decimal strings, before tax.

    The charge is written as in a pricing document; code and meter may be missing.

    :param units: a decimal string; None for a charge that has no units
    :raises EstimateInvalid: naming what cannot be read or priced
    """
    problems: list[FieldProblem] = []
    terms, quantity, mode = None, _ZERO, Rounding.HALF_UP
    try:
        terms = charge_from_document(charge, currency=currency, path="charge", is_catalog=False)
    except EngineError as error:
        problems.append(_problem(pointer_of_engine_path(error.path), error))
    try:
        if units is not None or terms is None or terms.is_metered:
            quantity = parse_decimal(units, path="units", minimum=_ZERO)
    except EngineError as error:
        problems.append(_problem("/units", error))
    try:
        mode = parse_rounding(rounding, path="rounding")
    except EngineError as error:
        problems.append(_problem("/rounding", error))
    if problems or terms is None:
        raise _refused(problems)
    offer = pricing.PricedOffer(
        code="estimate", version=0, currency=currency, rounding=mode, interval=Interval(unit="month"), charges=(terms,)
    )
    return _priced(offer, {terms.meter or terms.code: quantity}, at)


def _priced(offer: pricing.PricedOffer, quantities: Mapping[str, Decimal], at: datetime) -> dict[str, Any]:
    try:
        return pricing.estimate_document(draft=pricing.offer_draft(offer=offer, quantities=quantities, at=at))
    except EngineError as error:
        raise _refused([_problem("/usage", error)]) from error


def _quantities(usage: Mapping[str, Any], *, charged: frozenset[str]) -> dict[str, Decimal]:
    quantities: dict[str, Decimal] = {}
    problems: list[FieldProblem] = []
    for code, units in usage.items():
        pointer = pointer_of(("usage", code))
        if code not in charged:
            detail = f"no charge of this plan is on that meter; it charges: {', '.join(sorted(charged)) or 'none'}"
            problems.append(FieldProblem(pointer, "meter_not_charged", detail))
            continue
        try:
            quantities[code] = parse_decimal(units, path=code, minimum=_ZERO)
        except EngineError as error:
            problems.append(_problem(pointer, error))
    if problems:
        raise _refused(problems)
    return quantities


def _problem(pointer: str, error: EngineError) -> FieldProblem:
    return FieldProblem(pointer=pointer, code=error.code, detail=error.detail)


def _refused(problems: list[FieldProblem]) -> EstimateInvalid:
    listed = "; ".join(f"{problem.pointer} {problem.detail}" for problem in problems)
    return EstimateInvalid(f"This cannot be priced: {listed}.", problems=tuple(problems))
