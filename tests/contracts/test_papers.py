"""The papers of the house are checked against the house."""

import re
from pathlib import Path

import pytest
from django.urls import resolve

from apps.api import errors as api_errors
from apps.lifecycle import diagrams
from tests.contracts.source import ROOT

_PAPERS = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/ARCHITECTURE.md",
        "docs/testing.md",
    )
]
_PAPERS += sorted((ROOT / "docs" / "adr").glob("*.md")) + sorted((ROOT / "apps").glob("*/README.md"))
_ADRS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
_ADR_HEADINGS = ["Context", "Decision", "Consequences", "Alternatives", "What enforces it"]
# A word in backticks is taken for a file of ours when it begins like one and has a slash.
_PATH = re.compile(r"`((?:apps|docs|tests|script|billing_site|templates|static|benchmarks|\.ci)/[\w./*-]+)`")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


def named(path: Path) -> str:
    """Return a paper's path from the root, as a test's name."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("paper", _PAPERS, ids=named)
def test_files_that_papers_name_exist(paper: Path) -> None:
    """A tour that leads to a missing file is worse than none."""
    text = paper.read_text(encoding="utf-8")
    missing = [name for name in _PATH.findall(text) if not any(ROOT.glob(name.rstrip("/")))]
    missing += [name for name in _LINK.findall(text) if not (paper.parent / name).exists()]
    assert not missing


def test_routes_that_the_readme_calls_exist() -> None:
    """Each `call METHOD path` of the README leads to a view that takes the method."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"\bcall (GET|POST) \"?([\w/$?=&-]+)", text)
    assert len(lines) > 10
    for method, path in lines:
        plain = re.sub(r"\$\w+", "x", path.partition("?")[0])
        match = resolve(f"/api/v1/{plain}", urlconf="billing_site.urls_tenant")
        assert match.func is not api_errors.not_found, path
        view = getattr(match.func, "view_class", None)
        assert view is None or hasattr(view, method.lower()), f"{method} {path}"


@pytest.mark.parametrize("paper", _ADRS, ids=named)
def test_every_decision_names_what_enforces_it(paper: Path) -> None:
    """A decision nothing enforces is a wish; each names a file of ours that does, on one page."""
    text = paper.read_text(encoding="utf-8")
    sections = dict(zip(*[iter(re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:])] * 2, strict=True))
    assert list(sections) == _ADR_HEADINGS
    assert _PATH.search(sections["What enforces it"]), "name the file that enforces it"
    assert text.count("\n") <= 60, "one page"


def test_decisions_are_numbered_without_a_gap() -> None:
    """0001, 0002, ...: a number is given once and never again."""
    assert [int(path.name[:4]) for path in _ADRS] == list(range(1, len(_ADRS) + 1))


def test_state_diagrams_are_those_of_the_models() -> None:
    """The page is generated; `manage.py state_diagrams` rewrites it after a machine changed."""
    written = (ROOT / "docs" / "state-machines.md").read_text(encoding="utf-8")
    assert written == diagrams.render()


def test_state_diagrams_show_every_status_and_edge() -> None:
    """The generated page leaves nothing out."""
    text = diagrams.render()
    for machine in diagrams.machines():
        assert f"## {diagrams.title_of(machine)}" in text
        for edge in machine.edges:
            for source in edge.sources:
                assert f"{source} --> {edge.target}: {edge.action}" in text
