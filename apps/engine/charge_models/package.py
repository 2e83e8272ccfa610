"""
Package: units are sold in packages of one size, and a begun package is a whole one.

Rules: packages = units above the included ones / size, rounded up; amount = packages x price.
"""

from collections.abc import Iterator

from apps.engine.charge_models.billable import BillableUnits
from apps.engine.charge_models.steps import RatedStep, text_of
from apps.engine.charge_models.terms import ChargeTerms
from apps.engine.exact import Ratio, decimal_text


def price(terms: ChargeTerms, billable: BillableUnits) -> Ratio:
    """Return the exact amount in major units."""
    assert terms.package_price is not None  # noqa: S101  # the terms require it; this line is for the type checker
    numerator, denominator = terms.package_price.as_integer_ratio()
    return packages(terms, billable) * numerator, denominator


def steps(terms: ChargeTerms, billable: BillableUnits) -> Iterator[RatedStep]:
    """Yield the single step of a number of packages."""
    assert terms.package_price is not None  # noqa: S101
    assert terms.package_size is not None  # noqa: S101
    yield RatedStep(
        kind="package",
        units=text_of(billable.units),
        size=decimal_text(terms.package_size),
        count=str(packages(terms, billable)),
        rate=decimal_text(terms.package_price),
        amount=text_of(price(terms, billable)),
    )


def packages(terms: ChargeTerms, billable: BillableUnits) -> int:
    """Return how many packages the billable units begin."""
    assert terms.package_size is not None  # noqa: S101
    size, size_denominator = terms.package_size.as_integer_ratio()
    return -(-(billable.end - billable.start) * size_denominator // (size * billable.denominator))
