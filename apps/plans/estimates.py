"""Price what somebody thinks of: a whole plan, or a charge that nobody stored. Nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from apps.common.errors import FieldProblem
from apps.engine.charge_models import ChargeTerms, Measured, charge_from_document
from apps.engine.errors import EngineError, InvalidPeriod
from apps.engine.exact import Rounding
from apps.engine.money import parse_decimal, parse_rounding
from apps.engine.periods import Interval
from apps.metering import selectors as metering_selectors
from apps.metering.errors import EventAmountInvalid, EventDocumentsInvalid, MeterUnknown
from apps.plans import pricing, selectors, terms
from apps.plans.documents.problems import pointer_of, pointer_of_engine_path
from apps.plans.documents.schema import USAGE_ITEMS_MAX
from apps.plans.documents.usage_by_hand import UsageByHand, read_usage
from apps.plans.errors import EstimateInvalid, PlanVersionUnknown
from apps.plans.models import PlanVersion, PlanVersionStatus

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_WAYS: Final = ("units", "groups", "events", "amount")

# The half-open time that is priced; None: one whole period.
Span = tuple[datetime, datetime] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeQuestion:
    """
    What a charge is asked to price; `usage` holds what was written of units, groups, events and amount.

    Events are the values of events in order, or whole event documents, which the charge's meter then counts.
    """

    charge: Mapping[str, Any]
    currency: str
    usage: Mapping[str, Any]
    quantity: str | None = None
    rounding: str = Rounding.HALF_UP.value
    span: Span = None


def plan_estimate(
    *,
    plan_code: str,
    usage: Mapping[str, Any],
    at: datetime,
    version: int | None = None,
    quantity: str | None = None,
    span: Span = None,
    includes_drafts: bool = True,
) -> dict[str, Any]:
    """
    Return what a period on a plan would cost before tax, each line explained; amounts are decimal strings.

    :param usage: by meter code: units as a decimal string, or an object with groups, events or amount; meters that are
        not named count zero
    :param version: any version that was published; without it the one on sale at `at`
    :param includes_drafts: drafts and versions for a cohort may be asked for, too
    :param quantity: of the subscription, such as its seats; 1 without it
    :param span: the part of a period that is served; without it a whole one
    :raises PlanUnknown: if there is no such plan, or no version on sale
    :raises PlanVersionUnknown: if there is no such version
    :raises EstimateInvalid: naming each value that cannot be priced
    """
    if version is None:
        found = selectors.plan_version_current(plan_code=plan_code, at=at)
    else:
        found = selectors.plan_version_get(plan_code=plan_code, version=version)
        is_public = found.status != PlanVersionStatus.DRAFT and found.cohort_id is None
        if not (includes_drafts or is_public):
            raise PlanVersionUnknown(f"Plan '{found.plan.code}' has no version {version}.")
    offer = offer_of(found)
    problems: list[FieldProblem] = []
    by_hand = _usage_by_meter(usage, charges=offer.charges, problems=problems)
    count = _quantity(quantity, problems)
    if problems:
        raise _refused(problems)
    measures: dict[str, Measured] = {}
    for charge in (charge for charge in offer.charges if charge.is_metered):
        try:
            measures |= pricing.measures_by_hand(charges=[charge], usage=by_hand)
        except EngineError as error:
            problems.append(_problem(pointer_of(("usage", charge.meter or charge.code)), error))
    if problems:
        raise _refused(problems)
    return {
        "plan": {"code": offer.code, "version": offer.version},
        **_priced(offer, measures, quantity=count, span=span, at=at),
    }


def charge_estimate(*, question: ChargeQuestion, at: datetime) -> dict[str, Any]:
    """
    Return what usage of a charge that nobody stored would cost, explained; amounts are decimal strings, before tax.

    The charge is written as in a pricing document; code and meter may be missing, but event documents need the meter.

    :raises EstimateInvalid: naming what cannot be read or priced
    """
    problems: list[FieldProblem] = []
    charge = _charge_read(question, problems)
    count = _quantity(question.quantity, problems)
    mode = Rounding.HALF_UP
    try:
        mode = parse_rounding(question.rounding, path="rounding")
    except EngineError as error:
        problems.append(_problem("/rounding", error))
    if charge is None:
        _by_hand(question.usage, problems)
        raise _refused(problems)
    offer = pricing.PricedOffer(
        code="estimate",
        version=0,
        currency=question.currency,
        rounding=mode,
        interval=Interval(unit="month"),
        charges=(charge,),
    )
    measures: dict[str, Measured] = {}
    if charge.is_metered:
        measured = _measured(question, charge, offer, at=at, problems=problems)
        measures = {} if measured is None else {charge.code: measured}
    elif question.usage:
        detail = f'is not for the model "{charge.model}", which has no usage; remove it, or give quantity'
        problems += [FieldProblem(f"/{name}", "usage_unsuitable", detail) for name in question.usage]
    if problems:
        raise _refused(problems)
    return _priced(offer, measures, quantity=count, span=question.span, at=at)


def offer_of(version: PlanVersion) -> pricing.PricedOffer:
    """Return what a stored version offers, as the engine prices it."""
    return pricing.PricedOffer(
        code=version.plan.code,
        version=version.version,
        currency=version.currency,
        rounding=Rounding(version.rounding),
        interval=terms.interval_of(version),
        charges=tuple(selectors.engine_terms(charge) for charge in selectors.charges_of(version)),
        proration=terms.proration_mode_of(version),
        minimum_commitment_minor=terms.minimum_commitment_minor(version),
        commitment=terms.commitment_of(version),
    )


def _charge_read(question: ChargeQuestion, problems: list[FieldProblem]) -> ChargeTerms | None:
    try:
        return charge_from_document(question.charge, currency=question.currency, path="charge", is_catalog=False)
    except EngineError as error:
        problems.append(_problem(pointer_of_engine_path(error.path), error))
        return None


def _measured(
    question: ChargeQuestion,
    charge: ChargeTerms,
    offer: pricing.PricedOffer,
    *,
    at: datetime,
    problems: list[FieldProblem],
) -> Measured | None:
    """Return quantity and basis of what was asked; None when something is wrong with it, which is added then."""
    known = len(problems)
    events = question.usage.get("events")
    if isinstance(events, list) and any(isinstance(event, Mapping) for event in events):
        return _measured_events(events, charge, _served(offer, question.span, at=at), problems)
    usage = _by_hand(question.usage, problems)
    if usage is None or len(problems) > known:
        return None
    place = next((f"/{name}" for name in _WAYS if name in question.usage), "/units")
    try:
        return pricing.measures_by_hand(charges=[charge], usage={charge.meter or charge.code: usage})[charge.code]
    except EngineError as error:
        problems.append(_problem(place, error))
        return None


def _measured_events(
    events: list[Any], charge: ChargeTerms, served: pricing.Served, problems: list[FieldProblem]
) -> Measured | None:
    if charge.meter is None:
        problems.append(FieldProblem("/charge/meter", "required", "names the meter that counts the events"))
        return None
    if len(events) > USAGE_ITEMS_MAX or not all(isinstance(event, Mapping) for event in events):
        detail = f"must be a list of at most {USAGE_ITEMS_MAX} values, or of as many event documents"
        problems.append(FieldProblem("/events", "not_a_list", detail))
        return None
    try:
        measure = metering_selectors.measure_event_documents(
            meter=metering_selectors.meter_by_reference(charge.meter),
            terms=charge,
            documents=events,
            starts_at=served.period.starts_at,
            ends_at=served.period.ends_at,
        )
    except MeterUnknown as error:
        problems.append(FieldProblem("/charge/meter", error.code, f"{error.detail} Define it, or give units."))
    except EventDocumentsInvalid as error:
        problems += [
            FieldProblem(f"/events{problem.pointer}", problem.code, problem.detail) for problem in error.problems
        ]
    except (EventAmountInvalid, EngineError) as error:
        problems.append(FieldProblem("/events", error.code, error.detail))
    else:
        return measure.usage.quantity, measure.basis
    return None


def _by_hand(usage: Mapping[str, Any], problems: list[FieldProblem]) -> UsageByHand | None:
    if not usage:
        problems.append(FieldProblem("/units", "required", 'is required; write units such as "100", groups or events'))
        return None
    value = usage["units"] if set(usage) == {"units"} else usage
    return read_usage(value, parts=("units",) if value is not usage else (), problems=problems)


def _usage_by_meter(
    usage: Mapping[str, Any], *, charges: tuple[ChargeTerms, ...], problems: list[FieldProblem]
) -> dict[str, UsageByHand]:
    charged = pricing.meters_of(charges=charges)
    by_hand: dict[str, UsageByHand] = {}
    for code, value in usage.items():
        if code not in charged:
            detail = f"no charge of this plan is on that meter; it charges: {', '.join(sorted(charged)) or 'none'}"
            problems.append(FieldProblem(pointer_of(("usage", code)), "meter_not_charged", detail))
            continue
        read = read_usage(value, parts=("usage", code), problems=problems)
        if read is not None:
            by_hand[code] = read
    return by_hand


def _quantity(text: str | None, problems: list[FieldProblem]) -> Decimal:
    try:
        return _ONE if text is None else parse_decimal(text, path="quantity", minimum=_ZERO)
    except EngineError as error:
        problems.append(_problem("/quantity", error))
        return _ONE


def _served(offer: pricing.PricedOffer, span: Span, *, at: datetime) -> pricing.Served:
    if span is None:
        return pricing.whole_period(interval=offer.interval, at=at)
    try:
        return pricing.part_of_period(offer=offer, starts_at=span[0], ends_at=span[1])
    except InvalidPeriod as error:
        raise _refused([_problem("/period", error)]) from error


def _priced(
    offer: pricing.PricedOffer, measures: Mapping[str, Measured], *, quantity: Decimal, span: Span, at: datetime
) -> dict[str, Any]:
    served = _served(offer, span, at=at)
    try:
        draft = pricing.offer_draft(offer=offer, measures=measures, served=served, quantity=quantity)
    except EngineError as error:
        raise _refused([_problem("/usage", error)]) from error
    return pricing.estimate_document(draft=draft)


def _problem(pointer: str, error: EngineError) -> FieldProblem:
    return FieldProblem(pointer=pointer, code=error.code, detail=error.detail)


def _refused(problems: list[FieldProblem]) -> EstimateInvalid:
    listed = "; ".join(f"{problem.pointer} {problem.detail}" for problem in problems)
    return EstimateInvalid(f"This cannot be priced: {listed}.", problems=tuple(problems))
