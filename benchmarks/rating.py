"""What an explained price costs: the same tiers as bare integer arithmetic, compiled, as a line, and hashed.

    python -m benchmarks.rating [--lines 20000] [--repeats 7]

Needs no database. Every way prices the same quantities in the same repetition and must give the same amounts; printed
are ratios to the bare loop, the growth with the number of tiers and of lines, and lines a second as a note.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from apps.engine.charge_models import ChargeTerms, charge_from_document, compile_rater, rate_charge
from apps.engine.money import Rounding

NANO = 10**9
BOUNDS = ((1_000, "0.010"), (10_000, "0.008"), (100_000, "0.005"), (None, "0.003"))
TIER_COUNTS = (1, 10, 100, 1000)
LINE_COUNTS = (1_000, 10_000, 100_000)


def graduated(bounds: Sequence[tuple[int | None, str]]) -> ChargeTerms:
    """Return a graduated charge in dollars."""
    tiers = [{"up_to": None if upper is None else str(upper), "unit_rate": rate} for upper, rate in bounds]
    document = {"code": "calls", "meter": "calls", "model": "graduated", "tiers": tiers}
    return charge_from_document(document, currency="USD", path="")


def bare_loop(bounds: Sequence[tuple[int | None, str]]) -> Callable[[int], int]:
    """Return the price as somebody writes it by hand: whole units, rates in billionths of a dollar, one division."""
    bands = [(upper, int(Decimal(rate) * NANO)) for upper, rate in bounds]
    cent, half_a_cent = NANO // 100, NANO // 200

    def price(units: int) -> int:
        amount = lower = 0
        for upper, rate in bands:
            if upper is None or units <= upper:
                return (amount + (units - lower) * rate + half_a_cent) // cent
            amount += (upper - lower) * rate
            lower = upper
        raise AssertionError("the last tier is open")

    return price


def seconds(price: Callable[[Any], Any], quantities: Sequence[Any]) -> float:
    """Return the time of a core that it takes to price each quantity once."""
    started = time.process_time()  # of this process alone: others on the machine must not count
    for quantity in quantities:
        price(quantity)
    return time.process_time() - started


def line_of(terms: ChargeTerms) -> Callable[[Decimal], Any]:
    """Return the way that makes a whole line."""
    return lambda quantity: rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=Rounding.HALF_UP)


def hashed_line_of(terms: ChargeTerms) -> Callable[[Decimal], tuple[str, str]]:
    """Return the way that makes a line, its steps and both of its hashes, as a stored decision needs them."""

    def price(quantity: Decimal) -> tuple[str, str]:
        line = rate_charge(terms=terms, quantity=quantity, currency="USD", rounding=Rounding.HALF_UP)
        return line.input_hash, line.output_hash

    return price


def spread(values: Sequence[float]) -> str:
    """Return the median with its range."""
    return f"{statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})"


def ways(lines: int, repeats: int) -> None:
    """Print each way's ratio to the bare loop, and lines a second."""
    terms, bare = graduated(BOUNDS), bare_loop(BOUNDS)
    plain = charge_from_document(
        {"code": "egress", "meter": "egress", "model": "per_unit", "unit_rate": "0.0825"}, currency="USD", path=""
    )
    units = [number * 37 % 200_000 for number in range(lines)]
    quantities = [Decimal(count) for count in units]
    rater = compile_rater(terms=terms, currency="USD", rounding=Rounding.HALF_UP)
    line = line_of(terms)
    expected = [bare(count) for count in units]
    assert [rater(quantity) for quantity in quantities] == expected
    assert [line(quantity).amount_minor for quantity in quantities] == expected
    named: list[tuple[str, Callable[[Any], Any], Sequence[Any]]] = [
        ("bare integers, 4 tiers", bare, units),
        ("compile_rater, 4 tiers", rater, quantities),
        ("rate_charge, one rate", line_of(plain), quantities),
        ("rate_charge, 4 tiers", line, quantities),
        ("rate_charge + both hashes, 4 tiers", hashed_line_of(terms), quantities[: lines // 10]),
    ]
    each: dict[str, list[float]] = {name: [] for name, _, _ in named}
    for _ in range(repeats):
        for name, price, given in named:
            each[name].append(seconds(price, given) / len(given))
    base = each["bare integers, 4 tiers"]
    print(f"{'way':<38}{'times the bare loop':<28}lines a second and core")
    for name, took in each.items():
        ratios = [mine / bare_took for mine, bare_took in zip(took, base, strict=True)]
        print(f"{name:<38}{spread(ratios):<28}{1 / statistics.median(took):>12,.0f}")


def growth_with_tiers(repeats: int) -> None:
    """Print the time of a line by its number of tiers, for quantities spread over all of them."""
    print("\ntiers    rate_charge: time, and time a tier    compile_rater: time   (of 1 tier = 1.00)")
    base: dict[str, float] = {}
    for count in TIER_COUNTS:
        bounds = [(number * 100, "0.01") for number in range(1, count)]
        terms = graduated([*bounds, (None, "0.005")])
        asked = max(400, 20_000 // count)
        quantities = [Decimal(number * count * 100 // asked) for number in range(asked)]
        rater = compile_rater(terms=terms, currency="USD", rounding=Rounding.HALF_UP)
        took = {
            name: statistics.median(seconds(price, quantities) for _ in range(repeats)) / len(quantities)
            for name, price in (("line", line_of(terms)), ("rater", rater))
        }
        base = base or took
        line, compiled = took["line"] / base["line"], took["rater"] / base["rater"]
        print(f"{count:>5}    {line:>11.2f}    {line / count:>18.3f}    {compiled:>20.2f}")


def growth_with_lines(repeats: int) -> None:
    """Print the time of many lines: a cost that grows with what was rated before would show here."""
    print("\nlines     rate_charge: time, and time a line (of 1,000 lines = 1.00)")
    price, base = line_of(graduated(BOUNDS)), 0.0
    for count in LINE_COUNTS:
        quantities = [Decimal(number * 37 % 200_000) for number in range(count)]
        took = statistics.median(seconds(price, quantities) for _ in range(repeats))
        base = base or took
        print(f"{count:>7}   {took / base:>11.2f}    {took / base / (count / LINE_COUNTS[0]):>8.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    ways(options.lines, options.repeats)
    growth_with_tiers(options.repeats)
    growth_with_lines(options.repeats)


if __name__ == "__main__":
    main()
