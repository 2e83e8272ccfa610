"""Canonical text and hashes: one value, one text, in every process."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.errors import NotCanonical
from apps.engine.hashing import canonical_hash, canonical_json, instant_text
from apps.engine.money import Rounding

ROOT = Path(__file__).parents[2]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_golden_text() -> None:
    value = {
        "b": [Decimal("1.50"), Fraction(1, 3), None, True],
        "a": datetime(2026, 1, 31, 12, 0, tzinfo=timezone(timedelta(hours=1))),
        "ä": Rounding.CEIL,
        "d": date(2026, 1, 31),
    }
    assert canonical_json(value) == (
        '{"a":"2026-01-31T11:00:00Z","b":["1.5","1/3",null,true],"d":"2026-01-31","ä":"ceil"}'
    )


def test_golden_hash() -> None:
    """S034: SHA-256 of the canonical text, a value anyone can compute outside of this program."""
    assert canonical_hash({"id": "evt-1"}) == "1b3b9ad33f5bac2567e961731f4a9af2617ea39aee9d240ec70e45dec92b7371"


def test_hash_does_not_depend_on_the_process() -> None:
    """S243: the language's own hash differs between processes; ours does not."""
    program = (
        "from apps.engine.hashing import canonical_hash; "
        "print(canonical_hash({'customer': 'acme', 'units': '3', 'tags': ['x', 'y']}), hash('acme'))"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert answers[0][0] == answers[1][0]
    assert answers[0][1] != answers[1][1]


@given(value=st.dictionaries(st.text(st.characters(codec="utf-8")), JSON_VALUES, max_size=5))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert canonical_hash(dict(reversed(value.items()))) == canonical_hash(value)


@pytest.mark.parametrize(("left", "right"), [(Decimal("1.0"), Decimal(1)), (Decimal("-0"), Decimal(0)), ((1,), [1])])
def test_equal_values_have_one_text(left: object, right: object) -> None:
    assert canonical_json(left) == canonical_json(right)


@pytest.mark.parametrize(
    "value",
    [1.5, {"a": [1.0]}, {1: "a"}, {"a": {1, 2}}, b"raw", datetime(2026, 1, 1), Decimal("NaN"), object()],  # noqa: DTZ001
)
def test_what_has_no_single_text_is_refused(value: object) -> None:
    """S250: a binary float cannot be hashed, so it cannot slip into a decision."""
    with pytest.raises(ValueError, match=r"."):
        canonical_json(value)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(NotCanonical, match="Unicode"):
        canonical_hash({"name": "\ud800"})


def test_instants_are_written_in_utc() -> None:
    assert instant_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
    assert instant_text(datetime(2026, 1, 1, 0, 0, 0, 120000, tzinfo=UTC)) == "2026-01-01T00:00:00.120000Z"
