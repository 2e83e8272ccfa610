"""Explain a line: read the raw events again, recompute, and show whether the hashes agree."""

from dataclasses import dataclass, replace
from typing import Any

from apps.engine import explain, invoice_draft
from apps.engine.charge_models import charge_from_document
from apps.engine.exact import decimal_text
from apps.engine.money import minor_to_text, parse_decimal
from apps.invoices import adjustments
from apps.invoices.adjustment_models import AdjustmentLine
from apps.invoices.models import InvoiceLine
from apps.metering import following_sql, retention_months
from apps.metering import selectors as metering_selectors
from apps.metering.models import Meter

SAMPLE_SIZE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LineExplanation:
    """A line's explanation, how it compares with the raw events, and some of them."""

    line: InvoiceLine
    explanation: explain.Explanation
    meter: Meter | None
    event_count_stored: int
    event_count_now: int
    sample: list[dict[str, Any]]

    @property
    def is_equal(self) -> bool:
        """Return whether recomputing from the raw events gives what was billed, event for event."""
        return self.explanation.is_equal and self.event_count_stored == self.event_count_now

    def to_document(self) -> dict[str, Any]:
        """Return the explanation as JSON."""
        return {
            "line": self.line.public_id,
            **self.explanation.to_document(),
            "is_equal": self.is_equal,
            "hashes": {
                "stored": {"input": self.line.input_hash, "output": self.line.output_hash},
                "recomputed": {
                    "input": self.explanation.recomputed_input_hash,
                    "output": self.explanation.recomputed_output_hash,
                },
                "is_equal": self.is_equal,
            },
            "events": {
                "count": self.event_count_now,
                "billed_count": self.event_count_stored,
                "sample": self.sample,
            },
            "tax_evidence": (self.line.decision.get("tax") or {}).get("evidence", {}),
        }


def line_explain(*, line: InvoiceLine) -> LineExplanation:
    """
    Explain one stored line from its decision, checked against the raw events that the decision had seen.

    Events that arrived later are not among them: they are late usage and belong to a further document.

    :raises UsageMonthArchived: if the raw events of the line's time are in the archive
    """
    decision = line.decision
    if "adjusts" in decision:
        return _adjustment_explain(line)
    meter = _meter_of(decision)
    if meter is None:
        quantity = parse_decimal(decision["quantity"], path="quantity")
        recomputed = invoice_draft.recompute(decision=decision, quantity=quantity)
        return LineExplanation(
            line=line,
            explanation=explain.explain_line(decision=decision, recomputed=recomputed),
            meter=None,
            event_count_stored=0,
            event_count_now=0,
            sample=[],
        )
    retention_months.months_require(starts_at=line.service_starts_at, ends_at=line.service_ends_at)
    scope = _scope(line, meter)
    snapshot = decision["usage"]["snapshot"]
    usage = metering_selectors.usage_quantity_from_events(**scope, snapshot=snapshot)
    terms = charge_from_document(decision["terms"], currency=decision["currency"], path="terms", is_catalog=False)
    basis = metering_selectors.usage_basis(**scope, terms=terms, snapshot=snapshot)
    recomputed = invoice_draft.recompute(decision=decision, quantity=usage.quantity, basis=basis)
    return LineExplanation(
        line=line,
        explanation=explain.explain_line(decision=decision, recomputed=recomputed),
        meter=meter,
        event_count_stored=int(decision["usage"]["event_count"]),
        event_count_now=usage.event_count,
        sample=[_event(event) for event in line_events(line=line, limit=SAMPLE_SIZE)],
    )


def _adjustment_explain(line: InvoiceLine) -> LineExplanation:
    """
    Explain a difference: both sides stand with the adjustment, and the later one is made again from the events.

    The events shown are those that came, or were cancelled, between the two.
    """
    decision = line.decision
    quantity = parse_decimal(decision["quantity"], path="quantity")
    again = invoice_draft.recompute(decision=decision, quantity=quantity)
    difference = explain.explain_line(decision=decision, recomputed=again)
    part = adjustments.line_of(reference=decision["adjusts"]["line"])
    after = part.after.get("decision") or {}
    meter = _meter_of(after)
    if meter is None:
        return LineExplanation(
            line=line, explanation=difference, meter=None, event_count_stored=0, event_count_now=0, sample=[]
        )
    retention_months.months_require(starts_at=part.service_starts_at, ends_at=part.service_ends_at)
    scope, snapshot = _scope_of(part, line, meter), after["usage"]["snapshot"]
    usage = metering_selectors.usage_quantity_from_events(**scope, snapshot=snapshot)
    terms = charge_from_document(after["terms"], currency=after["currency"], path="terms", is_catalog=False)
    basis = metering_selectors.usage_basis(**scope, terms=terms, snapshot=snapshot)
    owed = explain.explain_line(
        decision=after, recomputed=invoice_draft.recompute(decision=after, quantity=usage.quantity, basis=basis)
    )
    return LineExplanation(
        line=line,
        # How what is owed by now is made, and then the sentence that makes the difference of it.
        explanation=replace(
            difference,
            formula=(*owed.formula, _difference_words(decision)),
            rows=owed.rows,
            check=owed.check,
            is_equal=difference.is_equal and owed.is_equal,
        ),
        meter=meter,
        event_count_stored=int(after["usage"]["event_count"]),
        event_count_now=usage.event_count,
        sample=[_event(event) for event in line_events(line=line, limit=SAMPLE_SIZE)],
    )


def _difference_words(decision: dict[str, Any]) -> str:
    currency, adjusts = decision["currency"], decision["adjusts"]
    owed, billed = int(adjusts["owed_minor"]), int(adjusts["billed_minor"])
    return (
        f"{minor_to_text(owed, currency)} owed - {minor_to_text(billed, currency)} billed = "
        f"{minor_to_text(owed - billed, currency)} {currency}."
    )


def _scope_of(part: AdjustmentLine, line: InvoiceLine, meter: Meter) -> dict[str, Any]:
    return {
        "meter": meter,
        "customer_id": line.invoice.customer_id,
        "subscription_id": part.adjustment.subscription_id,
        "starts_at": part.service_starts_at,
        "ends_at": part.service_ends_at,
    }


def _events_changed(line: InvoiceLine, *, limit: int) -> list[Any]:
    part = adjustments.line_of(reference=line.decision["adjusts"]["line"])
    after = part.after.get("decision") or {}
    meter = _meter_of(after)
    if meter is None:
        return []
    retention_months.months_require(starts_at=part.service_starts_at, ends_at=part.service_ends_at)
    before = (part.before.get("decision") or {}).get("usage") or {}
    return metering_selectors.usage_events_changed(
        **_scope_of(part, line, meter),
        snapshot_before=before.get("snapshot", following_sql.NOTHING_SEEN),
        snapshot_after=after["usage"]["snapshot"],
        limit=limit,
    )


def line_events(*, line: InvoiceLine, limit: int) -> list[Any]:
    """
    Return the raw events behind a line, in order of occurrence, up to `limit`; none for fixed fees.

    Behind a difference are the events that came, or were cancelled, between its two sides.

    :raises UsageMonthArchived: if the raw events of the line's time are in the archive
    """
    if "adjusts" in line.decision:
        return _events_changed(line, limit=limit)
    meter = _meter_of(line.decision)
    if meter is None:
        return []
    retention_months.months_require(starts_at=line.service_starts_at, ends_at=line.service_ends_at)
    return list(
        metering_selectors.usage_events_sample(
            **_scope(line, meter), snapshot=line.decision["usage"]["snapshot"], limit=limit
        )
    )


def _scope(line: InvoiceLine, meter: Meter) -> dict[str, Any]:
    return {
        "meter": meter,
        "customer_id": line.invoice.customer_id,
        "subscription_id": line.invoice.subscription_id,
        "starts_at": line.service_starts_at,
        "ends_at": line.service_ends_at,
    }


def _meter_of(decision: dict[str, Any]) -> Meter | None:
    reference = (decision.get("usage") or {}).get("meter")
    return Meter.objects.get(id=Meter.id_from_public(reference)) if reference else None


def _event(event: Any) -> dict[str, Any]:
    return {
        "id": event.event_id,
        "source": event.source,
        "type": event.type,
        "occurred_at": event.occurred_at.isoformat(),
        "quantity": decimal_text(event.quantity) if event.quantity is not None else None,
        "properties": event.properties,
    }
