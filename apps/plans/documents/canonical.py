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
from apps.engine.exact import Rounding, decimal_text
from apps.engine.hashing import canonical_hash, instant_text
from apps.engine.invoice_draft import BASE_FEE_CODE
from apps.engine.money import minor_to_text
from apps.engine.periods import Interval
from apps.plans.documents.schema import UNLIMITED

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

    def to_document(self) -> bool | dict[str, str]:
        """Return the feature as the pricing document writes it."""
        if self.limit_units is None and not self.is_unlimited:
            return self.is_granted
        limit = UNLIMITED if self.limit_units is None else decimal_text(self.limit_units)
        named = {"limit": limit, "meter": self.meter or "", "on_exceed": self.on_exceed}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExample:
    """A golden example: units per meter, and the total before tax in minor units that they must cost."""

    name: str
    usage: Mapping[str, Decimal]
    total_minor: int


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

    @property
    def meter_codes(self) -> frozenset[str]:
        """The codes of all meters that charges and features name."""
        named = {charge.meter for charge in self.charges} | {feature.meter for feature in self.features}
        return frozenset(code for code in named if code)

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
            "base_fee": base_fee and {key: base_fee[key] for key in BASE_FEE_FIELDS},
            "charges": list(documents.values()),
            "features": {feature.code: feature.to_document() for feature in self.features},
            "examples": [
                {
                    "name": example.name or None,
                    "usage": {code: decimal_text(units) for code, units in sorted(example.usage.items())},
                    "total": minor_to_text(example.total_minor, self.currency),
                }
                for example in self.examples
            ],
        }


BASE_FEE_FIELDS = ("amount", "timing", "prorate", "tax_category", "description")


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
