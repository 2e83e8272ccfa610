"""
Splitting an amount so that nothing is lost and nothing appears.

Rules: the parts always sum to the total. Each part gets its exact share rounded towards zero; the units that are
left go, one each, to the largest remainders, and among equal remainders to the earlier part. A negative total is
split as its opposite, mirrored, so a credit takes back what the charge gave. A weight of zero gets nothing; when all
weights are zero they are equal, and the total is split evenly.
Source: the largest-remainder method (Hamilton's method of apportionment).
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from apps.engine.errors import InvalidAllocation


def allocate(total_minor: int, *, weights: Sequence[int | Decimal | Fraction]) -> list[int]:
    """
    Split minor units in the ratio of the weights; the parts sum to the total.

    :raises InvalidAllocation: if a weight is negative, or if there is something to split and nobody to take it
    """
    shares = _whole_weights(weights)
    if not shares:
        if total_minor:
            raise InvalidAllocation("there is an amount to split and no part to take it; give at least one weight")
        return []
    shares_sum = sum(shares)
    if shares_sum == 0:
        shares, shares_sum = [1] * len(shares), len(shares)
    parts, remainders = [], []
    for share in shares:
        part, remainder = divmod(abs(total_minor) * share, shares_sum)
        parts.append(part)
        remainders.append(remainder)
    left = abs(total_minor) - sum(parts)
    for position in sorted(range(len(parts)), key=lambda i: (-remainders[i], i))[:left]:
        parts[position] += 1
    if total_minor < 0:
        parts = [-part for part in parts]
    if sum(parts) != total_minor:
        raise AssertionError(f"{parts} does not sum to {total_minor}")
    return parts


def split_evenly(total_minor: int, *, parts: int) -> list[int]:
    """
    Split minor units into equal parts that sum to the total; the earlier parts take the units that are left.

    :raises InvalidAllocation: if the number of parts is below one
    """
    if parts < 1:
        raise InvalidAllocation("the number of parts must be at least 1", path="parts")
    return allocate(total_minor, weights=[1] * parts)


def _whole_weights(weights: Sequence[int | Decimal | Fraction]) -> list[int]:
    ratios = []
    for position, weight in enumerate(weights):
        if weight < 0:
            raise InvalidAllocation("must not be negative", path=f"weights[{position}]")
        ratios.append(weight.as_integer_ratio())
    common = math.lcm(*(denominator for _, denominator in ratios))
    return [numerator * (common // denominator) for numerator, denominator in ratios]
