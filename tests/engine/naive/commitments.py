"""A commitment to spend: below it the shortfall is due, above it another rate applies."""

from fractions import Fraction


def commitment_total(*, listed: Fraction, amount: Fraction, discount_percent: Fraction, overage: Fraction) -> Fraction:
    """Return what a customer pays in all for usage that costs `listed` at list price."""
    keeps = 1 - discount_percent / 100
    if listed * keeps <= amount:
        return amount
    covered = amount / keeps
    return amount + (listed - covered) * overage


def commitment_parts(
    *, listed: Fraction, amount: Fraction, discount_percent: Fraction, overage: Fraction
) -> dict[str, Fraction]:
    """Return the lines that lead from the list price to what is paid."""
    keeps = 1 - discount_percent / 100
    if listed * keeps <= amount:
        return {
            "commitment_discount": listed * keeps - listed,
            "commitment_overage": Fraction(0),
            "minimum_commitment": amount - listed * keeps,
        }
    covered = amount / keeps
    return {
        "commitment_discount": amount - covered,
        "commitment_overage": (listed - covered) * (overage - 1),
        "minimum_commitment": Fraction(0),
    }
