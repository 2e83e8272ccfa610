"""Staff look after usage in a real browser: from Today to an alert, its source, where usage leaks, and a proof."""

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apps.common.actors import SCHEDULE
from apps.identity.models import Role
from apps.metering import proofs
from apps.workflows import usage_watch
from tests.apps.metering.watched import store
from tests.browser.test_faces import _is_wider_than_the_screen, _staff_enter
from tests.builders import faces
from tests.builders import late_usage as late

pytestmark = pytest.mark.browser
BEGIN = datetime(2026, 2, 9, 9, 0, tzinfo=UTC)


@pytest.fixture
def mark(committed_tenant, clock) -> str:
    """A tenant one of whose sources has lost thirty of a thousand events."""
    name = secrets.token_hex(4)
    house = faces.house(name=f"watch-{name}", email=f"ada-{name}@acme.example")
    faces.staff(Role.BILLER, Role.AUDITOR, email=f"finance-{name}@gamma.example")
    kept = set(range(1, 1001)) - set(range(500, 530))
    store(kept, customer_id=house.customer.id, begin=BEGIN, source=f"edge-{name}", is_own_transaction=True)
    late.follow(at=BEGIN + timedelta(minutes=20))
    for minute in (20, 21):
        usage_watch.sources_watch(actor=SCHEDULE, at=BEGIN + timedelta(minutes=minute))
    proofs.usage_proof_make(usage_date=BEGIN.date(), at=BEGIN + timedelta(days=1))
    clock.set(BEGIN + timedelta(days=1, hours=2))
    return name


def test_staff_take_up_an_alert_and_see_where_usage_leaks(mark, live_url, page):
    """S234, S235, S239, S085: the card, the list, the button with words, the report, the proof; nothing overflows."""
    _staff_enter(page, live_url, mark)
    page.get_by_role("link", name="Usage alerts").click()
    page.get_by_text(f"edge-{mark}").first.wait_for()
    _picture(page, "alerts")
    page.get_by_role("link").filter(has_text="Feb 9, 2026").first.click()
    page.get_by_text("30 of 1,000 events are missing").first.wait_for()
    _picture(page, "alert")
    page.get_by_role("link", name="I look after it").click()
    page.get_by_label("Reason").fill("The queue at the edge is full")
    page.get_by_role("button", name="I look after it").click()
    page.get_by_text("You look after it.").wait_for()
    page.goto(f"{live_url}/backoffice/usage-leakage/")
    page.get_by_text("Never arrived").first.wait_for()
    _picture(page, "leakage")
    assert not _is_wider_than_the_screen(page)
    page.goto(f"{live_url}/backoffice/metering/usageproof/")
    page.get_by_role("link").filter(has_text="Feb 9, 2026").first.click()
    page.get_by_text("gave exactly what is stored").wait_for()
    _picture(page, "proof")
    page.goto(f"{live_url}/backoffice/metering/usagesource/")
    page.get_by_text(f"edge-{mark}").first.wait_for()
    _picture(page, "sources")
    page.goto(f"{live_url}/backoffice/")
    page.get_by_role("link", name="Usage alerts").wait_for()
    _picture(page, "today")


def _picture(page, name: str) -> None:
    folder = os.environ.get("PICTURES_DIR")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
