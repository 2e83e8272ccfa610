"""
The one form of a plan: what is hashed, stored and compared.

Rules: charges and features stand in the order of their codes and every default is written out, so that two documents
that mean the same are the same text. A canonical document is itself a valid pricing document.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.engine.charge_models import ChargeTerms, charge_to_document
from apps.engine.commitments import CommitmentTerms
from apps.engine.exact import Rounding, decimal_text
from apps.engine.hashing import canonical_hash, instant_text
from apps.engine.invoice_draft import BASE_FEE_CODE
from apps.engine.money import minor_to_text, parse_decimal, text_to_minor
from apps.engine.periods import Interval
from apps.engine.proration import ProrationMode
from apps.plans.documents.schema import UNLIMITED
from apps.plans.documents.usage_by_hand import UsageByHand

_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTerms:
    """What a plan grants: a switch, a limit in units, or explicitly no limit."""

    code: str
    is_granted: bool
    limit_units: Decimal | None = None
    is_unlimited: bool = False
    meter: str | None = None
    on_exceed: str = ""
    is_prorated: bool = False  # a metered limit shrinks with a period that is served in part

    def to_document(self) -> bool | dict[str, str | bool]:
        """Return the feature as the pricing document writes it."""
        if self.limit_units is None and not self.is_unlimited:
            return self.is_granted
        limit = UNLIMITED if self.limit_units is None else decimal_text(self.limit_units)
        named: dict[str, str | bool] = {
            "limit": limit,
            "meter": self.meter or "",
            "on_exceed": self.on_exceed,
            "prorate": self.is_prorated,
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExample:
    """A golden example: usage per meter, and the total before tax in minor units that it must cost."""

    name: str
    usage: Mapping[str, UsageByHand]
    total_minor: int
    quantity: Decimal = Decimal(1)  # of the subscription, such as its seats


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPlan:
    """A pricing document that passed every check; the base fee, if there is one, is its first charge."""

    code: str
    name: str
    currency: str
    interval: Interval
    effective_at: datetime
    rounding: Rounding
    charges: tuple[ChargeTerms, ...]
    features: tuple[FeatureTerms, ...]
    examples: tuple[PlanExample, ...]
    proration: ProrationMode = ProrationMode.BY_SECOND
    trial_days: int = 0
    minimum_commitment_minor: int | None = None
    commitment: CommitmentTerms | None = None
    cliff_limit_minor: int | None = None

    @property
    def meter_codes(self) -> frozenset[str]:
        """The codes of all meters that charges and features name."""
        named = {charge.meter for charge in self.charges} | {feature.meter for feature in self.features}
        return frozenset(code for code in named if code)

    @property
    def has_metered_charge(self) -> bool:
        """Whether what is used costs something, or may."""
        return any(charge.is_metered for charge in self.charges)

    @property
    def hash(self) -> str:
        """The hash of the canonical document: equal exactly for documents that mean the same."""
        return canonical_hash(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the canonical document: JSON with text, whole numbers, true and false."""
        documents = {charge.code: charge_to_document(charge) for charge in self.charges}
        base_fee = documents.pop(BASE_FEE_CODE, None)
        return {
            "plan": self.code,
            "name": self.name,
            "currency": self.currency,
            "interval": {"unit": self.interval.unit, "count": self.interval.count},
            "effective_at": instant_text(self.effective_at),
            "rounding": self.rounding.value,
            "base_fee": base_fee and {key: base_fee[key] for key in BASE_FEE_FIELDS if key in base_fee},
            "charges": list(documents.values()),
            "features": {feature.code: feature.to_document() for feature in self.features},
            "examples": [self._example_document(example) for example in self.examples],
            **self._later_fields(),
        }

    def _example_document(self, example: PlanExample) -> dict[str, Any]:
        quantity = {} if example.quantity == 1 else {"quantity": decimal_text(example.quantity)}
        return {
            "name": example.name or None,
            "usage": {code: usage.to_document() for code, usage in sorted(example.usage.items())},
            **quantity,
            "total": minor_to_text(example.total_minor, self.currency),
        }

    def _later_fields(self) -> dict[str, Any]:
        """Return what the language learned after its first version, where it says something: old hashes stay equal."""
        fields: dict[str, Any] = {}
        if self.proration is not ProrationMode.BY_SECOND:
            fields["proration"] = self.proration.value
        if self.trial_days:
            fields["trial_days"] = self.trial_days
        if self.minimum_commitment_minor is not None:
            fields["minimum_commitment"] = minor_to_text(self.minimum_commitment_minor, self.currency)
        if self.commitment is not None:
            fields["commitment"] = commitment_document(self.commitment, currency=self.currency)
        if self.cliff_limit_minor is not None:
            fields["cliff_limit"] = minor_to_text(self.cliff_limit_minor, self.currency)
        return fields


BASE_FEE_FIELDS = ("amount", "timing", "per_quantity", "prorate", "tax_category", "description")


def commitment_document(terms: CommitmentTerms, *, currency: str) -> dict[str, str]:
    """Return a commitment as the pricing document writes it, without what it leaves at its default."""
    fields = {"amount": minor_to_text(terms.amount_minor, currency)}
    if terms.discount_percent != 0:
        fields["discount_percent"] = decimal_text(terms.discount_percent)
    if terms.overage_factor != 1:
        fields["overage_factor"] = decimal_text(terms.overage_factor)
    return fields


def commitment_from_document(document: Mapping[str, Any], *, currency: str) -> CommitmentTerms:
    """
    Read a commitment as the pricing document writes it.

    :raises InvalidTerms: if it cannot be meant
    :raises EngineError: if a number is not exact, or the amount has more digits than the currency
    """
    discount, factor = document.get("discount_percent"), document.get("overage_factor")
    return CommitmentTerms(
        amount_minor=text_to_minor(document["amount"], currency, path="commitment.amount"),
        discount_percent=Decimal(0)
        if discount is None
        else parse_decimal(discount, path="commitment.discount_percent", minimum=Decimal(0)),
        overage_factor=Decimal(1)
        if factor is None
        else parse_decimal(factor, path="commitment.overage_factor", minimum=Decimal(0)),
    )


def differences(*, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a line for each value that differs between two canonical documents, charges told apart by code."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    lines = []
    for path in sorted(old.keys() | new.keys()):
        was, becomes = old.get(path, _ABSENT), new.get(path, _ABSENT)
        if was is _ABSENT:
            lines.append(f"+ {path}: {_text(becomes)}")
        elif becomes is _ABSENT:
            lines.append(f"- {path}: {_text(was)}")
        elif was != becomes:
            lines.append(f"~ {path}: {_text(was)} -> {_text(becomes)}")
    return tuple(lines)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            # A charge inserted in the middle must not make all later ones look changed.
            name = item.get("code") if isinstance(item, Mapping) and "code" in item else position
            yield from _leaves(item, f"{path}[{name}]")
    elif value is not None:  # a default that is null says nothing to a reader
        yield path, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
