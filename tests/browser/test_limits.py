"""A customer sets caps in a real browser, and sees what is used of them."""

import os
import secrets

import pytest

from tests.builders import faces

pytestmark = pytest.mark.browser


@pytest.fixture
def session_key(committed_tenant) -> str:
    """The session of a customer's person, made before the browser begins: its driver lets no database in."""
    mark = secrets.token_hex(4)
    house = faces.house(name=f"house-{mark}", email=f"ada-{mark}@acme.example")
    client = faces.browser(faces.portal_user(house.customer), host="gamma.localhost")
    return str(client.session.session_key)


def test_a_cap_is_set_and_its_use_is_seen(session_key, live_url, page):
    """I34: a soft cap from the form to the bar, on a wide screen and on a narrow one."""
    page.context.add_cookies([{"name": "sessionid", "value": session_key, "url": live_url}])
    page.goto(f"{live_url}/portal/")
    page.get_by_role("link", name="Limits").click()
    page.get_by_label("Kind").select_option("soft")
    page.get_by_label("Units in each period").fill("4")
    page.get_by_label("Approver's e-mail").fill("bob@acme.example")
    page.get_by_role("button", name="Set the cap").click()
    page.get_by_text("Only the approver may agree to more").wait_for()
    page.get_by_role("progressbar", name="API calls: 75 % used").wait_for()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        if folder := os.environ.get("PICTURES_DIR"):
            page.screenshot(path=f"{folder}/limits-{width}.png", full_page=True)
