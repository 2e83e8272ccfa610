"""What the property tests draw from: exact numbers, terms, periods, zones."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st

from apps.engine import currencies
from apps.engine.charge_models import ChargeTerms, ChargeTier
from apps.engine.money import Rounding

EXAMPLE_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Antarctica/Troll",
)

currency_codes = st.sampled_from(sorted(currencies.EXPONENTS))
roundings = st.sampled_from(list(Rounding))
minors = st.integers(min_value=-(10**15), max_value=10**15)
zones = st.sampled_from(EXAMPLE_ZONES)
instants = st.datetimes(min_value=datetime(2005, 1, 1), max_value=datetime(2035, 1, 1)).map(  # noqa: DTZ001
    lambda naive: naive.replace(tzinfo=UTC)
)


def decimals_of(*, units_max: int, digits: int) -> st.SearchStrategy[Decimal]:
    """Draw exact decimals from zero to a bound with at most so many digits behind the point."""
    scale = 10**digits
    return st.integers(min_value=0, max_value=units_max * scale).map(lambda scaled: Decimal(scaled) / scale)


quantities = decimals_of(units_max=100_000, digits=4)
rates = decimals_of(units_max=20, digits=6)
fees = decimals_of(units_max=50, digits=2)
factors = st.builds(
    lambda part, extra: Fraction(part, part + extra),
    st.integers(min_value=1, max_value=2_678_400),
    st.integers(min_value=0, max_value=2_678_400),
)

# Coarse enough that a test can walk a price slice by slice.
halves = st.integers(min_value=0, max_value=60).map(lambda count: Decimal(count) / 2)
thin_factors = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(2, 3), Fraction(3, 7)])


@st.composite
def tier_lists(draw: st.DrawFn) -> tuple[ChargeTier, ...]:
    """Draw touching, rising tiers, the last one open."""
    bounds = sorted(draw(st.sets(decimals_of(units_max=50_000, digits=2).filter(bool), max_size=5)))
    return tuple(ChargeTier(up_to=bound, unit_rate=draw(rates), flat_fee=draw(fees)) for bound in (*bounds, None))


@st.composite
def graduated_terms(draw: st.DrawFn) -> ChargeTerms:
    """Draw the terms of a graduated charge."""
    return ChargeTerms(
        code="calls",
        meter="calls",
        model="graduated",
        tiers=draw(tier_lists()),
        flat_at_zero=draw(st.booleans()),
        included_units=draw(st.one_of(st.just(Decimal(0)), quantities)),
    )


@st.composite
def short_ladders(draw: st.DrawFn) -> ChargeTerms:
    """Draw a graduated charge whose bounds and included units are halves, so that all of them meet often."""
    bounds = sorted(draw(st.sets(halves.filter(bool), max_size=4)))
    return ChargeTerms(
        code="calls",
        meter="calls",
        model="graduated",
        tiers=tuple(ChargeTier(up_to=bound, unit_rate=draw(rates), flat_fee=draw(fees)) for bound in (*bounds, None)),
        flat_at_zero=draw(st.booleans()),
        included_units=draw(halves),
        prorate=draw(st.booleans()),
    )


@st.composite
def any_terms(draw: st.DrawFn) -> ChargeTerms:
    """Draw the terms of any model, with and without limits and proration."""
    low, high = sorted((draw(fees), draw(fees)))
    limits = {
        "min_amount": draw(st.sampled_from([None, low])),
        "max_amount": draw(st.sampled_from([None, high])),
        "prorate": draw(st.booleans()),
    }
    model = draw(st.sampled_from(["flat", "per_unit", "graduated", "overage"]))
    if model == "flat":
        return ChargeTerms(code="fee", model=model, amount=draw(fees), **limits)
    metered = {"code": "calls", "meter": "calls", "model": model, "included_units": draw(quantities), **limits}
    if model == "graduated":
        return ChargeTerms(tiers=draw(tier_lists()), flat_at_zero=draw(st.booleans()), **metered)
    return ChargeTerms(unit_rate=draw(rates), **metered)


def day(year: int, month: int, number: int) -> datetime:
    """Return midnight UTC of a date."""
    return datetime(year, month, number, tzinfo=UTC)


def hours(count: int) -> timedelta:
    """Return so many hours."""
    return timedelta(hours=count)
