"""Mutation testing is itself tested: it changes what it says, notices a dead and a living mutant, and lists few."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.__main__ import EQUIVALENTS_PERCENT_MAX, SCORE_PERCENT_MIN
from tests.mutation.equivalents import EQUIVALENTS
from tests.mutation.operators import mutants_of, unparsed
from tests.mutation.runner import ROOT, source_of
from tests.mutation.targets import TARGETS

PLANTED = '''
"""Not changed: 1 < 2."""
from typing import Final
LIMIT: Final = 3
def price(units: int, rate: int = 2) -> int:
    """Return a price, 1 of them."""
    if units < 0 and not rate:
        raise ValueError(f"{units + 1} is below zero")
    assert rate > 0
    for tier in (1, 2):
        if tier in ():
            continue
        break
    total = -units * rate
    return max(total, LIMIT) if units else 0
'''


def changes_of(source: str) -> Counter[str]:
    """Return how often each change is made to a source."""
    return Counter(mutant.change.split(" #")[0] for mutant in mutants_of(source))


def test_each_kind_of_change_is_made_and_no_other() -> None:
    assert changes_of(PLANTED) == {
        "3 -> 4": 1, "3 -> 2": 1, "2 -> 3": 2, "2 -> 1": 2, "< -> <=": 1, "< -> >=": 1, "0 -> 1": 2, "0 -> -1": 2,
        "and -> or": 1, "not removed": 1, "not raised": 1, "1 -> 2": 1, "1 -> 0": 1, "in -> not in": 1,
        "continue -> break": 1, "break -> continue": 1, "- removed": 1, "* -> +": 1, "* -> //": 1,
        "returns nothing": 1, "max -> min": 1, "condition negated": 2,
    }  # fmt: skip


def test_every_mutant_differs_in_one_place_and_can_be_compiled() -> None:
    original = ast.unparse(ast.parse(PLANTED))
    texts = [unparsed(PLANTED, mutant) for mutant in mutants_of(PLANTED)]
    assert len(set(texts)) == len(texts)
    for text in texts:
        compile(text, "mutant", "exec")
        pairs = zip(original.splitlines(), text.splitlines(), strict=True)
        assert sum(before != after for before, after in pairs) == 1, text


@pytest.mark.parametrize("module", TARGETS)
def test_every_module_has_mutants_and_tests_that_exist(module: str) -> None:
    assert len(mutants_of(source_of(module))) >= 2
    for test in TARGETS[module]:
        assert Path(ROOT, test).is_file(), test


def test_all_modules_of_charge_models_are_asked() -> None:
    """A new charge model is mutated, too; what has nothing to change is left out by name."""
    nothing_to_change = {"__init__", "registry"}
    there = {path.stem for path in (ROOT / "apps/engine/charge_models").glob("*.py")} - nothing_to_change
    assert there == {name.rpartition(".")[2] for name in TARGETS if ".charge_models." in name}


def test_equivalents_are_real_mutants_with_a_reason_and_few() -> None:
    """By hand means read: each names a line and a change that exist, and says why nothing can show it."""
    assert (SCORE_PERCENT_MIN, EQUIVALENTS_PERCENT_MAX) == (90, 10)
    for module, listed in Counter(entry.module for entry in EQUIVALENTS).items():
        mutants = mutants_of(source_of(module))
        assert listed <= max(1, EQUIVALENTS_PERCENT_MAX * len(mutants) // 100), module
    for entry in EQUIVALENTS:
        assert (entry.source_line, entry.change) in {mutant.key for mutant in mutants_of(source_of(entry.module))}
        assert len(entry.reason.split()) >= 5, entry
