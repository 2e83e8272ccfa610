"""People at work: staff and a customer in a real browser, from signing in to a figure's explanation."""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.identity.models import Role
from tests.builders import faces

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Lived:
    """What the tests look for, read before the browser starts: beside its event loop Django reads nothing."""

    mark: str
    number: str
    invoice: str
    line: str
    clock: str


@pytest.fixture
def lived(committed_tenant) -> Lived:
    """A tenant with a customer under names of its own, because here nothing is rolled back."""
    mark = secrets.token_hex(4)
    house = faces.house(name=f"house-{mark}", email=f"ada-{mark}@acme.example")
    faces.staff(Role.BILLER, Role.COLLECTOR, Role.AUDITOR, email=f"finance-{mark}@gamma.example")
    faces.portal_user(house.customer)
    invoice = house.invoice
    return Lived(
        mark=mark,
        number=str(invoice.number),
        invoice=invoice.public_id,
        line=invoice.lines.get(code="api_calls").public_id,
        clock=str(house.clock.pk),
    )


def _staff_enter(page, live_url, mark):
    page.goto(f"{live_url}/backoffice/")
    page.get_by_label("Email").fill(f"finance-{mark}@gamma.example")
    page.get_by_label("Password").fill(faces.PASSWORD)
    page.get_by_role("button", name="Log in").click()


def _mailed_link(mail_folder: Path, mark: str) -> str:
    letters = [path.read_text() for path in sorted(mail_folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)]
    letter = next(text for text in reversed(letters) if f"ada-{mark}@acme.example" in text and "sign-in/link" in text)
    return re.search(r"http://\S+/portal/sign-in/link/\S+", letter)[0]


def _customer_enter(page, live_url, mail_folder, mark):
    page.goto(f"{live_url}/portal/")
    page.get_by_label("E-mail address").fill(f"ada-{mark}@acme.example")
    page.get_by_role("button", name="Mail me a link").click()
    page.get_by_role("heading", name="Look into your mailbox").wait_for()
    page.goto(_mailed_link(mail_folder, mark))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()


def _is_wider_than_the_screen(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_staff_walk_from_today_to_the_events_behind_a_figure(lived, live_url, page):
    mark = lived.mark
    _staff_enter(page, live_url, mark)
    page.get_by_role("heading", name="Today", exact=True).wait_for()
    page.locator("#nav-sidebar").get_by_text("Invoices", exact=True).click()
    page.get_by_role("link", name=lived.number).first.click()
    page.get_by_role("heading", name="Ledger postings").wait_for()
    page.get_by_role("link", name="Explain line 2").click()
    page.get_by_text("hash for hash").wait_for()
    assert page.get_by_text("25 events read now, 25 when it was billed").is_visible()


def test_staff_press_a_button_and_are_asked_first(lived, live_url, page):
    mark = lived.mark
    _staff_enter(page, live_url, mark)
    page.goto(f"{live_url}/backoffice/customers/testclock/{lived.clock}/change/")
    page.get_by_role("link", name="Advance").click()
    page.get_by_label("New time").fill("2026-02-12 00:00")
    page.get_by_role("button", name="Advance").click()
    page.get_by_text("The clock stands at Feb 12, 2026, 00:00 UTC.").wait_for()


def test_customer_signs_in_by_mail_and_reads_why_a_line_costs_what_it_costs(lived, live_url, page, mail_folder):
    mark = lived.mark
    _customer_enter(page, live_url, mail_folder, mark)
    page.get_by_text("API calls by day, as a table").click()
    assert page.get_by_role("row", name="Feb 3, 2026 3 3").is_visible()
    page.get_by_role("link", name=lived.number, exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    page.get_by_role("link", name="Explain API calls").click()
    page.get_by_role("heading", name="How this amount came about").wait_for()
    assert page.get_by_text("Checked just now.").is_visible()


def test_portal_works_by_keyboard_alone(lived, live_url, page, mail_folder):
    """From the sign-in to an invoice without a pointer; what has the focus is seen."""
    mark = lived.mark
    page.goto(f"{live_url}/portal/")
    # Letters typed before the page has put the focus into the field are lost, and an address without them is nobody's.
    page.locator("input[type=email]:focus").wait_for()
    page.keyboard.type(f"ada-{mark}@acme.example")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Look into your mailbox").wait_for()
    page.goto(_mailed_link(mail_folder, mark))
    page.get_by_role("button", name="Sign in").press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == lived.number:
            break
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=f"Invoice {lived.number}").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_portal_fits_a_small_screen_in_both_schemes(lived, live_url, page, mail_folder, scheme):
    mark = lived.mark
    page.set_viewport_size({"width": 320, "height": 640})
    page.emulate_media(color_scheme=scheme)
    _customer_enter(page, live_url, mail_folder, mark)
    own = lived.invoice
    for path in ("", "invoices/", f"invoices/{own}/", f"invoices/{own}/lines/{lived.line}/"):
        page.goto(f"{live_url}/portal/{path}")
        assert not _is_wider_than_the_screen(page), path
        assert _contrast_failures(page) == [], path


def _contrast_failures(page) -> list[str]:
    """Return texts whose contrast with what is painted behind them is below 4.5 to 1."""
    return page.evaluate(
        """() => {
        const channel = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
        const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
        const rgba = text => text.match(/[\\d.]+/g).map(Number);
        const behind = el => { for (; el; el = el.parentElement) {
            const c = rgba(getComputedStyle(el).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
            return [255, 255, 255]; };
        const failures = [];
        for (const el of document.querySelectorAll('body *')) {
            const own = [...el.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!own || !el.checkVisibility()) continue;
            const [a, b] = [light(rgba(getComputedStyle(el).color)), light(behind(el))];
            const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < 4.5) failures.push(el.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
        }
        return failures;
    }"""
    )


def test_portal_works_without_scripts(lived, live_url, page, mail_folder):
    """The pages bring no script at all, so there is nothing to switch off."""
    mark = lived.mark
    _customer_enter(page, live_url, mail_folder, mark)
    assert page.evaluate("document.scripts.length") == 0


def test_staff_price_usage_and_try_a_version_on_the_past(lived, live_url, page, clock):
    """From a plan version to what usage costs on it and what last month would have cost; fits a small screen, too."""
    clock.set(faces.NOW)
    _staff_enter(page, live_url, lived.mark)
    page.goto(f"{live_url}/backoffice/plans/growth/versions/1/examine/")
    page.get_by_label("api_calls (calls)").fill("25")
    page.get_by_role("button", name="Price it").click()
    page.get_by_role("row", name="Total before tax $116.50").wait_for()
    page.get_by_text("Why API calls costs $17.50").click()
    page.get_by_text("Rounding.").locator("visible=true").first.wait_for()
    page.get_by_label("Periods that ended after").fill("2026-01-15 00:00")
    page.get_by_label("and by").fill("2026-02-02 00:00")
    page.get_by_role("button", name="Try it on the past").click()
    page.get_by_text("0 would pay less, 0 more").wait_for()
    page.set_viewport_size({"width": 320, "height": 640})
    assert not _is_wider_than_the_screen(page)
