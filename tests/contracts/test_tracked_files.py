"""What must not be in any file of the project, and what every app must bring."""

import re

import pytest

from tests.contracts.source import ROOT, Source, tracked_files

_README_HEADINGS = ["Owns", "Does not own", "Meanings of time", "Invariants", "Failure and repair"]
# Written in two parts so that this file does not contain what it looks for.
_MACHINE = [
    re.compile("/wor" + r"k/\w"),
    re.compile("/home" + r"/(?!\W)[a-z]\w*/"),
    re.compile("/Users" + r"/\w+/"),
    re.compile("/roo" + r"t/\w"),
]
_SECRETS = [
    re.compile("-----BEGIN " + r"[A-Z ]*PRIVATE KEY-----"),
    re.compile("sk_" + r"(live|test)_[0-9A-Za-z]{16,}"),
    re.compile("AKI" + r"A[0-9A-Z]{16}"),
    re.compile("gh" + r"[pousr]_[0-9A-Za-z]{30,}"),
    re.compile("chk_" + r"(live|test)_[0-9a-z]{6,}_[0-9A-Za-z_-]{24,}"),
    re.compile("pypi" + r"-AgE[0-9A-Za-z_-]{16,}"),
]
_BINARY = {".png", ".ico", ".woff2", ".woff", ".ttf", ".otf", ".pdf", ".gz"}


def text_files() -> list[Source]:
    """Return the project's text files."""
    return [
        Source(path=path.relative_to(ROOT).as_posix(), text=path.read_text(encoding="utf-8"))
        for path in tracked_files()
        if path.suffix not in _BINARY
    ]


def lines_with(source: Source, patterns: list[re.Pattern[str]]) -> list[str]:
    """Return `path:line` for each line of a file that matches one of the patterns."""
    return [
        f"{source.path}:{number}"
        for number, line in enumerate(source.text.splitlines(), start=1)
        if any(pattern.search(line) for pattern in patterns)
    ]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """A path of somebody's own machine works nowhere else and tells who sat there."""
    assert not [line for source in text_files() for line in lines_with(source, _MACHINE)]


def test_no_file_holds_a_secret() -> None:
    """What was committed once is known for ever; keys come from the environment or are shown once."""
    assert not [line for source in text_files() for line in lines_with(source, _SECRETS)]


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("path = '/wor" + "k/main'", _MACHINE),
        ("see /home" + "/anna/notes", _MACHINE),
        ("-----BEGIN " + "RSA PRIVATE KEY-----", _SECRETS),
        ("key = 'sk_" + "live_0123456789abcdef'", _SECRETS),
        ("key = 'chk_" + "live_a1b2c3d4_0123456789abcdefghijklmnop'", _SECRETS),
    ],
)
def test_the_search_finds_what_it_looks_for(text: str, patterns: list[re.Pattern[str]]) -> None:
    """A pattern that matches nothing would pass for ever."""
    assert lines_with(Source(path="planted", text=text), patterns) == ["planted:1"]


def apps_of_ours() -> list[str]:
    """Return the names of all apps."""
    return sorted(path.parent.name for path in (ROOT / "apps").glob("*/__init__.py"))


@pytest.mark.parametrize("app", apps_of_ours())
def test_every_app_says_what_it_owns(app: str) -> None:
    """Each app's README has the five headings, in order, and something under each."""
    text = (ROOT / "apps" / app / "README.md").read_text(encoding="utf-8")
    sections = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert sections[1::2] == _README_HEADINGS
    assert all(len(body.split()) >= 8 for body in sections[2::2]), "a heading without an answer"
    assert text.count("\n") <= 120
