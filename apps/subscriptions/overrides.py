"""A price of one's own: asked for by one person, decided by another, billed only when approved (S094)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.audit import services as audit_services
from apps.common import ids, locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.engine.charge_models import ChargeTerms, charge_from_document, charge_to_document, matrix_properties
from apps.engine.errors import EngineError
from apps.engine.hashing import instant_text
from apps.plans import selectors as plan_selectors
from apps.plans.models import Charge
from apps.subscriptions.errors import OverrideDecided, OverrideInvalid, OverrideNeedsAnother, OverrideUnknown
from apps.subscriptions.models import Subscription
from apps.subscriptions.special_terms import PriceOverride

# What says which charge it is, when it is billed and how it is taxed; everything else is price.
FIXED_KEYS = ("code", "meter", "timing", "tax_category", "unit", "description", "prorate")


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsInForce:
    """How a charge is priced for a subscription: by its own terms, or by an approved override's."""

    terms: ChargeTerms
    override_id: str | None

    def plan_entry(self, plan: Mapping[str, str | int]) -> dict[str, str | int]:
        """Return what a decision says of the plan, naming the override where there is one."""
        return {**plan} if self.override_id is None else {**plan, "override": self.override_id}


@unit_of_work
def price_override_request(
    *, subscription: Subscription, terms: Mapping[str, Any], reason: str, actor: Actor, at: datetime
) -> PriceOverride:
    """
    Ask for another price of one charge; until somebody else approves it, it changes nothing.

    :param terms: the charge's code, model and price parameters; what else stands there must be as in the plan
    :raises OverrideInvalid: if no such charge is in the plan, more than its price would change, or it cannot be priced
    """
    if not reason.strip():
        raise _invalid("/reason", "reason_required", "say why; who decides reads it")
    code = str(terms.get("code", ""))
    charge = _charge_of(subscription, code)
    if charge is None:
        raise _invalid("/terms/code", "charge_unknown", f"'{code[:60]}' is not a charge of {subscription.plan_version}")
    override = PriceOverride.objects.create(
        subscription=subscription,
        charge_code=charge.code,
        terms=charge_to_document(_priced(charge, terms)),
        reason=reason,
        requested_by=_identity(actor),
        requested_by_name=actor.label[:200],
        requested_at=at,
    )
    audit_services.entry_write(
        entity=override,
        action="request",
        actor=actor,
        at=at,
        before={"terms": charge.terms},
        after={"subscription": subscription.public_id, "charge": charge.code, "terms": override.terms},
        comment=reason,
    )
    return override


@unit_of_work
def price_override_approve(*, override_id: UUID, comment: str, actor: Actor, at: datetime) -> PriceOverride:
    """
    Let a price be billed from now on; the one approved before for the same charge ends at that instant.

    It counts for every document that is billed from now on, and for the whole of what that document bills.

    :raises OverrideDecided: if it was decided before
    :raises OverrideNeedsAnother: if who asked for it would decide it
    :raises OverrideInvalid: if the plan's charge changed meanwhile, so that more than its price would differ
    """
    override = _undecided(override_id, actor)
    charge = _charge_of(override.subscription, override.charge_code)
    if charge is None:
        raise _invalid("/terms/code", "charge_unknown", "is not in the subscription's plan any more; reject it")
    _priced(charge, override.terms)
    before = _live_of(override).first()
    if before is not None:
        _end(before, actor=actor, at=at)
    return _decide(override, is_approved=True, comment=comment, actor=actor, at=at)


@unit_of_work
def price_override_reject(*, override_id: UUID, comment: str, actor: Actor, at: datetime) -> PriceOverride:
    """
    Decide that a price stays as the plan has it.

    :raises OverrideDecided: if it was decided before
    :raises OverrideNeedsAnother: if who asked for it would decide it
    """
    return _decide(_undecided(override_id, actor), is_approved=False, comment=comment, actor=actor, at=at)


@unit_of_work
def price_override_end(*, override_id: UUID, actor: Actor, at: datetime) -> PriceOverride:
    """
    Return to the plan's price for documents billed from now on.

    :raises OverrideDecided: if it was never approved, or ended before
    """
    override = locks.get_for_update(PriceOverride, override_id)
    if not override.is_approved or override.ended_at is not None:
        raise OverrideDecided(f"The price of '{override.charge_code}' is not in force; there is nothing to end.")
    _end(override, actor=actor, at=at)
    return override


def overrides_queryset() -> QuerySet[PriceOverride]:
    """Return all prices that were asked for, newest first."""
    return PriceOverride.objects.select_related("subscription__customer").order_by("-id")


def override_by_reference(reference: str) -> PriceOverride:
    """
    Return the override with this public id.

    :raises OverrideUnknown: if there is none
    """
    try:
        override = overrides_queryset().filter(id=PriceOverride.id_from_public(reference)).first()
    except ids.IdInvalid:
        override = None
    if override is None:
        raise OverrideUnknown(f"There is no price override '{reference[:120]}'.")
    return override


def terms_for(*, subscription: Subscription, charge: Charge, billed_at: datetime) -> TermsInForce:
    """
    Return how a charge is priced on a document billed at an instant: by what was approved then, else by the plan.

    A charge that a plan change made another one, in more than its price, is billed as the plan has it.
    """
    override = PriceOverride.objects.filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=billed_at),
        subscription=subscription,
        charge_code=charge.code,
        is_approved=True,
        decided_at__lte=billed_at,
    ).first()
    own = plan_selectors.engine_terms(charge)
    if override is None:
        return TermsInForce(terms=own, override_id=None)
    agreed = _read(override.terms, charge)
    if _differing(own, agreed):
        return TermsInForce(terms=own, override_id=None)
    return TermsInForce(terms=agreed, override_id=override.public_id)


def _charge_of(subscription: Subscription, code: str) -> Charge | None:
    charges = plan_selectors.charges_of(subscription.plan_version)
    return next((charge for charge in charges if charge.code == code), None)


def _priced(charge: Charge, terms: Mapping[str, Any]) -> ChargeTerms:
    """Return the charge with other price parameters; what was left out of what is no price is as in the plan."""
    own = plan_selectors.engine_terms(charge)
    kept = {key: value for key, value in charge.terms.items() if key in FIXED_KEYS}
    try:
        asked = _read({**kept, **terms}, charge)
    except EngineError as error:
        raise _invalid(f"/terms/{error.path.replace('.', '/')}", error.code, error.detail) from error
    differing = _differing(own, asked)
    if differing:
        problems = tuple(
            FieldProblem(f"/terms/{key}", "not_a_price", "must be as in the plan; change the plan instead")
            for key in differing
        )
        raise OverrideInvalid(
            f"Only the price of '{charge.code}' may differ; leave out: {', '.join(differing)}.", problems=problems
        )
    ungrouped = set(matrix_properties(asked)) - set(charge.meter.group_by if charge.meter is not None else ())
    if ungrouped:
        listed = ", ".join(sorted(ungrouped))
        detail = f"the meter does not group by {listed}; price by what it groups by, or change the meter"
        raise _invalid("/terms/prices_by", "property_not_grouped", detail)
    if charge.meter is not None and asked.model == "percentage" and charge.meter.aggregation != "sum":
        detail = f"needs a meter whose aggregation is sum; this one is {charge.meter.aggregation}"
        raise _invalid("/terms/model", "meter_unsuitable", detail)
    if charge_to_document(asked) == charge_to_document(own):
        raise _invalid("/terms", "nothing_differs", "says what the plan says; there is nothing to approve")
    return asked


def _read(document: Mapping[str, Any], charge: Charge) -> ChargeTerms:
    return charge_from_document(document, currency=charge.plan_version.currency, path="")


def _differing(own: ChargeTerms, asked: ChargeTerms) -> list[str]:
    return [key for key in FIXED_KEYS if getattr(own, key) != getattr(asked, key)]


def _undecided(override_id: UUID, actor: Actor) -> PriceOverride:
    override = locks.get_for_update(PriceOverride, override_id)
    if override.is_approved is not None:
        outcome = "approved" if override.is_approved else "rejected"
        raise OverrideDecided(f"The price of '{override.charge_code}' was {outcome} by {override.decided_by_name}.")
    if override.requested_by == _identity(actor):
        raise OverrideNeedsAnother(
            f"{actor.label} asked for this price of '{override.charge_code}'; somebody else has to decide it."
        )
    return override


def _decide(override: PriceOverride, *, is_approved: bool, comment: str, actor: Actor, at: datetime) -> PriceOverride:
    override.is_approved, override.comment = is_approved, comment
    override.decided_by, override.decided_by_name, override.decided_at = _identity(actor), actor.label[:200], at
    override.save(update_fields=["is_approved", "comment", "decided_by", "decided_by_name", "decided_at"])
    audit_services.entry_write(
        entity=override,
        action="approve" if is_approved else "reject",
        actor=actor,
        at=at,
        before={"requested_by": override.requested_by_name},
        after={"charge": override.charge_code, "terms": override.terms},
        comment=comment,
    )
    return override


def _live_of(override: PriceOverride) -> QuerySet[PriceOverride]:
    # The subscription's row orders those who decide about it at once.
    locks.get_for_update(Subscription, override.subscription_id)
    return PriceOverride.objects.filter(
        subscription_id=override.subscription_id,
        charge_code=override.charge_code,
        is_approved=True,
        ended_at__isnull=True,
    )


def _end(override: PriceOverride, *, actor: Actor, at: datetime) -> None:
    override.ended_at = at
    override.save(update_fields=["ended_at"])
    audit_services.entry_write(
        entity=override, action="end", actor=actor, at=at, before={}, after={"ended_at": instant_text(at)}
    )


def _identity(actor: Actor) -> str:
    return f"{actor.kind.value}:{actor.id or ''}"


def _invalid(pointer: str, code: str, detail: str) -> OverrideInvalid:
    return OverrideInvalid(f"The price cannot be asked for: {detail}.", problems=(FieldProblem(pointer, code, detail),))
