"""Finance corrects usage in a real browser: find the event, change it, see the effect, confirm, take it back."""

import secrets

import pytest

from apps.identity.models import Role
from tests.builders import faces, metering

pytestmark = pytest.mark.browser


@pytest.fixture
def mark(committed_tenant) -> str:
    """A customer with events under names of its own, because here nothing is rolled back."""
    mark = secrets.token_hex(4)
    house = faces.house(name=f"house-{mark}", email=f"ada-{mark}@acme.example")
    faces.staff(Role.BILLER, Role.AUDITOR, email=f"finance-{mark}@gamma.example")
    event = metering.event(id=f"twice-{mark}", customer=f"house-{mark}", occurred_at="2026-02-03T12:00:00Z")
    refused = metering.event(id=f"lost-{mark}", customer=f"nobody-{mark}")
    metering.send(event, refused, at=house.clock.now_at)
    return mark


def _is_wider_than_the_screen(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_an_event_is_found_cancelled_and_taken_back(mark, live_url, page):
    page.goto(f"{live_url}/backoffice/usage/search/")
    page.get_by_label("Email").fill(f"finance-{mark}@gamma.example")
    page.get_by_label("Password").fill(faces.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Source").fill("test")
    page.get_by_label("Id:", exact=True).fill(f"twice-{mark}")
    page.get_by_role("button", name="Find").click()
    assert not _is_wider_than_the_screen(page)
    page.get_by_role("link", name=f"Cancel event twice-{mark}").click()
    page.get_by_label("Reason").select_option("duplicate")
    page.get_by_label("What happened").fill("their retry made a new id")
    page.get_by_role("button", name="Show what it changes").click()
    page.get_by_text("It is applied at once.").wait_for()
    assert not _is_wider_than_the_screen(page)
    page.get_by_role("button", name="Confirm: cancel event").click()
    page.get_by_text("Done: usage counts as the correction says.").wait_for()
    page.get_by_role("link", name="Take back").click()
    page.get_by_label("Reason").fill("it was no duplicate")
    page.get_by_role("button", name="Show what it changes").click()
    page.get_by_role("button", name="Confirm: take back").click()
    page.get_by_text("Done: usage counts as the correction says.").wait_for()
    page.goto(f"{live_url}/backoffice/usage/uncounted/")
    page.get_by_role("link", name="unknown customer").wait_for()
    assert not _is_wider_than_the_screen(page)
