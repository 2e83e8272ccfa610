"""Gather the facts of one period and let the engine make a draft of them: the only way an invoice comes to be.

Cycle close, refresh and preview all pass through here, so an estimate cannot disagree with the invoice. Everything is
rated on the terms that the period carries, never on those that the subscription has by now.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from apps.engine import invoice_draft, periods
from apps.engine.charge_models import ChargeTerms, Measured
from apps.engine.commitments import CommitmentTerms, minimum_part_minor
from apps.engine.decisions import measured_from_document
from apps.engine.draft_values import Effect
from apps.engine.exact import Rounding, decimal_text, round_ratio
from apps.engine.tax import TaxDecision
from apps.invoices import discounts as invoice_discounts
from apps.invoices import selectors as invoice_selectors
from apps.invoices.models import BillingEntity, InvoiceKind
from apps.metering import selectors as metering_selectors
from apps.plans import selectors as plan_selectors
from apps.plans import terms as plan_terms
from apps.plans.models import Charge
from apps.subscriptions import overrides
from apps.subscriptions.features import served_factor
from apps.subscriptions.models import BillingPeriod, BillingPeriodKind, Subscription
from apps.taxes import selectors as tax_selectors
from apps.workflows import adjusting, credits

_WHOLE = Fraction(1)


def draft_build(
    *,
    subscription: Subscription,
    period: BillingPeriod,
    following: BillingPeriod | None,
    kind: InvoiceKind,
    entity: BillingEntity,
    at: datetime,
) -> invoice_draft.InvoiceDraft | None:
    """
    Return the draft of a period, or nothing when nothing is billed for it; amounts in minor units.

    A cycle draft bills what the period used and its fees in arrears, the fees of the following period in advance, and
    gives back fees in advance that a change made unused. A start draft bills only the first period's fees in advance,
    a usage draft what was used since the last one on charges that are billed event by event.
    A trial's lines are shown at no price on the document of what comes after it, and make none by themselves.

    :param at: the moment that decides tax rates
    """
    billed_at = _billed_at(period, kind, at)
    desk = _Desk(subscription=subscription, entity=entity, billed_at=billed_at, at=at)
    if kind == InvoiceKind.CYCLE:
        inputs = [*desk.served(period), *desk.in_advance(following), *credits.credit_inputs(period=period)]
        inputs += adjusting.waiting_inputs(period=period, entity=entity, at=at)
    elif kind == InvoiceKind.USAGE:
        inputs = [*desk.used_in_advance(period)]
    else:
        inputs = [*desk.in_advance(period)]
    version = period.plan_version
    committed = desk.committed(period) if kind == InvoiceKind.CYCLE else {}
    if not committed and all(item.effect == "waive" for item in inputs):
        return None
    draft = invoice_draft.build_invoice_draft(
        facts=invoice_draft.DraftFacts(
            currency=version.currency,
            rounding=Rounding(version.rounding),
            period=_engine_period(period),
            charges=tuple(inputs),
            plan_code=version.plan.code,
            plan_version=version.version,
            **committed,
            discounts=invoice_discounts.discounts_for(
                subscription=subscription, period=period, kind=kind, billed_at=billed_at
            ),
        )
    )
    if kind == InvoiceKind.USAGE and not any(line.net_minor for line in draft.lines):
        # Usage that costs nothing yet is on the document of the first event that does, or on that of the close.
        return None
    return draft


def committed_facts(
    *, subscription: Subscription, period: BillingPeriod, entity: BillingEntity, at: datetime
) -> dict[str, Any]:
    """Return the facts of a cycle draft that follow from what is committed for a period; none without a commitment."""
    return _Desk(subscription=subscription, entity=entity, billed_at=period.ends_at, at=at).committed(period)


def served_inputs(
    *, subscription: Subscription, period: BillingPeriod, entity: BillingEntity, at: datetime
) -> list[invoice_draft.ChargeInput]:
    """Return what the time of a period costs on the plan version that it names, with the usage as of now."""
    return [*_Desk(subscription=subscription, entity=entity, billed_at=period.ends_at, at=at).served(period)]


def committed_minor(period: BillingPeriod) -> int:
    """
    Return what is committed for the served part of a period, in minor units; zero without a commitment.

    A minimum leaves out parts of a cent, a commitment is rounded as the engine rounds it.
    """
    version, factor = period.plan_version, served_factor(period=period, served=_engine_period(period))
    whole_minor = plan_terms.minimum_commitment_minor(version)
    if whole_minor is not None:
        return minimum_part_minor(whole_minor=whole_minor, factor=factor)
    commitment = plan_terms.commitment_of(version)
    if commitment is None:
        return 0
    part = commitment.amount_minor * factor
    return round_ratio(part.numerator, part.denominator, Rounding(version.rounding))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What stays the same for all lines of one draft."""

    subscription: Subscription
    entity: BillingEntity
    billed_at: datetime  # decides which agreed prices count
    at: datetime

    def served(self, period: BillingPeriod) -> Iterator[invoice_draft.ChargeInput]:
        """Yield what the time of a period costs when it is over."""
        if period.kind == BillingPeriodKind.FROZEN:
            return
        is_trial = period.kind == BillingPeriodKind.TRIAL
        for charge in plan_selectors.charges_of(period.plan_version):
            if charge.meter is not None:
                if period.kind != BillingPeriodKind.FIXED_ONLY:
                    yield self._usage(charge, period, effect="waive" if is_trial else "bill")
            elif is_trial:
                yield self._fixed(charge, period, effect="waive")
            elif charge.timing == "arrears" and not period.is_fixed_covered:
                yield self._fixed(charge, period, effect="bill")

    def in_advance(self, period: BillingPeriod | None) -> Iterator[invoice_draft.ChargeInput]:
        """Yield the fees that are due before a period is served, unless an earlier period's fees cover it."""
        if period is None or period.prepaid_by_id is not None or period.is_fixed_covered:
            return
        if period.kind in (BillingPeriodKind.REGULAR, BillingPeriodKind.FIXED_ONLY):
            for charge in plan_selectors.charges_of(period.plan_version):
                if charge.meter is None and charge.timing == "advance":
                    yield self._fixed(charge, period, effect="bill")

    def used_in_advance(self, period: BillingPeriod) -> Iterator[invoice_draft.ChargeInput]:
        """Yield the charges of a running period that are billed event by event, each with what was billed before."""
        if period.kind == BillingPeriodKind.REGULAR:
            for charge in plan_selectors.charges_of(period.plan_version):
                if charge.meter is not None and charge.timing == "advance":
                    yield self._usage(charge, period, effect="bill")

    def committed(self, period: BillingPeriod) -> dict[str, Any]:
        """Return the facts that a minimum or a commitment adds to the draft of a period; none without either."""
        version = period.plan_version
        if period.kind != BillingPeriodKind.REGULAR:
            return {}
        commitment = plan_terms.commitment_of(version)
        has_minimum = plan_terms.minimum_commitment_minor(version) is not None
        if commitment is None and not has_minimum:
            return {}
        return {
            "minimum_commitment_minor": committed_minor(period) if has_minimum else None,
            "commitment": commitment,
            "commitment_factor": served_factor(period=period, served=_engine_period(period)),
            "commitment_billed_before_minor": self._billed_before_minor(period, commitment),
            "commitment_tax": self.tax(None),
        }

    def _billed_before_minor(self, period: BillingPeriod, commitment: CommitmentTerms | None) -> int:
        """Return what earlier documents billed for the period: fees and usage for a minimum, usage for a commitment."""
        used_minor = invoice_selectors.usage_billed_minor(
            subscription_id=self.subscription.id, service_starts_at=period.starts_at
        )
        return used_minor if commitment is not None else used_minor + credits.fees_served_minor(period=period)

    def tax(self, category: str | None) -> TaxDecision | None:
        """Return how a line of a category is taxed; None while that is not known."""
        customer = self.subscription.customer
        return tax_selectors.tax_decide(
            regime=self.entity.tax_regime,
            seller_country=self.entity.country,
            buyer_country=customer.country,
            buyer_region=customer.region,
            category=category,
            on_date=self.at.astimezone(ZoneInfo(self.entity.timezone)).date(),
        )

    def _fixed(self, charge: Charge, period: BillingPeriod, *, effect: Effect) -> invoice_draft.ChargeInput:
        in_force = overrides.terms_for(subscription=self.subscription, charge=charge, billed_at=self.billed_at)
        terms = in_force.terms
        served = _engine_period(period)
        is_due_whole = not period.is_credit_due if terms.timing == "advance" else period.is_whole_settled
        if is_due_whole and period.cut_from_at is not None:
            # What a pause leaves is served later on the same fee, and an unprorated change leaves fees as they were.
            served = periods.Period(period.starts_at, period.cut_from_at)
        return invoice_draft.ChargeInput(
            terms=terms,
            quantity=period.quantity if terms.per_quantity else Decimal(1),
            tax=self.tax(terms.tax_category),
            factor=served_factor(period=period, served=served),
            service_period=served,
            effect=effect,
            rounding=Rounding(period.plan_version.rounding),
            plan=in_force.plan_entry(_plan(period)),
        )

    def _usage(self, charge: Charge, period: BillingPeriod, *, effect: Effect) -> invoice_draft.ChargeInput:
        in_force = overrides.terms_for(subscription=self.subscription, charge=charge, billed_at=self.billed_at)
        terms, meter = in_force.terms, charge.meter
        assert meter is not None  # noqa: S101  asked by the caller
        measure = metering_selectors.usage_measure(
            meter=meter,
            terms=terms,
            customer_id=self.subscription.customer_id,
            subscription_id=self.subscription.id,
            starts_at=period.starts_at,
            ends_at=period.ends_at,
        )
        usage = measure.usage
        return invoice_draft.ChargeInput(
            terms=terms,
            quantity=usage.quantity,
            basis=measure.basis,
            before=self._billed_state(terms, period),
            meter_version=meter.version,
            usage={
                "meter": meter.public_id,
                "event_count": usage.event_count,
                "raw_quantity": decimal_text(usage.raw),
                "unit_rounding": meter.rounding,
                "snapshot": usage.snapshot,
            },
            tax=self.tax(terms.tax_category),
            # What an event cost when it was billed stays, however its period ends.
            factor=_WHOLE if terms.timing == "advance" else served_factor(period=period, served=_engine_period(period)),
            service_period=_engine_period(period),
            effect=effect,
            rounding=Rounding(period.plan_version.rounding),
            plan=in_force.plan_entry(_plan(period)),
        )

    def _billed_state(self, terms: ChargeTerms, period: BillingPeriod) -> Measured | None:
        """Return up to where a charge in advance was billed event by event; None when nothing was."""
        if terms.timing != "advance":
            return None
        line = invoice_selectors.usage_line_billed_last(
            subscription_id=self.subscription.id, code=terms.code, service_starts_at=period.starts_at
        )
        if line is None:
            return None
        stored = {"quantity": line.decision["quantity"], "basis": line.decision.get("basis")}
        return measured_from_document(stored, path="decision")


def _billed_at(period: BillingPeriod, kind: InvoiceKind, at: datetime) -> datetime:
    """Return when a document falls due: at the end of a period closed, the start of one begun, or with its usage."""
    if kind == InvoiceKind.USAGE:
        return at
    return period.ends_at if kind == InvoiceKind.CYCLE else period.starts_at


def _plan(period: BillingPeriod) -> dict[str, str | int]:
    return {"code": period.plan_version.plan.code, "version": period.plan_version.version}


def _engine_period(period: BillingPeriod) -> periods.Period:
    return periods.Period(period.starts_at, period.ends_at)
