"""The house's own rules about code, and the proof that each of them can fail."""

import pytest

from tests.contracts import code_rules  # noqa: F401  registers the rules
from tests.contracts.source import RULES, Rule, Source, sources

_by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@_by_name
def test_tree_keeps_rule(rule: Rule) -> None:
    """S243, S250, S252: no module of the house holds a float, reads the clock, trusts `hash()` or passes a door by."""
    found = [
        f"{source.path}:{line}: {message}"
        for source in sources()
        if rule.applies_to(source.path)
        for line, message in rule.check(source)
    ]
    assert not found, f"{rule.reason}\n" + "\n".join(found)


@_by_name
def test_rule_applies_somewhere(rule: Rule) -> None:
    """A rule whose pattern matches no module would pass for ever."""
    assert any(rule.applies_to(source.path) for source in sources())
    assert rule.applies_to(rule.example_path)


@_by_name
def test_rule_refuses_what_it_is_for(rule: Rule) -> None:
    """Every rule reports each violation planted for it, with a line and a message."""
    assert rule.refused
    assert rule.reason
    for text in rule.refused:
        found = list(rule.check(Source(path=rule.example_path, text=text)))
        assert found, f"{rule.name} let pass: {text}"
        assert all(line >= 1 and message for line, message in found)


@_by_name
def test_rule_accepts_what_is_right(rule: Rule) -> None:
    """No rule reports the code one writes instead."""
    for text in rule.accepted:
        assert not list(rule.check(Source(path=rule.example_path, text=text))), f"{rule.name} refused: {text}"
