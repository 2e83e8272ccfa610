"""Take the README's pictures from a running demo: sign in like people do, look, press the shutter.

Nothing is faked for the picture: it is the demo tenant as `script/server` made it, in a real browser.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from script.lib import server

FOLDER = server.ROOT / "docs" / "screenshots"
TENANT = "acme"
# A customer in the middle of its period, so that there is usage to see.
CUSTOMER = "contoso"
# One whose subscription rested for a while.
CHANGER = "litware"
# A plan with tiers.
PLAN = "growth"
VISITOR = "visitor@contoso.example"
WIDTH, HEIGHT = 1360, 900
MAIL_SECONDS_MAX = 10
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP localhost 127.0.0.1",
]


def main() -> None:
    """Take all pictures, or say in a sentence what is missing."""
    settings = server.settings_read(os.environ)
    access_file = settings.local_dir / "demo-access.json"
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("No Chromium on this machine; install it (apt-get install chromium) and try again.")
    if not access_file.exists():
        sys.exit(f"There is no demo in {settings.local_dir}; run `script/server` in another terminal first.")
    access = next(entry for entry in json.loads(access_file.read_text()) if entry["slug"] == TENANT)
    manage = [str(server.ROOT / "script" / "manage"), "portal_access_grant", f"t_{TENANT}", VISITOR, CUSTOMER]
    if subprocess.run(manage, check=False).returncode != 0:
        sys.exit("The demo does not answer; run `script/server` in another terminal first.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    base = f"http://{TENANT}.localhost:{settings.port}"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        context = driver.chromium.launch_persistent_context(
            profile,
            executable_path=browser,
            args=_FLAGS,
            viewport={"width": WIDTH, "height": HEIGHT},
            locale="en-US",
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        backoffice_take(page, base, access)
        portal_take(page, base, settings.local_dir / "mail")
        context.close()


def backoffice_take(page: Any, base: str, access: dict[str, Any]) -> None:
    """Take what somebody of finance sees: the home page, an invoice, its explanation, a subscription and its change."""
    page.goto(f"{base}/backoffice/")
    page.get_by_label("Email").fill(next(iter(access["staff"])))
    page.get_by_label("Password").fill(access["password"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Latest billing runs").wait_for()
    _take(page, "backoffice-home")
    page.goto(f"{base}/backoffice/invoices/invoice/?kind__exact=CYCLE")
    _take(page, "backoffice-invoices")
    page.goto(f"{base}/backoffice/invoices/invoice/?status__exact=PAID&kind__exact=CYCLE&q={CUSTOMER}")
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("heading", name="Lines").wait_for()
    _take(page, "backoffice-invoice")
    page.get_by_role("link", name="Explain line 2").click()
    page.get_by_role("heading", name="Proof").wait_for()
    _take(page, "invoice-explain")
    page.goto(f"{base}/backoffice/subscriptions/subscription/?q={CHANGER}")
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("heading", name="Changes").wait_for()
    _take(page, "backoffice-subscription")
    page.get_by_role("link", name="Change plan or quantity").click()
    page.get_by_label("Plan").select_option(index=1)
    page.get_by_label("Reason").fill("Asked on the phone")
    page.get_by_role("button", name="Show what it bills").click()
    page.get_by_role("button", name="Confirm").wait_for()
    _take(page, "backoffice-subscription-change")
    page.goto(f"{base}/backoffice/plans/{PLAN}/versions/1/examine/")
    page.get_by_role("heading", name="Price simulator").wait_for()
    _take(page, "backoffice-plan")
    page.goto(f"{base}/backoffice/trial-balance/")
    _take(page, "trial-balance")
    usage_take(page, base)


def usage_take(page: Any, base: str) -> None:
    """Take what is there for usage that is not as it should be: refused, lost, late, corrected, leaking, proven."""
    for name, path in (
        ("backoffice-quarantine", "metering/quarantinedevent/"),
        ("backoffice-usage-alerts", "metering/usagealert/"),
        ("backoffice-limits", "metering/usagelimit/"),
        ("backoffice-leakage", "usage-leakage/"),
    ):
        page.goto(f"{base}/backoffice/{path}")
        _take(page, name)
    for name, path in (
        ("backoffice-late-usage", "metering/lateusage/"),
        ("backoffice-usage-correction", "metering/usagecorrection/"),
        ("backoffice-usage-proof", "metering/usageproof/"),
    ):
        page.goto(f"{base}/backoffice/{path}")
        page.locator("#result_list tbody a").first.click()
        page.locator(".ch-facts").first.wait_for()
        _take(page, name)


def portal_take(page: Any, base: str, mail_dir: Path) -> None:
    """Take the customer's first page, an invoice, and both again as other screens show them."""
    asked_at = time.time()
    page.goto(f"{base}/portal/sign-in/")
    page.get_by_label("E-mail address").fill(VISITOR)
    page.get_by_role("button", name="Mail me a link").click()
    page.get_by_role("heading", name="Look into your mailbox").wait_for()
    page.goto(_mailed_link(mail_dir, asked_at))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    _take(page, "portal-home")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    _take(page, "portal-home-small-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.locator("tbody th a").first.click()
    page.get_by_role("heading", name="Lines").wait_for()
    _take(page, "portal-invoice")
    page.goto(f"{base}/portal/limits/")
    _take(page, "portal-limits")


def _take(page: Any, name: str) -> None:
    # Fonts and the theme's own start-up come after the load event.
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=str(path))
    print(path.relative_to(server.ROOT), flush=True)


def _mailed_link(mail_dir: Path, asked_at: float) -> str:
    for _try in range(MAIL_SECONDS_MAX):
        letters = sorted(mail_dir.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for letter in letters:
            text = letter.read_text()
            link = re.search(r"http://\S+/portal/sign-in/link/\S+", text)
            if letter.stat().st_mtime >= asked_at - 1 and VISITOR in text and link:
                return link[0]
        time.sleep(1)
    sys.exit(f"No sign-in mail came into {mail_dir}; is EMAIL_URL set to send mails elsewhere?")


if __name__ == "__main__":
    main()
