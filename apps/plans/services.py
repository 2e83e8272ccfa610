"""Write plans: a pricing document becomes a draft, a draft becomes frozen terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.engine.charge_models import charge_to_document
from apps.engine.hashing import instant_text
from apps.engine.money import minor_to_text
from apps.lifecycle.services import transition_apply
from apps.messaging import services as messaging_services
from apps.metering.models import Meter
from apps.plans import cliffs, cohorts, documents, pricing, selectors
from apps.plans.errors import PlanDocumentInvalid, PlanExamplesFailed, PlanVersionNotDraft, PlanVersionNotReady
from apps.plans.models import Charge, Feature, Plan, PlanVersion, PlanVersionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanApplied:
    """What applying a document came to: the version it stands in now, and one line per value that differs."""

    plan: Plan
    version: PlanVersion
    is_changed: bool
    difference: tuple[str, ...]
    warnings: tuple[str, ...] = ()  # price jumps that the terms have


@unit_of_work
def plan_document_apply(*, document: Mapping[str, Any], actor: Actor, at: datetime) -> PlanApplied:
    """
    Make the newest terms of a plan be those of a pricing document, and return what that changed.

    A document that says what the newest version says changes nothing. Any other makes a draft, or replaces the draft
    that is there; published versions are never touched.

    :raises PlanDocumentInvalid: naming every problem; nothing is stored then
    """
    meters = selectors.meters_current()
    canonical = documents.validate(document=document, known_meters=meters)
    warnings = tuple(map(str, cliffs.cliffs_of(charges=canonical.charges, currency=canonical.currency)))
    plan, is_new = _plan_locked(canonical)
    newest = PlanVersion.objects.filter(plan=plan).order_by("-version").first()
    is_same = newest is not None and newest.document_hash == canonical.hash
    moved = _meters_moved(newest, meters) if newest is not None and newest.status == PlanVersionStatus.DRAFT else ()
    if newest is not None and is_same and not moved:
        return PlanApplied(plan=plan, version=newest, is_changed=False, difference=(), warnings=warnings)
    difference = documents.differences(
        before=newest.document if newest is not None else {}, after=canonical.to_document()
    )
    version = _draft_store(plan, newest, canonical)
    _parts_store(version, canonical, meters)
    if is_new:
        after = {"code": plan.code, "name": plan.name}
        audit_services.entry_write(entity=plan, action="create", actor=actor, at=at, before={}, after=after)
    _draft_record(version, newest, (*difference, *moved), actor=actor, at=at)
    return PlanApplied(plan=plan, version=version, is_changed=True, difference=(*difference, *moved), warnings=warnings)


@unit_of_work
def plan_version_publish(
    *, plan_code: str, version: int, actor: Actor, at: datetime, cohort_code: str | None = None
) -> PlanVersion:
    """
    Freeze a draft and put it on sale from its effective date, for everybody or for a cohort, and return it.

    :param cohort_code: id or code of the cohort; others stay with the version that they have
    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if there is no such version
    :raises CohortUnknown: if there is no such cohort
    :raises PlanVersionNotDraft: if it was published before
    :raises PlanVersionNotReady: naming everything that stands against it
    :raises PlanExamplesFailed: naming each golden example with its expected and its actual total
    """
    draft = _version_locked(plan_code, version)
    if draft.status != PlanVersionStatus.DRAFT:
        raise PlanVersionNotDraft(
            f"{draft} is {draft.status} and its terms are frozen; apply a changed document and publish that version.",
            facts={"status": str(draft.status)},
        )
    draft.cohort = None if cohort_code is None else cohorts.cohort_by_reference(cohort_code)
    canonical = _ready_to_publish(draft)
    _refuse_cliffs(draft, canonical)
    _refuse_failed_examples(draft, canonical)
    transition_apply(
        instance=draft,
        action="publish",
        actor=actor,
        at=at,
        topic="plans.plan_version.published",
        payload={
            "plan": draft.plan.code,
            "version": draft.version,
            "effective_at": instant_text(draft.effective_at),
            "document_hash": draft.document_hash,
            "cohort": draft.cohort.code if draft.cohort else None,
        },
        save_fields=("cohort",),
    )
    if draft.cohort is None:
        _plan_rename(draft.plan, canonical.name, actor=actor, at=at)
    return draft


@unit_of_work
def plan_version_retire(
    *, plan_code: str, version: int, actor: Actor, at: datetime, reason: tuple[str, str] = ("", "")
) -> PlanVersion:
    """
    Take a published version off sale, and return it; who is subscribed to it stays on it.

    :param reason: a reason code and a comment
    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if there is no such version
    :raises TransitionRefused: if it is not published
    """
    published = _version_locked(plan_code, version)
    transition_apply(
        instance=published,
        action="retire",
        actor=actor,
        at=at,
        topic="plans.plan_version.retired",
        payload={"plan": published.plan.code, "version": published.version},
        reason=reason,
    )
    return published


def _plan_locked(canonical: documents.CanonicalPlan) -> tuple[Plan, bool]:
    """Return the plan, made if need be, with its versions locked; locked by name, because it may not exist yet."""
    locks.advisory_lock(f"plan:{canonical.code}")
    return Plan.objects.get_or_create(code=canonical.code, defaults={"name": canonical.name})


def _version_locked(plan_code: str, version: int) -> PlanVersion:
    found = selectors.plan_version_get(plan_code=plan_code, version=version)
    locks.advisory_lock(f"plan:{found.plan.code}")
    return locks.get_for_update(PlanVersion, found.id)


def _draft_store(plan: Plan, newest: PlanVersion | None, canonical: documents.CanonicalPlan) -> PlanVersion:
    """Write the draft's own row, over the draft that is there or as the next version."""
    if newest is not None and newest.status == PlanVersionStatus.DRAFT:
        draft = locks.get_for_update(PlanVersion, newest.id)
        # Terms of a draft bind nobody yet; the trail keeps the hash and the difference of what was replaced.
        Charge.objects.filter(plan_version=draft).delete()
        Feature.objects.filter(plan_version=draft).delete()
    else:
        draft = PlanVersion(plan=plan, version=newest.version + 1 if newest is not None else 1)
    draft.document = canonical.to_document()
    draft.document_hash = canonical.hash
    draft.currency = canonical.currency
    draft.interval_unit = canonical.interval.unit
    draft.interval_count = canonical.interval.count
    draft.rounding = canonical.rounding.value
    draft.effective_at = canonical.effective_at
    draft.save()
    return draft


def _parts_store(version: PlanVersion, canonical: documents.CanonicalPlan, meters: Mapping[str, Meter]) -> None:
    """Write charges and features, each bound to the version of its meter that is current now."""
    Charge.objects.bulk_create(
        Charge(
            plan_version=version,
            position=position,
            code=terms.code,
            model=terms.model,
            meter=meters[terms.meter] if terms.meter else None,
            timing=terms.timing,
            terms=charge_to_document(terms),
        )
        for position, terms in enumerate(canonical.charges)
    )
    Feature.objects.bulk_create(
        Feature(
            plan_version=version,
            code=feature.code,
            is_granted=feature.is_granted,
            limit_units=feature.limit_units,
            is_unlimited=feature.is_unlimited,
            meter=meters[feature.meter] if feature.meter else None,
            on_exceed=feature.on_exceed,
            is_prorated=feature.is_prorated,
        )
        for feature in canonical.features
    )


def _draft_record(
    version: PlanVersion, newest: PlanVersion | None, difference: tuple[str, ...], *, actor: Actor, at: datetime
) -> None:
    before = {} if newest is None else {"version": newest.version, "document_hash": newest.document_hash}
    facts = {"version": version.version, "document_hash": version.document_hash}
    audit_services.entry_write(
        entity=version,
        action="draft",
        actor=actor,
        at=at,
        before=before,
        after={**facts, "difference": list(difference)},
    )
    messaging_services.event_publish(
        topic="plans.plan_version.drafted",
        aggregate_type=PlanVersion.entity_type(),
        aggregate_id=version.id,
        payload={"id": version.public_id, "plan": version.plan.code, **facts},
        actor=actor,
        at=at,
    )


def _meters_moved(draft: PlanVersion, meters: Mapping[str, Meter]) -> tuple[str, ...]:
    """Return a line for each meter of a draft that has a newer version than the one the draft is bound to."""
    charged = {charge.meter for charge in selectors.charges_of(draft)}
    limited = {feature.meter for feature in draft.features.select_related("meter")}
    moved = (meter for meter in charged | limited if meter is not None and meters.get(meter.code) != meter)
    return tuple(sorted(f"~ meter {m.code}: version {m.version} -> {_version(meters, m)}" for m in moved))


def _version(meters: Mapping[str, Meter], meter: Meter) -> str:
    current = meters.get(meter.code)
    return str(current.version) if current is not None else "none"


def _ready_to_publish(draft: PlanVersion) -> documents.CanonicalPlan:
    """Return the draft's terms when nothing stands against them; every reason is collected, then raised once."""
    meters = selectors.meters_current()
    problems: list[FieldProblem] = []
    try:
        canonical = documents.validate(document=draft.document, known_meters=meters)
    except PlanDocumentInvalid as error:
        # What was valid when it was drafted may name a meter that was retired since.
        raise PlanVersionNotReady(f"{draft} cannot be published: {error.detail}", problems=error.problems) from error
    for line in _meters_moved(draft, meters):
        detail = f"{line.removeprefix('~ ')} since the draft was made; apply the document again to bind it to that one"
        problems.append(FieldProblem("/charges", "meter_moved", detail))
    # For whom the versions are on sale decides: two cohorts' versions may take effect at one instant.
    same_customers = Q() if draft.cohort is None else Q(cohort__isnull=True) | Q(cohort=draft.cohort)
    before = (
        PlanVersion.objects.filter(same_customers, plan=draft.plan, version__lt=draft.version)
        .exclude(status=PlanVersionStatus.DRAFT)
        .order_by("-effective_at")
        .first()
    )
    if before is not None and draft.effective_at <= before.effective_at:
        detail = (
            f"must lie after {instant_text(before.effective_at)}, when version {before.version} takes effect; "
            "set a later date and apply the document again"
        )
        problems.append(FieldProblem("/effective_at", "not_after_previous", detail))
    if problems:
        listed = "; ".join(f"{problem.pointer} {problem.detail}" for problem in problems)
        raise PlanVersionNotReady(f"{draft} cannot be published: {listed}.", problems=tuple(problems))
    return canonical


def _refuse_cliffs(draft: PlanVersion, canonical: documents.CanonicalPlan) -> None:
    limit_minor = canonical.cliff_limit_minor
    if limit_minor is None:
        return
    limit = minor_to_text(limit_minor, canonical.currency)
    problems = tuple(
        FieldProblem("/cliff_limit", "cliff_above_limit", f"{cliff}, more than the limit of {limit} {cliff.currency}")
        for cliff in cliffs.cliffs_of(charges=canonical.charges, currency=canonical.currency)
        if abs(cliff.jump_minor) > limit_minor
    )
    if problems:
        listed = "; ".join(problem.detail for problem in problems)
        raise PlanVersionNotReady(
            f"{draft} cannot be published: {listed}. Smooth the terms, or raise cliff_limit.", problems=problems
        )


def _refuse_failed_examples(draft: PlanVersion, canonical: documents.CanonicalPlan) -> None:
    problems = []
    if not canonical.examples and canonical.has_metered_charge:
        detail = "must hold at least one example, because usage is charged: the usage of a period and what it costs"
        problems.append(FieldProblem("/examples", "examples_missing", detail))
    for mismatch in pricing.examples_mismatched(plan=canonical):
        expected, actual = (
            minor_to_text(minor, canonical.currency) for minor in (mismatch.expected_minor, mismatch.actual_minor)
        )
        named = f' "{mismatch.name}"' if mismatch.name else ""
        detail = f"example {mismatch.position}{named} says {expected} {canonical.currency}, the terms make {actual}"
        problems.append(FieldProblem(f"/examples/{mismatch.position}/total", "example_failed", detail))
    if problems:
        listed = "; ".join(problem.detail for problem in problems)
        raise PlanExamplesFailed(
            f"{draft} cannot be published: {listed}. Correct the terms or the example.", problems=tuple(problems)
        )


def _plan_rename(plan: Plan, name: str, *, actor: Actor, at: datetime) -> None:
    """Let the plan be called as its newest published terms call it; a draft renames nothing that is on sale."""
    if plan.name == name:
        return
    before = {"name": plan.name}
    plan.name = name
    plan.save(update_fields=["name"])
    audit_services.entry_write(entity=plan, action="rename", actor=actor, at=at, before=before, after={"name": name})
