"""The terms of a version for people: facts in words, tiers and matrices as tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from apps.backoffice.panels import Column, Panel
from apps.common import formatting
from apps.engine.charge_models import ChargeTerms
from apps.engine.exact import decimal_text
from apps.plans import terms as plan_terms
from apps.plans.models import PlanVersion

Facts = tuple[tuple[str, str], ...]

_MODELS = {
    "flat": "Fixed amount",
    "per_unit": "Price per unit",
    "graduated": "Graduated: each tier prices its own units",
    "volume": "Volume: the tier that is reached prices all units",
    "package": "Packages, each begun one in full",
    "overage": "Price per unit above what is included",
    "percentage": "Percentage of each event's value",
    "graduated_percentage": "Graduated percentage of an amount of money",
    "dynamic": "The amounts that the events carry",
}
_ROUNDINGS = {
    "half_up": "to the nearest, ties away from zero",
    "half_even": "to the nearest, ties to the even digit",
    "ceil": "up",
    "floor": "down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeView:
    """A charge as a page shows it."""

    title: str
    model: str
    facts: Facts
    tables: tuple[Panel, ...]


def plan_facts(version: PlanVersion) -> Facts:
    """Return what a version says of the subscription as a whole, in words; what it does not say is left out."""
    document, currency = version.document, version.currency
    count = version.interval_count
    every = version.interval_unit if count == 1 else f"{count} {version.interval_unit}s"
    commitment = plan_terms.commitment_of(version)
    minimum = plan_terms.minimum_commitment_minor(version)
    facts = [
        ("Currency", currency),
        ("Billed every", every),
        ("Rounding", f"Each line once, {_ROUNDINGS[version.rounding]}"),
        ("Part of a period", "By day" if document.get("proration") == "by_day" else "By second"),
        ("Trial", f"{document['trial_days']} days" if document.get("trial_days") else ""),
        ("Minimum per period", "" if minimum is None else formatting.money_text(minimum, currency)),
    ]
    if commitment is not None:
        facts += [
            ("Commitment per period", formatting.money_text(commitment.amount_minor, currency)),
            ("Discount up to it", _percent(commitment.discount_percent)),
            ("Above it", f"List prices times {formatting.number_text(commitment.overage_factor)}"),
        ]
    return tuple((label, words) for label, words in facts if words)


def charge_views(*, charges: list[ChargeTerms], currency: str) -> list[ChargeView]:
    """Return the charges of a version in their order."""
    return [
        ChargeView(
            title=_name(charge),
            model=_MODELS.get(charge.model, charge.model),
            facts=tuple(_facts(charge, currency)),
            tables=tuple(_tables(charge, currency)),
        )
        for charge in charges
    ]


def _name(charge: ChargeTerms) -> str:
    """Return what documents call the charge."""
    return charge.description or charge.code.replace("_", " ").capitalize()


def _facts(charge: ChargeTerms, currency: str) -> Iterator[tuple[str, str]]:
    yield "Code", charge.code
    if charge.meter:
        yield "Meter", charge.meter
    when = "Event by event, as they happen" if charge.is_metered else "Before the period"
    yield "Billed", when if charge.timing == "advance" else "After the period"
    yield from _prices(charge, currency)
    if charge.included_units:
        yield "Included units", formatting.number_text(charge.included_units)
    if charge.unit_transform is not None:
        transform = charge.unit_transform
        divided = "" if transform.divide_by is None else f"divided by {formatting.number_text(transform.divide_by)}, "
        step = formatting.number_text(Decimal(1).scaleb(-transform.precision))
        yield "Units", f"{divided}rounded {_ROUNDINGS[transform.mode.value]} in steps of {step}"
    yield from _limits(charge, currency)
    if charge.prorate:
        yield "Part of a period", "Includes and costs its part" if charge.is_metered else "Costs its part"
    if charge.tax_category:
        yield "Tax category", charge.tax_category


def _prices(charge: ChargeTerms, currency: str) -> Iterator[tuple[str, str]]:
    if charge.amount is not None:
        yield "Amount", _amount(charge.amount, currency) + (" for each of the quantity" if charge.per_quantity else "")
    if charge.unit_rate is not None:
        yield "Per unit", _rate(charge.unit_rate, currency)
    if charge.package_size is not None and charge.package_price is not None:
        size = formatting.number_text(charge.package_size)
        yield "Package", f"{_rate(charge.package_price, currency)} for {size} units"
    if charge.rate_percent is not None:
        yield "Percentage", _percent(charge.rate_percent)
    if charge.fixed_fee:
        yield "And per event", _rate(charge.fixed_fee, currency)
    if charge.free_events is not None:
        yield "Free events", formatting.number_text(charge.free_events)
    if charge.free_amount is not None:
        yield "Free amount", _rate(charge.free_amount, currency)
    if charge.amount_property:
        yield "Amount is in", charge.amount_property


def _limits(charge: ChargeTerms, currency: str) -> Iterator[tuple[str, str]]:
    if charge.min_per_event is not None:
        yield "At least per event", _rate(charge.min_per_event, currency)
    if charge.max_per_event is not None:
        yield "At most per event", _rate(charge.max_per_event, currency)
    if charge.discount_percent:
        yield "Discount", _percent(charge.discount_percent)
    if charge.min_amount is not None:
        yield "At least", _amount(charge.min_amount, currency)
    if charge.max_amount is not None:
        yield "At most", _amount(charge.max_amount, currency)


def _tables(charge: ChargeTerms, currency: str) -> Iterator[Panel]:
    name = _name(charge)
    if charge.tiers:
        yield _tiers(charge, title=f"Tiers of {name}", currency=currency)
    if charge.prices_by is None:
        return
    yield Panel(
        title=f"Prices of {name} by {', '.join(charge.prices_by.properties)}",
        columns=(*(Column(name) for name in charge.prices_by.properties), Column("Price")),
        rows=[
            [
                *(dict(cell.when).get(name, "any") for name in charge.prices_by.properties),
                "As above" if cell.price is None else _cell_price(cell.price, currency),
            ]
            for cell in charge.prices_by.cells
        ],
        empty="",
    )


def _tiers(charge: ChargeTerms, *, title: str, currency: str) -> Panel:
    above = Decimal(0)
    rows = []
    for tier in charge.tiers:
        rate = _rate(tier.unit_rate, currency) if tier.rate_percent is None else _percent(tier.rate_percent)
        upper = "no end" if tier.up_to is None else formatting.number_text(tier.up_to)
        fee = _amount(tier.flat_fee, currency) if tier.flat_fee else ""
        rows.append([formatting.number_text(above), upper, rate, fee])
        above = above if tier.up_to is None else tier.up_to
    columns = (Column("Above", True), Column("Up to", True), Column("Rate", True), Column("Flat fee", True))
    return Panel(title=title, columns=columns, rows=rows, empty="")


def _cell_price(price: ChargeTerms, currency: str) -> str:
    words = [f"{label}: {text}" for label, text in _prices(price, currency)]
    for tier in price.tiers:
        upper = "Above" if tier.up_to is None else f"Up to {formatting.number_text(tier.up_to)}"
        fee = f" and {_amount(tier.flat_fee, currency)}" if tier.flat_fee else ""
        words.append(f"{upper}: {_rate(tier.unit_rate, currency)}{fee}")
    return "; ".join(words)


def _rate(value: Decimal, currency: str) -> str:
    # A rate has more digits than money; all of them are shown.
    return f"{formatting.number_text(value)} {currency}"


def _amount(value: Decimal, currency: str) -> str:
    return formatting.decimal_amount_text(decimal_text(value), currency)


def _percent(value: Decimal) -> str:
    return f"{formatting.number_text(value)} %"
