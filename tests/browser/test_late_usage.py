"""Finance deals with late usage in a real browser: the inbox, its amount, one click, and the line that it became."""

import os
import secrets
from datetime import timedelta
from pathlib import Path

import pytest

from apps.common.actors import OPERATOR
from apps.identity.models import Role
from apps.metering import late_usage
from apps.metering.late_usage import LatePolicyInput
from tests.builders import faces
from tests.builders import late_usage as late
from tests.builders.late_usage import FEBRUARY, JANUARY, MARCH
from tests.races import race

pytestmark = pytest.mark.browser

AFTER_GRACE = FEBRUARY + timedelta(hours=30)
LATER = FEBRUARY + timedelta(days=3)


def _picture(page, name: str) -> None:
    folder = os.environ.get("PICTURES_DIR")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def _is_wider_than_the_screen(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.fixture
def inbox(committed_tenant):
    """A customer whose billed month got two events more, under names of its own: here nothing is rolled back."""
    mark = f"late-{secrets.token_hex(3)}"
    faces.staff(Role.BILLER, Role.APPROVER, Role.AUDITOR, email=f"{mark}@gamma.example")
    _customer, subscription = late.subscribed(mark)
    policy = LatePolicyInput(policy="next_invoice", meter_code=mark, is_settled_automatically=False)
    late_usage.late_policy_set(data=policy, actor=OPERATOR, at=JANUARY)
    late.used(mark, count=3, occurred_at=JANUARY + timedelta(days=4))
    late.finalized(subscription, ends_at=FEBRUARY, at=AFTER_GRACE)
    late.used(mark, count=2, occurred_at=FEBRUARY - timedelta(seconds=1), at=AFTER_GRACE)
    late.settle(subscription, at=LATER)
    return mark, subscription


def _adjusting_line(subscription) -> str:
    invoice = late.finalized(subscription, ends_at=MARCH, at=MARCH + timedelta(hours=30))
    return invoice.lines.get(kind="adjustment").public_id


def test_late_usage_is_settled_by_one_click_and_explained_on_the_next_invoice(inbox, live_url, page):
    """I08, S077, S082: the batch with its amount, one click, the line, and the events behind it."""
    mark, subscription = inbox
    page.goto(f"{live_url}/backoffice/metering/lateusage/?status__exact=FOUND")
    page.get_by_label("Email").fill(f"{mark}@gamma.example")
    page.get_by_label("Password").fill(faces.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    row = page.locator("tr", has_text=mark.capitalize())
    row.get_by_text("2 events").wait_for()
    assert "3 to 5" in row.inner_text()
    assert "$0.20" in row.inner_text()
    assert not _is_wider_than_the_screen(page)
    _picture(page, "late-usage-inbox")
    row.get_by_role("link").first.click()
    page.get_by_text("settle or waive it").first.wait_for()
    _picture(page, "late-usage-batch")
    page.get_by_role("link", name="Settle").click()
    page.get_by_role("button", name="Settle").click()
    page.get_by_text("is a line of the customer's next document").first.wait_for()
    assert not _is_wider_than_the_screen(page)
    _picture(page, "late-usage-settled")
    # The browser has this thread's event loop, and the database none of it.
    (line_id,) = race("t_gamma", [lambda: _adjusting_line(subscription)])
    page.goto(f"{live_url}/backoffice/lines/{line_id}/explain/")
    page.get_by_text("0.50 USD is owed for 5").wait_for()
    page.get_by_text("hash for hash").first.wait_for()
    assert not _is_wider_than_the_screen(page)
    _picture(page, "late-usage-explained")
