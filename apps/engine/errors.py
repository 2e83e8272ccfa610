"""
Refusals of the engine.

Rules: every refusal is a class with a stable code; `path` names the place in the document or the field
(dotted, "" when there is only one place); `detail` says what is wrong and what to do instead.
"""

from typing import ClassVar


class EngineError(ValueError):
    """An input that the engine refuses; anything else raised here is a bug."""

    code: ClassVar[str] = "engine_error"

    def __init__(self, detail: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.detail = detail
        self.path = path


class InvalidDecimal(EngineError):
    """A number that is not written as a plain decimal string within its bounds."""

    code = "invalid_decimal"


class InvalidMoney(EngineError):
    """An amount that the currency cannot express, or that is not a whole number of minor units."""

    code = "invalid_money"


class CurrencyUnknown(EngineError):
    """A currency code that ISO 4217 does not list as money with a minor unit."""

    code = "currency_unknown"


class CurrencyMismatch(EngineError):
    """Two currencies met where only one makes sense."""

    code = "currency_mismatch"


class InvalidPeriod(EngineError):
    """An anchor, interval or period that cannot be computed with."""

    code = "invalid_period"


class InvalidAllocation(EngineError):
    """A total that cannot be split by the given weights."""

    code = "invalid_allocation"


class InvalidTerms(EngineError):
    """Pricing terms that are incomplete, contradictory or not available."""

    code = "invalid_terms"


class UnitsOutOfRange(EngineError):
    """A quantity that cannot be priced."""

    code = "units_out_of_range"


class InvalidTax(EngineError):
    """A tax decision that contradicts itself."""

    code = "invalid_tax"


class TaxNotKnown(EngineError):
    """A line without a tax decision stands where a final amount is asked for."""

    code = "tax_not_known"


class InvalidDiscount(EngineError):
    """A discount that takes nothing, more than everything, or does not say what."""

    code = "invalid_discount"


class InvalidDraft(EngineError):
    """Facts from which no invoice can be drafted."""

    code = "invalid_draft"


class InvalidDecision(EngineError):
    """A stored rating decision that this engine cannot read."""

    code = "invalid_decision"


class InvalidPosting(EngineError):
    """Facts that give no balanced postings."""

    code = "invalid_posting"


class NotCanonical(EngineError):
    """A value that has no single canonical text and so cannot be hashed."""

    code = "not_canonical"
