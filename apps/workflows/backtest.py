"""
What a plan version would have made of usage that was real: whole past periods of customers, rated again on other terms.

Read-only. A period is priced twice, on the terms that it carries and on those of the version, both times with agreed
prices, from the very same reading of the usage and by the engine that makes invoices. Counted is what a period's own
time costs: all its fees, its usage and its commitment, before discounts and taxes; so an amount may differ from an
invoice, which bills fees of the next period, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from apps.common.errors import FieldProblem
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.engine import periods as engine_periods
from apps.engine.charge_models import ChargeTerms, Measured
from apps.engine.errors import EngineError
from apps.metering import selectors as metering_selectors
from apps.metering.errors import EventAmountInvalid, UsageQueryInvalid
from apps.metering.models import Meter
from apps.plans import cliffs, cohorts, estimates, pricing
from apps.plans import selectors as plan_selectors
from apps.plans import terms as plan_terms
from apps.plans.models import Charge, PlanVersion
from apps.subscriptions import overrides
from apps.subscriptions.features import served_factor
from apps.subscriptions.models import BillingPeriod, BillingPeriodKind
from apps.workflows import simulated_usage
from apps.workflows.errors import BacktestInvalid

# More is a job for the night; a narrower span or a list of customers answers at once.
PERIODS_MAX: Final = 2000
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestQuestion:
    """
    Which version is tried on which past.

    `customers` are ids or codes; without them everybody who was on the version's plan. With a cohort, its id or code,
    only the members among them. `usage_factor` multiplies what is rated on the version: a rehearsal with a simulated
    spike.
    """

    plan_code: str
    version: int
    starts_at: datetime
    ends_at: datetime
    customers: tuple[str, ...] | None = None
    cohort: str | None = None
    usage_factor: Decimal = _ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerChange:
    """What the periods of one customer cost then and on the version, in minor units."""

    customer: Customer
    currency: str
    period_count: int
    before_minor: int
    after_minor: int

    @property
    def change_minor(self) -> int:
        """How much more the customer would pay; below zero for less."""
        return self.after_minor - self.before_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A customer whose periods say nothing about the version, and why."""

    customer: Customer
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """The answer: per customer and in all, in minor units of the version's currency; nothing of it is stored."""

    version: PlanVersion
    starts_at: datetime
    ends_at: datetime
    usage_factor: Decimal
    customers: tuple[CustomerChange, ...]
    left_out: tuple[LeftOut, ...]
    cliffs: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def before_minor(self) -> int:
        """What all of them paid."""
        return sum(change.before_minor for change in self.customers)

    @property
    def after_minor(self) -> int:
        """What all of them would pay."""
        return sum(change.after_minor for change in self.customers)

    @property
    def change_minor(self) -> int:
        """How much more all of them would pay; the sum of the customers' changes."""
        return sum(change.change_minor for change in self.customers)

    @property
    def winner_count(self) -> int:
        """How many customers would pay less."""
        return sum(change.change_minor < 0 for change in self.customers)

    @property
    def loser_count(self) -> int:
        """How many customers would pay more."""
        return sum(change.change_minor > 0 for change in self.customers)

    @property
    def unchanged_count(self) -> int:
        """How many customers would pay the same."""
        return sum(change.change_minor == 0 for change in self.customers)


def backtest_run(*, question: BacktestQuestion, at: datetime) -> Backtest:
    """
    Rate every regular period that ended in a past span on a version, draft or not, and compare with its own terms.

    :raises PlanUnknown: if there is no such plan
    :raises PlanVersionUnknown: if there is no such version
    :raises CustomerUnknown: if one of the customers is not there
    :raises CohortUnknown: if there is no such cohort
    :raises BacktestInvalid: if the span is empty or not over, the factor is out of range, too many periods ended in it,
        or usage cannot be rated on the version
    """
    starts_at, ends_at, usage_factor = question.starts_at, question.ends_at, question.usage_factor
    _ensure_sound(starts_at, ends_at, at, usage_factor)
    version = plan_selectors.plan_version_get(plan_code=question.plan_code, version=question.version)
    found = _periods(question, version)
    if found.count() > PERIODS_MAX:
        detail = f"holds {found.count()} periods; at most {PERIODS_MAX} are rated at once: shorten it or name customers"
        raise _invalid("/period", "too_many_periods", detail)
    return periods_backtest(
        version=version, periods=found, starts_at=starts_at, ends_at=ends_at, usage_factor=usage_factor
    )


def periods_backtest(
    *,
    version: PlanVersion,
    periods: QuerySet[BillingPeriod],
    starts_at: datetime,
    ends_at: datetime,
    usage_factor: Decimal = _ONE,
) -> Backtest:
    """
    Rate periods on a version and compare with their own terms; the span is what the answer names.

    :raises BacktestInvalid: if usage cannot be rated on the version
    """
    desk = _Desk(version=version, usage_factor=usage_factor)
    changes: dict[UUID, CustomerChange] = {}
    left_out: dict[UUID, LeftOut] = {}
    for period in periods.select_related("plan_version__plan", "subscription__customer").iterator(chunk_size=200):
        customer = period.subscription.customer
        reason = _why_left_out(period, version)
        if reason:
            left_out[customer.id] = LeftOut(customer=customer, reason=reason)
            continue
        before_minor, after_minor = desk.compare(period)
        known = changes.get(customer.id)
        changes[customer.id] = CustomerChange(
            customer=customer,
            currency=version.currency,
            period_count=1 + (known.period_count if known else 0),
            before_minor=before_minor + (known.before_minor if known else 0),
            after_minor=after_minor + (known.after_minor if known else 0),
        )
    return Backtest(
        version=version,
        starts_at=starts_at,
        ends_at=ends_at,
        usage_factor=usage_factor,
        customers=tuple(changes.values()),
        left_out=tuple(left_out.values()),
        cliffs=tuple(map(str, cliffs.cliffs_of(charges=desk.offer(version).charges, currency=version.currency))),
        notes=tuple(_notes(version, starts_at)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What stays the same for all periods of one backtest."""

    version: PlanVersion
    usage_factor: Decimal
    offers: dict[UUID, pricing.PricedOffer] = field(default_factory=dict)
    charges: dict[UUID, list[Charge]] = field(default_factory=dict)

    def offer(self, version: PlanVersion) -> pricing.PricedOffer:
        """Return what a version offers; read once per backtest."""
        if version.id not in self.offers:
            self.offers[version.id] = estimates.offer_of(version)
        return self.offers[version.id]

    def charges_of(self, version: PlanVersion) -> list[Charge]:
        """Return the charges of a version; read once per backtest."""
        if version.id not in self.charges:
            self.charges[version.id] = plan_selectors.charges_of(version)
        return self.charges[version.id]

    def compare(self, period: BillingPeriod) -> tuple[int, int]:
        """Return what a period costs on its own terms and on the version, in minor units."""
        reading = _Reading(period=period, measures={})
        served = _served(period)
        before_minor = self._price(period.plan_version, reading, served, factor=_ONE)
        return before_minor, self._price(self.version, reading, served, factor=self.usage_factor)

    def _price(self, version: PlanVersion, reading: "_Reading", served: pricing.Served, *, factor: Decimal) -> int:
        period = reading.period
        agreed: list[ChargeTerms] = []
        measures: dict[str, Measured] = {}
        try:
            for charge in self.charges_of(version):
                terms = overrides.terms_for(
                    subscription=period.subscription, charge=charge, billed_at=period.ends_at
                ).terms
                agreed.append(terms)
                if charge.meter is not None:
                    measures[terms.code] = reading.measure(charge.meter, terms, factor=factor)
            draft = pricing.offer_draft(
                offer=replace(self.offer(version), charges=tuple(agreed)),
                measures=measures,
                served=served,
                quantity=period.quantity,
            )
        except (EngineError, EventAmountInvalid, UsageQueryInvalid) as error:
            customer = period.subscription.customer.external_id
            detail = f"the usage of {customer} cannot be rated on {version}: {error.detail}"
            raise _invalid("/version", error.code, detail) from error
        return draft.subtotal_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The usage of one period, each meter read once: both sides of the comparison see the same events."""

    period: BillingPeriod
    measures: dict[Any, Measured]

    def measure(self, meter: Meter, terms: ChargeTerms, *, factor: Decimal) -> Measured:
        """Return what a charge is priced on, times a factor."""
        asked = simulated_usage.terms_to_measure(terms=terms, factor=factor)
        # A quantity is the same for all terms; what a charge needs beside it is not.
        key = (meter.id, asked if terms.needs_basis else None)
        if key not in self.measures:
            measure = metering_selectors.usage_measure(
                meter=meter,
                terms=asked,
                customer_id=self.period.subscription.customer_id,
                subscription_id=self.period.subscription_id,
                starts_at=self.period.starts_at,
                ends_at=self.period.ends_at,
            )
            self.measures[key] = (measure.usage.quantity, measure.basis)
        return simulated_usage.scaled(measured=self.measures[key], factor=factor)


def _periods(question: BacktestQuestion, version: PlanVersion) -> QuerySet[BillingPeriod]:
    """Return the periods that a question is about, customer by customer."""
    found = BillingPeriod.objects.filter(
        kind=BillingPeriodKind.REGULAR, ends_at__gt=question.starts_at, ends_at__lte=question.ends_at
    ).order_by("subscription__customer__external_id", "subscription__customer_id", "starts_at")
    if question.customers is None:
        found = found.filter(plan_version__plan=version.plan)
    else:
        asked = [customer_selectors.customer_by_reference(reference).id for reference in question.customers]
        found = found.filter(subscription__customer_id__in=asked)
    if question.cohort is not None:
        membership = cohorts.membership_of(cohorts.cohort_by_reference(question.cohort))
        concerned = found.order_by().values_list("subscription__customer_id", flat=True).distinct()
        found = found.filter(subscription__customer_id__in=[each for each in concerned if each in membership])
    return found


def _ensure_sound(starts_at: datetime, ends_at: datetime, at: datetime, usage_factor: Decimal) -> None:
    if starts_at >= ends_at:
        raise _invalid("/period/ends_at", "empty", "must lie after starts_at")
    if ends_at > at:
        raise _invalid(
            "/period/ends_at", "not_over", f"must lie in the past, by {at.isoformat()}: usage still comes in"
        )
    if not usage_factor.is_finite() or not 0 <= usage_factor <= simulated_usage.FACTOR_MAX:
        detail = f'must lie from 0 to {simulated_usage.FACTOR_MAX}; "1" rates the usage as it was'
        raise _invalid("/usage_factor", "factor_out_of_range", detail)


def _why_left_out(period: BillingPeriod, version: PlanVersion) -> str:
    own = period.plan_version
    if own.currency != version.currency:
        return f"is billed in {own.currency}, the version in {version.currency}"
    if not plan_terms.is_same_interval(own, version):
        return f"is billed every {own.interval_count} {own.interval_unit}, the version every " + (
            f"{version.interval_count} {version.interval_unit}"
        )
    return ""


def _served(period: BillingPeriod) -> pricing.Served:
    served = engine_periods.Period(period.starts_at, period.ends_at)
    return pricing.Served(period=served, factor=served_factor(period=period, served=served))


def _notes(version: PlanVersion, starts_at: datetime) -> Iterator[str]:
    meters: Iterable[Meter | None] = {charge.meter for charge in plan_selectors.charges_of(version)}
    for meter in sorted((meter for meter in meters if meter is not None), key=lambda meter: meter.code):
        if meter.defined_at > starts_at:
            yield (
                f"Meter {meter.code} v{meter.version} counts events since {meter.defined_at.isoformat()} only; "
                "usage before that is not in what the version would have cost."
            )


def _invalid(pointer: str, code: str, detail: str) -> BacktestInvalid:
    return BacktestInvalid(f"{pointer} {detail}.", problems=(FieldProblem(pointer, code, detail),))
