"""The price book: everything on sale at an instant, resolved, with one tag for all of it (S104)."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Q

from apps.customers import selectors as customer_selectors
from apps.engine.hashing import canonical_hash, instant_text
from apps.plans import cohorts
from apps.plans.models import PlanVersion
from apps.plans.selectors import VersionWindow, versions_effective

# Golden examples prove a version; they are no terms of it.
_NOT_TERMS = ("examples", "effective_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The terms on sale, and a tag that is equal exactly while they are."""

    entries: tuple[dict[str, Any], ...]
    tag: str


def price_book(*, at: datetime, customer: str | None = None) -> PriceBook:
    """
    Return every version on sale at an instant with its terms and features, plans in the order of their codes.

    :param customer: id or code of who is offered it, with what is for its cohorts; without it, what is for everybody
    :raises CustomerUnknown: if there is no such customer
    """
    audience = Q(cohort__isnull=True)
    if customer is not None:
        customer_id = customer_selectors.customer_by_reference(customer).id
        audience |= Q(cohort__in=cohorts.cohorts_of(customer_id=customer_id))
    entries = []
    for _plan, versions in groupby(versions_effective().filter(audience), key=lambda version: version.plan_id):
        found = _on_sale([version for version in versions if not _is_called_off(version, at)], at)
        if found is not None:
            entries.append(_entry(*found))
    facts = [[entry["plan"], entry["version"], entry["document_hash"], entry["effective_to_at"]] for entry in entries]
    return PriceBook(entries=tuple(entries), tag=canonical_hash(facts))


def _is_called_off(version: PlanVersion, at: datetime) -> bool:
    """Tell whether a cohort's version is over, so that its members are offered what everybody is."""
    retired_at = version.retired_at
    return version.cohort_id is not None and retired_at is not None and retired_at <= max(at, version.effective_at)


def _on_sale(versions: list[PlanVersion], at: datetime) -> tuple[PlanVersion, VersionWindow] | None:
    """Return the version of one plan that is on sale, newest given first, with its window; None when none is."""
    ends_at = None
    for version in versions:
        if version.effective_at <= at:
            ends = [moment for moment in (version.retired_at, ends_at) if moment is not None]
            window = VersionWindow(effective_from_at=version.effective_at, effective_to_at=min(ends, default=None))
            is_retired = version.retired_at is not None and version.retired_at <= at
            return None if is_retired else (version, window)
        ends_at = version.effective_at
    return None


def _entry(version: PlanVersion, window: VersionWindow) -> dict[str, Any]:
    return {
        **{key: value for key, value in version.document.items() if key not in _NOT_TERMS},
        "version": version.version,
        "effective_from_at": instant_text(window.effective_from_at),
        "effective_to_at": None if window.effective_to_at is None else instant_text(window.effective_to_at),
        "document_hash": version.document_hash,
    }
