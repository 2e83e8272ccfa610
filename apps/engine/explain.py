"""
An amount in words and numbers, from the decision that was stored with it.

Rules: everything said is computed from the decision, never from what the plan or the meter says today; a number is
shown exactly as it was used, and a fraction that does not end is shown as such, with its first digits beside it. The
check compares hashes: equal means that the same inputs still give the same answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from apps.engine.charge_models import Rated, RatedIncrement
from apps.engine.decisions import is_reproduced, recompute
from apps.engine.draft_values import SIGNS
from apps.engine.exact import decimal_text
from apps.engine.money import minor_to_text, parse_decimal
from apps.engine.step_words import (
    ROUNDING_WORDS,
    ExplanationRow,
    amount_words,
    formula_of,
    fraction_words,
    included_words,
    readable,
    rounding_words,
    row_of,
    units_words,
)
from apps.engine.tax import TREATMENTS

__all__ = ["Explanation", "ExplanationRow", "explain_line", "readable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a line costs what it costs; sentences in English, amounts in major units of `currency` as text."""

    code: str
    model: str
    currency: str
    amount: str
    plan: str
    period: str
    quantity: str
    included: str | None
    proration: str | None
    formula: tuple[str, ...]
    rows: tuple[ExplanationRow, ...]
    rounding: str
    tax: str
    check: str
    is_equal: bool
    stored_input_hash: str
    stored_output_hash: str
    recomputed_input_hash: str
    recomputed_output_hash: str

    def to_document(self) -> dict[str, Any]:
        """Return the explanation as JSON."""
        document = asdict(self)
        document["formula"], document["rows"] = list(self.formula), list(document["rows"])
        return document


def explain_line(*, decision: Mapping[str, Any], recomputed: Rated | None) -> Explanation:
    """
    Explain a stored decision; `recomputed` is the same charge rated with a quantity read again from the events.

    Without `recomputed` the check covers the stored quantity only, and says so.

    :raises InvalidDecision: if the decision cannot be read
    """
    stored = recompute(decision=decision, quantity=parse_decimal(decision.get("quantity"), path="quantity"))
    again = stored if recomputed is None else recomputed
    is_equal = is_reproduced(decision=decision, recomputed=again)
    return Explanation(
        code=stored.code,
        model=stored.model,
        currency=stored.currency,
        amount=minor_to_text(_signed_minor(stored, decision), stored.currency),
        plan=_plan_sentence(decision),
        period=_period_sentence(decision),
        quantity=_quantity_sentence(stored, decision),
        included=included_words(stored),
        proration=_proration_sentence(stored, decision),
        formula=(
            *formula_of(stored),
            *_effect_sentences(stored, decision),
            *_discount_sentences(stored, decision),
        ),
        rows=tuple(row_of(stored, step) for step in stored.steps),
        rounding=_rounding_sentence(stored),
        tax=_tax_sentence(stored, decision),
        check=_check_sentence(stored, recomputed, is_equal=is_equal),
        is_equal=is_equal,
        stored_input_hash=decision["input_hash"],
        stored_output_hash=decision["output_hash"],
        recomputed_input_hash=again.input_hash,
        recomputed_output_hash=again.output_hash,
    )


def _plan_sentence(decision: Mapping[str, Any]) -> str:
    plan = decision.get("plan") or {}
    if not plan:
        return "Not priced by a plan."
    agreed = f", at the agreed price {plan['override']}" if "override" in plan else ""
    return f'Priced by plan "{plan.get("code")}", version {plan.get("version")}{agreed}.'


def _period_sentence(decision: Mapping[str, Any]) -> str:
    period = decision.get("period") or {}
    if not period:
        return "Not tied to a period."
    return f"For the time from {period['starts_at']} up to, and not including, {period['ends_at']}."


def _quantity_sentence(line: Rated, decision: Mapping[str, Any]) -> str:
    usage = decision.get("usage") or {}
    if "adjusts" in decision:
        return _adjusted_sentence(line, decision["adjusts"])
    if not line.terms.is_metered:
        commitment = _commitment_words(line, usage)
        if commitment is not None:
            return commitment
        if line.terms.per_quantity:
            return f"The subscription has {units_words(line, decimal_text(line.quantity))}; no usage is measured."
        return "A fixed amount; no usage is measured."
    version = decision.get("meter_version")
    source = f'Meter "{line.terms.meter}"' if line.terms.meter else "The quantity given"
    source += f" (version {version})" if version is not None else ""
    events = f" from {usage['event_count']} events" if "event_count" in usage else ""
    return f"{source} came to {units_words(line, decimal_text(line.quantity))}{events}.{_measured_words(usage)}"


def _adjusted_sentence(line: Rated, adjusts: Mapping[str, Any]) -> str:
    """Say what an adjustment is the difference of, and where it was billed before."""
    billed = minor_to_text(int(adjusts["billed_minor"]), line.currency)
    owed = minor_to_text(int(adjusts["owed_minor"]), line.currency)
    return (
        f"{adjusts['reason']} Invoice {adjusts['invoice']} and adjustments since billed {billed} {line.currency} for "
        f"{adjusts['quantity_before']} units; {owed} {line.currency} is owed for {adjusts['quantity_after']}, and this "
        "line is the difference."
    )


def _commitment_words(line: Rated, usage: Mapping[str, Any]) -> str | None:
    """Say what a commitment's shortfall, discount or overage comes from; None for any other fixed amount."""

    def major(key: str) -> str:
        """Return an amount of the evidence in major units with its currency."""
        return f"{minor_to_text(int(usage[key]), line.currency)} {line.currency}"

    if "minimum_minor" in usage and "counted_minor" in usage:
        return (
            f"The period has a minimum of {major('minimum_minor')}; {major('counted_minor')} were billed for it, "
            "and this line is the difference."
        )
    if "commitment_minor" not in usage:
        return None
    covered = amount_words(line, usage["covered"])
    if "overage_factor" in usage:
        return (
            f"Of usage of {major('list_minor')} at list price the commitment of {major('commitment_minor')} covers "
            f"{covered}. The rest is charged x {usage['overage_factor']}, and this line is the difference."
        )
    return (
        f"Usage of {covered} at list price counts against the commitment of {major('commitment_minor')}, "
        f"{usage['discount_percent']} percent off."
    )


def _measured_words(usage: Mapping[str, Any]) -> str:
    """Say what was measured before units were rounded, when a meter rounds them."""
    rounding = usage.get("unit_rounding")
    if not rounding or "raw_quantity" not in usage:
        return ""
    how = rounding_words(divide_by=rounding.get("divide_by"), mode=rounding["mode"], precision=rounding["precision"])
    return f" Measured were {usage['raw_quantity']}{how}."


def _signed_minor(line: Rated, decision: Mapping[str, Any]) -> int:
    """Return what a line adds to its document: what was rated, given back, or nothing when it is waived."""
    return SIGNS[decision.get("effect", "bill")] * line.amount_minor


def _effect_sentences(line: Rated, decision: Mapping[str, Any]) -> Iterator[str]:
    effect, usage = decision.get("effect", "bill"), decision.get("usage") or {}
    if effect == "waive":
        yield "It falls into the trial, so nothing is charged."
    elif effect == "credit" and "credit_of_invoice" in usage:
        given_back = minor_to_text(line.amount_minor, line.currency)
        yield f"It was billed on invoice {usage['credit_of_invoice']} and {given_back} {line.currency} is given back."
    elif effect == "credit" and "adjusts" in decision:
        yield f"{minor_to_text(line.amount_minor, line.currency)} {line.currency} is given back."
    elif effect == "credit":
        yield f"It takes {minor_to_text(line.amount_minor, line.currency)} {line.currency} off."


def _proration_sentence(line: Rated, decision: Mapping[str, Any]) -> str | None:
    if not line.terms.prorate or line.factor == 1:
        return None
    if decision.get("effect") == "credit":
        return f"{line.factor} of the time that was billed is not served on these terms."
    what = "Included units, minimum and maximum are" if line.terms.is_metered else "The amount is"
    return f"Only {line.factor} of the full period was served. {what} multiplied by that part."


def _rounding_sentence(line: Rated) -> str:
    if isinstance(line, RatedIncrement):
        return f"Both prices were rounded {ROUNDING_WORDS[line.rounding.value]}, so their difference needs no rounding."
    exact, rounded = fraction_words(line.amount_exact), minor_to_text(line.amount_minor, line.currency)
    if Fraction(exact) == Fraction(rounded):
        return f"The exact amount needs no rounding: {rounded} {line.currency}."
    words = ROUNDING_WORDS[line.rounding.value]
    return f"{amount_words(line, exact)} is rounded once, {words}: {rounded} {line.currency}."


def _discount_sentences(line: Rated, decision: Mapping[str, Any]) -> Iterator[str]:
    for discount in decision.get("discounts", ()):
        taken = minor_to_text(discount["amount_minor"], line.currency)
        yield f"Discount {discount['code']} takes {taken} {line.currency} from this line."


def _tax_sentence(line: Rated, decision: Mapping[str, Any]) -> str:
    tax, tax_minor = decision.get("tax"), decision.get("tax_minor")
    if tax is None or tax_minor is None:
        return "The tax is not known yet; the line cannot become final without it."
    place = f"{tax['jurisdiction']}, category {tax['category']}"
    if tax["treatment"] != "taxed":
        return f"No tax ({place}): {TREATMENTS[tax['treatment']]}."
    taken_minor = sum(discount["amount_minor"] for discount in decision.get("discounts", ()))
    taxed_minor = _signed_minor(line, decision) - taken_minor
    net, amount = minor_to_text(taxed_minor, line.currency), minor_to_text(tax_minor, line.currency)
    return f"{tax['rate_percent']} percent tax ({place}) on {net} {line.currency}: {amount} {line.currency}."


def _check_sentence(stored: Rated, recomputed: Rated | None, *, is_equal: bool) -> str:
    if recomputed is None:
        outcome = "gives the stored answer" if is_equal else "does not give the stored answer"
        return f"Rating the stored quantity again {outcome}; the events were not read again."
    if is_equal and not stored.terms.is_metered:
        return "Rating it again gives the stored answer, hash for hash; no events are behind a fixed amount."
    if is_equal:
        return "Reading the events and rating them again gives the stored answer, hash for hash."
    now = minor_to_text(recomputed.amount_minor, recomputed.currency)
    return (
        "Reading the events and rating them again does not give the stored answer: "
        f"stored quantity {decimal_text(stored.quantity)}, read now {decimal_text(recomputed.quantity)}, "
        f"which comes to {now} {recomputed.currency}."
    )
