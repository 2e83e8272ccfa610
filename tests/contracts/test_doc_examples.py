"""The examples of the documentation are run, so a page that says something else than the product fails here."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Pages with examples, and the fewest they may have: a fence that is no longer recognised must not pass in silence.
PAGES = {"docs/MONEY.md": 50}
_PARSER = doctest.DocTestParser()


def run_examples(text: str, *, name: str) -> tuple[int, str]:
    """Run the examples of one page in one namespace; return how many ran and the report of those that failed."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST, verbose=False)
    runner.run(_PARSER.get_doctest(text, {}, name, name, 0), out=report.append)
    return runner.summarize(verbose=False).attempted, "".join(report)


@pytest.mark.parametrize(("page", "examples_min"), PAGES.items())
def test_examples_of_the_page_are_true(page: str, examples_min: int) -> None:
    """S087: the semantics of a pricing document as published are the ones that are run."""
    attempted, report = run_examples((ROOT / page).read_text(encoding="utf-8"), name=page)
    assert report == ""
    assert attempted >= examples_min


def test_a_page_that_is_wrong_is_reported() -> None:
    attempted, report = run_examples(">>> 1 + 1\n3\n", name="wrong")
    assert attempted == 1
    assert "Expected:\n    3\nGot:\n    2" in report


def test_every_python_fence_of_a_page_holds_examples() -> None:
    for page in PAGES:
        fences = (ROOT / page).read_text(encoding="utf-8").split("```python\n")[1:]
        assert fences
        for fence in fences:
            assert fence.startswith(">>> "), f"{page}: a fence without an example: {fence[:60]!r}"
            # doctest takes the text up to a blank line for the answer, so each fence ends with one.
            assert fence.split("```")[0].endswith("\n\n"), f"{page}: no blank line before the end of {fence[:60]!r}"
