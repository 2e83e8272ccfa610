"""Read plans, their terms and what they grant; price what somebody thinks of."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.common import ids
from apps.engine.charge_models import ChargeTerms, charge_from_document
from apps.metering.models import Meter
from apps.plans import cohorts, features
from apps.plans.errors import PlanUnknown, PlanVersionUnknown
from apps.plans.features import FeatureGrant
from apps.plans.models import Charge, Plan, PlanVersion, PlanVersionStatus


def plans_queryset() -> QuerySet[Plan]:
    """Return all plans with their versions, in the order of their codes."""
    return Plan.objects.prefetch_related("versions__cohort").order_by("code")


def plan_versions_queryset() -> QuerySet[PlanVersion]:
    """Return all versions with their plans, by plan and newest first."""
    return PlanVersion.objects.select_related("plan", "cohort").order_by("plan__code", "-version")


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


def plan_version_newest(*, plan_code: str) -> PlanVersion:
    """
    Return the version of a plan that was made last, draft or not.

    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if it has no version
    """
    plan = plan_by_reference(plan_code)
    newest = plan_versions_queryset().filter(plan=plan).first()
    if newest is None:
        raise PlanVersionUnknown(f"Plan '{plan.code}' has no version yet; apply a pricing document.")
    return newest


def plan_version_current(*, plan_code: str, at: datetime, customer_id: UUID | None = None) -> PlanVersion:
    """
    Return the version on sale at an instant: the published one that took effect last.

    A version ends the one before it when it takes effect. Retiring the last one takes the plan off sale; it does not
    bring the one before it back. A version for a cohort is on sale for its members only, and ends nothing for others;
    when it is retired, its members are offered what everybody is.

    :param customer_id: who asks; without it the version that is for everybody
    :raises PlanUnknown: if there is no such plan, or none of its versions is on sale then
    """
    plan = plan_by_reference(plan_code)
    audience = Q(cohort__isnull=True)
    effective = _effective_versions(plan.id).filter(effective_at__lte=at)
    if customer_id is not None and effective.filter(cohort__isnull=False).exists():
        is_running = Q(retired_at__isnull=True) | Q(retired_at__gt=at)
        audience |= Q(cohort__in=cohorts.cohorts_of(customer_id=customer_id)) & is_running
    version = effective.filter(audience).first()
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
    """
    Return when a version is on sale: from its effective date to the next one's, or to its retirement.

    The next one is for everybody, or for the same cohort; another cohort's ends nothing.
    """
    following = _effective_versions(version.plan_id).filter(effective_at__gt=version.effective_at)
    later = following.filter(Q(cohort__isnull=True) | Q(cohort=version.cohort_id)).last()
    ends = [moment for moment in (version.retired_at, later.effective_at if later else None) if moment is not None]
    return VersionWindow(effective_from_at=version.effective_at, effective_to_at=min(ends, default=None))


def versions_effective() -> QuerySet[PlanVersion]:
    """Return all versions that were ever on sale, or will be, by plan and the last to take effect first."""
    frozen = [PlanVersionStatus.PUBLISHED, PlanVersionStatus.RETIRED]
    return (
        PlanVersion.objects.filter(status__in=frozen)
        .select_related("plan", "cohort")
        .order_by("plan__code", "-effective_at", "-version")
    )


def _effective_versions(plan_id: UUID) -> QuerySet[PlanVersion]:
    return versions_effective().filter(plan_id=plan_id)


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
