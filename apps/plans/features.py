"""
What a plan version grants, answered from memory.

The answer to "may he" is asked far more often than plans change. A version's features are kept for five minutes under a
key that names the tenant, the version and the hash of its document: a draft that is replaced is another key, a frozen
version cannot change, and what is wrong in the cache for any other reason is gone after the five minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.core.cache import cache

from apps.plans.documents.schema import WILDCARD
from apps.plans.models import Feature, PlanVersion

CACHE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGrant:
    """
    The answer for one feature.

    `limit_units` is None for a switch and where `is_unlimited`; only the latter means without limit. `matched` is the
    code that decided: the feature's own, the wildcard, or nothing at all.
    """

    is_granted: bool
    limit_units: Decimal | None = None
    is_unlimited: bool = False
    meter_code: str = ""
    on_exceed: str = ""
    matched: str = ""
    is_prorated: bool = False  # the limit shrinks with a period that is served in part


NOT_GRANTED: Final = FeatureGrant(is_granted=False)


def feature_grants(plan_version: PlanVersion) -> Mapping[str, FeatureGrant]:
    """Return what a version grants by feature code, the wildcard among them."""
    key = f"plan-features:{plan_version.id}:{plan_version.document_hash}"
    grants: Mapping[str, FeatureGrant] | None = cache.get(key)
    if grants is None:
        rows = Feature.objects.filter(plan_version=plan_version).select_related("meter").order_by("code")
        grants = {row.code: _grant(row) for row in rows}
        cache.set(key, grants, timeout=CACHE_SECONDS)
    return grants


def feature_grant(*, plan_version: PlanVersion, feature_code: str) -> FeatureGrant:
    """Return what a version grants for one feature: its own row, else the wildcard's, else nothing."""
    grants = feature_grants(plan_version)
    if feature_code == WILDCARD:
        return NOT_GRANTED  # the sign for "all others" is no feature that anybody could use
    return grants.get(feature_code) or grants.get(WILDCARD) or NOT_GRANTED


def _grant(row: Feature) -> FeatureGrant:
    return FeatureGrant(
        is_granted=row.is_granted,
        limit_units=row.limit_units,
        is_unlimited=row.is_unlimited,
        meter_code=row.meter.code if row.meter is not None else "",
        on_exceed=row.on_exceed,
        matched=row.code,
        is_prorated=row.is_prorated,
    )
