"""
An amount in words and numbers, from the decision that was stored with it.

Rules: everything said is computed from the decision, never from what the plan or the meter says today; a number is
shown exactly as it was used, and a fraction that does not end is shown as such, with its first digits beside it. The
check compares hashes: equal means that the same inputs still give the same answer.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

from apps.engine.charge_models import RatedLine, RatedStep
from apps.engine.decisions import is_reproduced, recompute
from apps.engine.exact import Rounding, decimal_text, ratio_text, round_ratio, scaled_text
from apps.engine.money import minor_to_text, parse_decimal
from apps.engine.tax import TREATMENTS

_DIGITS_SHOWN: Final = 6
_ROUNDING_WORDS: Final[Mapping[str, str]] = {
    "half_up": "to the nearest, a half away from zero",
    "half_even": "to the nearest, a half to the even digit",
    "ceil": "up",
    "floor": "down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRow:
    """One row of the table behind an amount; every number is exact text."""

    label: str
    units: str
    rate: str
    flat_fee: str
    amount: str


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


def explain_line(*, decision: Mapping[str, Any], recomputed: RatedLine | None) -> Explanation:
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
        amount=minor_to_text(stored.amount_minor, stored.currency),
        plan=_plan_sentence(decision),
        period=_period_sentence(decision),
        quantity=_quantity_sentence(stored, decision),
        included=_included_sentence(stored),
        proration=_proration_sentence(stored),
        formula=tuple(_formula_of(stored)),
        rows=tuple(_row(step) for step in stored.steps),
        rounding=_rounding_sentence(stored),
        tax=_tax_sentence(stored, decision),
        check=_check_sentence(stored, recomputed, is_equal=is_equal),
        is_equal=is_equal,
        stored_input_hash=decision["input_hash"],
        stored_output_hash=decision["output_hash"],
        recomputed_input_hash=again.input_hash,
        recomputed_output_hash=again.output_hash,
    )


def readable(text: str) -> str:
    """Return an exact number for reading: decimals as they are, "1/3" as "0.333333... (exactly 1/3)"."""
    if "/" not in text:
        return text
    value = Fraction(text)
    sign = "-" if value < 0 else ""
    digits = round_ratio(abs(value.numerator) * 10**_DIGITS_SHOWN, value.denominator, Rounding.FLOOR)
    return f"{sign}{scaled_text(digits, _DIGITS_SHOWN)}... (exactly {text})"


def _plan_sentence(decision: Mapping[str, Any]) -> str:
    plan = decision.get("plan") or {}
    if not plan:
        return "Not priced by a plan."
    return f'Priced by plan "{plan.get("code")}", version {plan.get("version")}.'


def _period_sentence(decision: Mapping[str, Any]) -> str:
    period = decision.get("period") or {}
    if not period:
        return "Not tied to a period."
    return f"For the time from {period['starts_at']} up to, and not including, {period['ends_at']}."


def _units_words(line: RatedLine, units: str) -> str:
    return f"{readable(units)} {line.terms.unit or 'units'}"


def _quantity_sentence(line: RatedLine, decision: Mapping[str, Any]) -> str:
    usage = decision.get("usage") or {}
    if not line.terms.is_metered:
        if "minimum_minor" in usage and "counted_minor" in usage:
            minimum = minor_to_text(int(usage["minimum_minor"]), line.currency)
            counted = minor_to_text(int(usage["counted_minor"]), line.currency)
            return (
                f"The period has a minimum of {minimum} {line.currency}; {counted} {line.currency} were billed for it, "
                "and this line is the difference."
            )
        return "A fixed amount; no usage is measured."
    version = decision.get("meter_version")
    source = f'Meter "{line.terms.meter}"' if line.terms.meter else "The quantity given"
    source += f" (version {version})" if version is not None else ""
    events = f" from {usage['event_count']} events" if "event_count" in usage else ""
    return f"{source} came to {_units_words(line, decimal_text(line.quantity))}{events}.{_measured_words(usage)}"


def _measured_words(usage: Mapping[str, Any]) -> str:
    """Say what was measured before units were rounded, when a meter rounds them."""
    rounding = usage.get("unit_rounding")
    if not rounding or "raw_quantity" not in usage:
        return ""
    divisor = rounding.get("divide_by")
    divided = f", divided by {divisor}" if divisor not in (None, "1") else ""
    words, digits = _ROUNDING_WORDS[rounding["mode"]], rounding["precision"]
    whole = "a whole number" if not digits else f"{digits} digits after the point"
    return f" Measured were {usage['raw_quantity']}{divided} and rounded {words} to {whole}."


def _included_sentence(line: RatedLine) -> str | None:
    for step in line.steps:
        if step.kind == "included":
            billed = _units_words(line, _text_of(line.billable_quantity))
            place = ", taken from the bottom of the tiers" if _is_at_the_bottom(step) else ""
            return (
                f"{_units_words(line, step.to_units or '0')} are included{place}; {readable(step.units or '0')} of "
                f"them were used, and {billed} are billed."
            )
    return None


def _is_at_the_bottom(step: RatedStep) -> bool:
    """Tell whether included units lie on a ladder of tiers, and not merely before a plain rate."""
    return step.kind == "included" and step.from_units is not None


def _proration_sentence(line: RatedLine) -> str | None:
    if not line.terms.prorate or line.factor == 1:
        return None
    what = "Included units, minimum and maximum are" if line.terms.is_metered else "The amount is"
    return f"Only {line.factor} of the full period was served. {what} multiplied by that part."


def _formula_of(line: RatedLine) -> list[str]:
    sentences = []
    for step in line.steps:
        if step.kind == "tier":
            sentences.append(_tier_sentence(line, step))
        elif step.kind == "per_unit":
            amount = _amount_words(line, step.amount)
            sentences.append(f"{_units_words(line, step.units or '0')} x {step.rate} {line.currency} = {amount}.")
        elif step.kind == "flat":
            sentences.append(_flat_sentence(line, step))
        elif step.kind in ("maximum", "minimum"):
            change = "less" if step.kind == "maximum" else "more"
            limit, difference = _amount_words(line, step.flat_fee or "0"), step.amount.removeprefix("-")
            sentences.append(f"The {step.kind} of {limit} applies: {_amount_words(line, difference)} {change}.")
    if len(sentences) > 1:
        sentences.append(f"Together {_amount_words(line, _text_of(line.amount_exact))}.")
    if not sentences:
        sentences.append(f"No billable unit entered a tier, so the amount is {_amount_words(line, '0')}.")
    return sentences


def _flat_sentence(line: RatedLine, step: RatedStep) -> str:
    if step.factor in (None, "1"):
        return f"A fixed {_amount_words(line, step.amount)}."
    return f"{step.flat_fee} {line.currency} x {step.factor} of the period = {_amount_words(line, step.amount)}."


def _tier_sentence(line: RatedLine, step: RatedStep) -> str:
    bounds = f"above {step.from_units}" + (f" up to {step.to_units}" if step.to_units else "")
    fee = f" + {step.flat_fee} {line.currency} for entering" if step.flat_fee not in (None, "0") else ""
    units, amount = _units_words(line, step.units or "0"), _amount_words(line, step.amount)
    return f"Tier {step.tier}, {bounds}: {units} x {step.rate} {line.currency}{fee} = {amount}."


def _row(step: RatedStep) -> ExplanationRow:
    label = "Included, from the bottom" if _is_at_the_bottom(step) else step.kind.replace("_", " ").capitalize()
    if step.kind == "tier":
        label = f"Above {step.from_units}" + (f" up to {step.to_units}" if step.to_units else "")
    return ExplanationRow(
        label=label,
        units=step.units or "",
        rate=step.rate or "",
        flat_fee=step.flat_fee or "",
        amount=step.amount,
    )


def _rounding_sentence(line: RatedLine) -> str:
    exact, rounded = _text_of(line.amount_exact), minor_to_text(line.amount_minor, line.currency)
    if Fraction(exact) == Fraction(rounded):
        return f"The exact amount needs no rounding: {rounded} {line.currency}."
    words = _ROUNDING_WORDS[line.rounding.value]
    return f"{_amount_words(line, exact)} is rounded once, {words}: {rounded} {line.currency}."


def _tax_sentence(line: RatedLine, decision: Mapping[str, Any]) -> str:
    tax, tax_minor = decision.get("tax"), decision.get("tax_minor")
    if tax is None or tax_minor is None:
        return "The tax is not known yet; the line cannot become final without it."
    place = f"{tax['jurisdiction']}, category {tax['category']}"
    if tax["treatment"] != "taxed":
        return f"No tax ({place}): {TREATMENTS[tax['treatment']]}."
    net, amount = minor_to_text(line.amount_minor, line.currency), minor_to_text(tax_minor, line.currency)
    return f"{tax['rate_percent']} percent tax ({place}) on {net} {line.currency}: {amount} {line.currency}."


def _check_sentence(stored: RatedLine, recomputed: RatedLine | None, *, is_equal: bool) -> str:
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


def _amount_words(line: RatedLine, text: str) -> str:
    return f"{readable(text)} {line.currency}"


def _text_of(value: Fraction) -> str:
    return ratio_text(value.numerator, value.denominator)
