"""
What a plan would charge: the engine's own invoice draft, for usage that somebody merely thought of.

Pure: nothing is read and nothing is stored. Golden examples and estimates pass through here and through the same engine
as invoices do, so neither can disagree with an invoice. Totals are before tax, because a tax needs a customer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from apps.engine.charge_models import ChargeTerms
from apps.engine.exact import Rounding
from apps.engine.explain import explain_line
from apps.engine.invoice_draft import ChargeInput, DraftFacts, InvoiceDraft, build_invoice_draft
from apps.engine.money import minor_to_text
from apps.engine.periods import Interval, anchor_at, period_containing
from apps.plans.documents.canonical import CanonicalPlan

_NO_UNITS: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedOffer:
    """What is to be priced: charges with the currency, rounding and interval they belong to."""

    code: str
    version: int
    currency: str
    rounding: Rounding
    interval: Interval
    charges: tuple[ChargeTerms, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleMismatch:
    """A golden example that does not come out; totals in minor units, before tax."""

    position: int
    name: str
    expected_minor: int
    actual_minor: int


def offer_draft(*, offer: PricedOffer, quantities: Mapping[str, Decimal], at: datetime) -> InvoiceDraft:
    """
    Return the draft of one whole period that holds `at`; amounts in minor units.

    :param quantities: units by meter code (by charge code where a charge names no meter); what is missing counts zero
    :raises EngineError: if a quantity cannot be priced
    """
    anchor = anchor_at(kind="anniversary", starts_at=at.astimezone(UTC), timezone="UTC")
    inputs = (
        ChargeInput(terms=terms, quantity=quantities.get(terms.meter or terms.code, _NO_UNITS))
        if terms.is_metered
        else ChargeInput(terms=terms)
        for terms in offer.charges
    )
    return build_invoice_draft(
        facts=DraftFacts(
            currency=offer.currency,
            rounding=offer.rounding,
            period=period_containing(anchor=anchor, interval=offer.interval, at=at),
            charges=tuple(inputs),
            plan_code=offer.code,
            plan_version=offer.version,
        )
    )


def examples_mismatched(*, plan: CanonicalPlan) -> list[ExampleMismatch]:
    """Return the golden examples of a plan that do not come out as they say."""
    offer = PricedOffer(
        code=plan.code,
        version=0,
        currency=plan.currency,
        rounding=plan.rounding,
        interval=plan.interval,
        charges=plan.charges,
    )
    mismatches = []
    for position, example in enumerate(plan.examples):
        actual_minor = offer_draft(offer=offer, quantities=example.usage, at=plan.effective_at).subtotal_minor
        if actual_minor != example.total_minor:
            mismatches.append(
                ExampleMismatch(
                    position=position,
                    name=example.name,
                    expected_minor=example.total_minor,
                    actual_minor=actual_minor,
                )
            )
    return mismatches


def estimate_document(*, draft: InvoiceDraft) -> dict[str, Any]:
    """Return a draft as JSON: amounts as decimal strings in major units, each line with its explanation."""
    return {
        "currency": draft.currency,
        "period": draft.period.to_document(),
        "lines": [
            {
                "code": line.code,
                "kind": line.kind,
                "description": line.description,
                "quantity": line.decision["quantity"],
                "unit": line.unit,
                "net": _money(line.net_minor, draft.currency),
                "explanation": explain_line(decision=line.decision, recomputed=None).to_document(),
            }
            for line in draft.lines
        ],
        "total": _money(draft.subtotal_minor, draft.currency),
        "is_before_tax": True,
        "hash": draft.hash,
    }


def meters_of(*, charges: Iterable[ChargeTerms]) -> frozenset[str]:
    """Return the codes of the meters that charges are on."""
    return frozenset(terms.meter for terms in charges if terms.meter)


def _money(minor: int, currency: str) -> dict[str, str]:
    return {"amount": minor_to_text(minor, currency), "currency": currency}
