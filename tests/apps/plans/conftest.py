"""A whole pricing document, as a finance person would write it."""

from pathlib import Path

import pytest

GROWTH = Path(__file__).with_name("growth.yaml")


@pytest.fixture
def growth_text() -> str:
    """The text of a document that uses everything the language offers today."""
    return GROWTH.read_text(encoding="utf-8")
