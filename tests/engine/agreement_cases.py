"""Charge documents and usage by chance, where mistakes live: on bounds, at zero, at the ends of what is possible."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.engine.naive.numbers import MINOR_DIGITS
from tests.engine.naive.rating import Usage

MODELS = (
    "flat", "per_unit", "graduated", "volume", "package", "overage", "percentage", "graduated_percentage", "dynamic",
)  # fmt: skip
MATRIX_MODELS = ("per_unit", "graduated", "volume", "package", "overage")
MODES = ("half_up", "half_even", "ceil", "floor")
REGIONS = ("eu", "us", "ap", None)
TIERS = ("gold", "basic")
# Narrow ones first: the reader refuses a condition that an earlier one makes unreachable.
_CONDITIONS = (
    {"region": "eu", "tier": "gold"}, {"region": "us", "tier": "basic"}, {"region": "eu"}, {"tier": "gold"},
    {"region": "us"},
)  # fmt: skip
_TINY = Decimal("0.000001")
_HUGE = Decimal(10) ** 30


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question to both: a document, what was used, and how it becomes money."""

    document: dict[str, Any]
    currency: str
    mode: str
    factor: Fraction
    usage: Usage


def random_case(chance: random.Random, models: Sequence[str] = MODELS) -> Case:
    """Return a case whose document is valid."""
    currency, model = chance.choice(list(MINOR_DIGITS)), chance.choice(models)
    document: dict[str, Any] = {"code": "charge", "model": model, **_price(chance, model, currency)}
    if model != "flat":
        document["meter"] = "meter"
    if model in MATRIX_MODELS and (model == "overage" or chance.random() < 0.5):
        document["included_units"] = _units(chance)
    if model in (*MATRIX_MODELS, "graduated_percentage") and chance.random() < 0.25:
        document["unit_transform"] = _transform(chance)
    if model in MATRIX_MODELS and chance.random() < 0.3:
        document["prices_by"] = _matrix(chance, currency)
    _add_modifiers(chance, document, currency)
    factor = chance.choice((Fraction(1), Fraction(1), _part(chance)))
    return Case(
        document=document,
        currency=currency,
        mode=chance.choice(MODES),
        factor=factor,
        usage=_usage(chance, document, factor),
    )


def _add_modifiers(chance: random.Random, document: dict[str, Any], currency: str) -> None:
    if chance.random() < 0.25:
        document["discount_percent"] = chance.choice(("0", "100", "10", "33.333", "0.01", "99.999999"))
    low, high = sorted((_money(chance, currency), _money(chance, currency)), key=Decimal)
    if chance.random() < 0.3:
        document["min_amount"] = low
    if chance.random() < 0.3:
        document["max_amount"] = high
    if chance.random() < 0.4:
        document["prorate"] = chance.random() < 0.5


def _price(chance: random.Random, model: str, currency: str) -> dict[str, Any]:
    """Return the parameters of a model."""
    if model == "flat":
        return {"amount": _money(chance, currency)} | ({"per_quantity": True} if chance.random() < 0.4 else {})
    if model in ("per_unit", "overage"):
        return {"unit_rate": _rate(chance)}
    if model == "package":
        size = chance.choice(("1", "10", "0.5", "1000", "3", "0.000001", "99999999999999999999"))
        return {"package_size": size, "package_price": _money(chance, currency)}
    if model == "percentage":
        return _percentage(chance, currency)
    if model == "dynamic":
        return {"amount_property": "cost"}
    rate_key = "rate_percent" if model == "graduated_percentage" else "unit_rate"
    parameters: dict[str, Any] = {"tiers": _tiers(chance, currency, rate_key)}
    if chance.random() < 0.4:
        parameters["flat_at_zero"] = chance.random() < 0.5
    return parameters


def _percentage(chance: random.Random, currency: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rate_percent": _percent(chance)}
    if chance.random() < 0.5:
        parameters["fixed_fee"] = _money(chance, currency)
    if chance.random() < 0.5:
        parameters["free_events"] = chance.choice(("0", "1", "2", "3"))
    if chance.random() < 0.5:
        parameters["free_amount"] = _money(chance, currency)
    low, high = sorted((_money(chance, currency), _money(chance, currency)), key=Decimal)
    if chance.random() < 0.4:
        parameters["min_per_event"] = low
    if chance.random() < 0.4:
        parameters["max_per_event"] = high
    return parameters


def _tiers(chance: random.Random, currency: str, rate_key: str) -> list[dict[str, Any]]:
    count = chance.choice((0, 1, 1, 2, 2, 3, 5, 12))
    bounds = sorted({bound for bound in (Decimal(_units(chance)) for _ in range(count)) if bound > 0})
    return [
        {
            "up_to": None if bound is None else f"{bound:f}",
            rate_key: _percent(chance) if rate_key == "rate_percent" else _rate(chance),
            **({"flat_fee": _money(chance, currency)} if chance.random() < 0.5 else {}),
        }
        for bound in (*bounds, None)
    ]


def _matrix(chance: random.Random, currency: str) -> dict[str, Any]:
    default = {} if chance.random() < 0.5 else _cell_price(chance, currency)
    if chance.random() < 0.5:
        regions = chance.sample(("eu", "us", "ap"), chance.randint(1, 3))
        return {
            "property": "region",
            "match": {region: _cell_price(chance, currency) for region in regions},
            "default": default,
        }
    chosen = sorted(chance.sample(range(len(_CONDITIONS)), chance.randint(1, len(_CONDITIONS))))
    entries = [{"when": _CONDITIONS[position], "price": _cell_price(chance, currency)} for position in chosen]
    properties = sorted({name for entry in entries for name in entry["when"]})
    return {"properties": properties, "match": entries, "default": default}


def _cell_price(chance: random.Random, currency: str) -> dict[str, Any]:
    if chance.random() < 0.3:
        return {"unit_rate": _rate(chance)}
    model = chance.choice(("per_unit", "graduated", "volume", "package"))
    return {"model": model, **_price(chance, model, currency)}


def _transform(chance: random.Random) -> dict[str, Any]:
    transform: dict[str, Any] = {"mode": chance.choice(MODES), "precision": chance.choice((0, 0, 2, 12, -3))}
    if chance.random() < 0.7:
        transform["divide_by"] = chance.choice(("1000", "3", "1000000000", "0.5", "7"))
    return transform


def _usage(chance: random.Random, document: dict[str, Any], factor: Fraction) -> Usage:
    model = document["model"]
    if model == "percentage":
        return Usage(event_values=_event_values(chance, document))
    if model == "dynamic":
        amounts = tuple(Fraction(_units(chance)) for _ in range(chance.choice((0, 1, 2, 5))))
        return Usage(amounts=amounts)
    if "prices_by" not in document:
        return Usage(quantity=Fraction(_near_an_edge(chance, document, factor)))
    groups = []
    for _ in range(chance.choice((0, 1, 2, 3, 6))):
        values: dict[str, str | None] = {"region": chance.choice(REGIONS), "tier": chance.choice((*TIERS, None))}
        if chance.random() < 0.1:
            values.pop("region")
        groups.append((values, Fraction(_near_an_edge(chance, document, factor)) / 8))
    return Usage(groups=tuple(groups), quantity=sum((units for _, units in groups), Fraction(0)))


def _event_values(chance: random.Random, document: dict[str, Any]) -> tuple[Fraction, ...]:
    free = Decimal(document.get("free_amount") or "0")
    near = (free, free / 2, free / 4, max(Decimal(0), free - _TINY), free + _TINY)
    return tuple(
        Fraction(chance.choice(near) if chance.random() < 0.4 else Decimal(_units(chance)))
        for _ in range(chance.choice((0, 1, 2, 3, 4, 8)))
    )


def _near_an_edge(chance: random.Random, document: dict[str, Any], factor: Fraction) -> Decimal:
    """Return units on, just below or just above a number that the document names, or any."""
    edges = [Decimal(tier["up_to"]) for tier in document.get("tiers", ()) if tier["up_to"] is not None]
    edges.append(Decimal(document.get("included_units") or "0"))
    size = Decimal(document.get("package_size") or "1")
    edges += [size * chance.randint(0, 9), edges[-1] + size * chance.randint(0, 9)]
    shrunk = edges[-2] * factor.numerator / factor.denominator
    edge = chance.choice([*edges, shrunk.quantize(_TINY) if shrunk < 10**20 else shrunk.to_integral_value()])
    near = chance.choice((edge, edge + _TINY, max(Decimal(0), edge - _TINY), Decimal(_units(chance))))
    return min(near, _HUGE)


def _units(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.15:
        return "0"
    if kind < 0.5:
        return str(chance.randint(1, 30))
    if kind < 0.8:
        return f"{Decimal(chance.randint(1, 10**9)) / 10 ** chance.randint(1, 6):f}"
    if kind < 0.9:
        return str(chance.randint(10**6, 10**9))
    if kind < 0.95:
        return f"0.{chance.randint(1, 10**12 - 1):012d}"
    return str(chance.randint(10**28, 10**29))


def _rate(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.1:
        return "0"
    if kind < 0.5:
        return f"{Decimal(chance.randint(1, 10**6)) / 10 ** chance.randint(0, 6):f}"
    if kind < 0.9:
        return f"{chance.randint(0, 9)}.{chance.randint(0, 99999):05d}"
    return chance.choice((f"{'9' * 20}.{'9' * 18}", f"0.{'0' * 19}1", "1"))


def _percent(chance: random.Random) -> str:
    return chance.choice(("0", "2.9", "0.25", "100", "1.4", "33.333333", "0.000001"))


def _money(chance: random.Random, currency: str) -> str:
    digits = MINOR_DIGITS[currency]
    minor = chance.choice((0, 1, 5, 50, 999, chance.randint(0, 10**6), chance.randint(0, 10**6), 10**29 + 1))
    return str(minor) if digits == 0 else f"{minor // 10**digits}.{minor % 10**digits:0{digits}d}"


def _part(chance: random.Random) -> Fraction:
    return chance.choice(
        (Fraction(0), Fraction(1, 2), Fraction(15, 31), Fraction(1, 2_678_400), Fraction(chance.randint(0, 744), 744))
    )
