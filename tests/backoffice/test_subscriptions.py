"""A subscription's page and its buttons: what is agreed is shown, and a change shows its document before it is made."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.identity.models import Role
from apps.invoices.models import Invoice
from apps.subscriptions.models import Subscription, SubscriptionChange
from tests.builders import discounts, faces, plans, subscriptions

pytestmark = pytest.mark.django_db

# February has 28 days: at the end of the fourteenth half of it is over.
MID_FEBRUARY = datetime(2026, 2, 15, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def house(tenant):
    """A customer on 99.00 a month in advance, in mid-February; 199.00 is on sale, too."""
    found = faces.house(until=MID_FEBRUARY)
    plans.published_plan(code="scale", base_fee="199.00", charges=faces.CHARGES)
    return found


@pytest.fixture
def biller(house):
    """Somebody who keeps customers and their subscriptions."""
    return faces.browser(faces.staff(Role.BILLER))


def _post(client, button, row, /, **form):
    return client.post(f"/backoffice/do/{button}/{row.pk}/", form, follow=True)


def _hidden(answer) -> dict[str, str]:
    """Return what the confirming form sends."""
    form = answer.context_data["form"]
    return {field.html_name: field.value() or "" for field in form} | {"confirmed": "yes"}


def _words(answer) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def _page(client, subscription) -> str:
    return client.get(f"/backoffice/subscriptions/subscription/{subscription.pk}/change/").content.decode()


def test_a_change_is_shown_first_and_made_as_it_was_shown(biller, house):
    """S107 S108: the rehearsal names its instant; confirmed six hours later it drafts the same lines and sums."""
    subscription = house.subscription
    asked = biller.get(f"/backoffice/do/subscription-change/{subscription.pk}/").content.decode()
    assert "Show what it bills" in asked
    form = {"plan": "scale@1", "timing": "now", "comment": "asked on the phone"}
    shown = _post(biller, "subscription-change", subscription, **form)
    rehearsal = shown.context_data["rehearsal"]
    assert rehearsal.at == MID_FEBRUARY
    assert [(line[0], line[2]) for line in rehearsal.lines] == [
        ("Base fee", "$99.50"),
        ("Unused time: Base fee", "-$49.50"),
        ("API calls", "$3.00"),
    ]
    assert rehearsal.totals == [("Subtotal", "$53.00"), ("Tax", "$0.00"), ("Total", "$53.00")]
    assert "Unused time: Base fee" in shown.content.decode()
    assert "Confirm: change plan or quantity" in shown.content.decode()
    assert not SubscriptionChange.objects.exists(), "looking must leave nothing behind"

    subscriptions.advance(house.clock, MID_FEBRUARY + timedelta(hours=6))
    done = _post(biller, "subscription-change", subscription, **_hidden(shown))
    assert _words(done) == ["Done as of Feb 15, 2026, 00:00 UTC."]
    change = SubscriptionChange.objects.get()
    assert (change.effective_at, change.comment, change.reason_code) == (
        MID_FEBRUARY,
        "asked on the phone",
        "changed_by_staff",
    )
    subscriptions.advance(house.clock, MID_FEBRUARY + timedelta(hours=7))
    drafted = Invoice.objects.filter(subscription=subscription).latest("id")
    assert drafted.subtotal_minor == 5_300
    assert [(line.description, line.net_minor) for line in drafted.lines.order_by("position")] == [
        ("Base fee", 9_950),
        ("Unused time: Base fee", -4_950),
        ("API calls", 300),
    ]


def test_the_page_shows_terms_of_periods_changes_discounts_and_prices(biller, house):
    subscription = house.subscription
    discounts.discount(customer=house.customer, coupon=discounts.coupon(duration="forever"))
    form = {"plan": "scale@1", "quantity": "3", "timing": "period_end", "comment": "grows"}
    _post(
        biller,
        "subscription-change",
        subscription,
        **_hidden(_post(biller, "subscription-change", subscription, **form)),
    )
    page = _page(biller, subscription)
    for words in ("Agreed for Mar 1, 2026, 00:00 UTC: To scale", "quantity 3", "Scheduled", "grows", "WELCOME", "10 %"):
        assert words in page, words
    assert "Every charge is billed at the plan" in page
    subscriptions.advance(house.clock, MARCH + timedelta(days=1))
    page = _page(biller, subscription)
    assert "Applied" in page
    periods = next(
        panel
        for panel in biller.get(f"/backoffice/subscriptions/subscription/{subscription.pk}/change/").context_data[
            "panels"
        ]
        if panel.title == "Periods"
    )
    assert [(row[4], row[5]) for row in periods.rows] == [("3", "Open"), ("1", "Closed"), ("1", "Closed")]


def test_what_is_agreed_for_later_can_be_withdrawn_with_a_reason(biller, house):
    subscription = house.subscription
    shown = _post(biller, "subscription-cancel", subscription, timing="period_end", comment="told us")
    assert shown.context_data["rehearsal"].lines == []
    assert _words(_post(biller, "subscription-cancel", subscription, **_hidden(shown))) == [
        "Agreed for Mar 1, 2026, 00:00 UTC."
    ]
    change = SubscriptionChange.objects.get()
    assert reverse("admin:subscriptions_subscriptionchange_change", args=[change.pk]) in _page(biller, subscription)
    refused = _post(biller, "change-withdraw", change)
    assert "This field is required" in refused.content.decode()
    assert _words(_post(biller, "change-withdraw", change, comment="stays")) == [
        "The change was withdrawn; it will not happen."
    ]
    assert "somebody was faster" in _words(_post(biller, "change-withdraw", change, comment="stays"))[0]
    subscriptions.advance(house.clock, MARCH + timedelta(days=1))
    assert Subscription.objects.get(pk=subscription.pk).status == "ACTIVE"


def test_pause_and_resume(biller, house):
    """Frozen for a while, then resumed at the instant that was shown."""
    subscription = house.subscription
    form = {"mode": "freeze", "timing": "now", "comment": "summer", "resume_at": "2026-04-01 00:00"}
    shown = _post(biller, "subscription-pause", subscription, **form)
    assert "closed by this document" in shown.context_data["rehearsal"].sentence
    _post(biller, "subscription-pause", subscription, **_hidden(shown))
    assert "Agreed for Apr 1, 2026, 00:00 UTC: Resume." in _page(biller, subscription)
    subscriptions.advance(house.clock, MID_FEBRUARY + timedelta(days=5))
    shown = _post(biller, "subscription-resume", subscription, comment="back already")
    subscriptions.advance(house.clock, MID_FEBRUARY + timedelta(days=5, hours=2))
    assert _words(_post(biller, "subscription-resume", subscription, **_hidden(shown))) == [
        "Done as of Feb 20, 2026, 00:00 UTC."
    ]
    kinds = list(subscription.periods.order_by("sequence").values_list("kind", flat=True))
    assert kinds == ["REGULAR", "REGULAR", "FROZEN", "REGULAR"]
    resumed = SubscriptionChange.objects.get(kind="resume", applied_at__isnull=False)
    assert resumed.comment == "back already"


def test_a_refusal_is_a_sentence_and_keeps_what_was_typed(biller, house):
    subscription = house.subscription
    nothing = _post(biller, "subscription-change", subscription, timing="now", comment="x")
    assert "Choose another plan, another quantity, or both." in nothing.content.decode()
    past = _post(biller, "subscription-change", subscription, quantity="2", timing="at", at="2026-01-01", comment="x")
    assert "must lie in the future" in _words(past)[0]
    assert past.context_data["rehearsal"] is None
    assert 'value="2026-01-01"' in past.content.decode()
    edited = _post(biller, "subscription-change", subscription, quantity="2", timing="now", comment="x", edit="yes")
    assert edited.context_data["rehearsal"] is None
    assert not SubscriptionChange.objects.exists()


def test_what_was_shown_and_is_over_is_refused(biller, house):
    """Between looking and confirming the period ended: nothing else is done instead."""
    subscription = house.subscription
    shown = _post(biller, "subscription-cancel", subscription, timing="period_end", comment="x")
    subscriptions.advance(house.clock, MARCH + timedelta(days=1))
    late = _post(biller, "subscription-cancel", subscription, **_hidden(shown))
    assert "must lie in the future" in _words(late)[0]
    assert not SubscriptionChange.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.APPROVER, Role.COLLECTOR, Role.CATALOG, Role.AUDITOR])
def test_only_who_keeps_customers_changes_subscriptions(house, role):
    client = faces.browser(faces.staff(role))
    assert "/do/subscription-" not in _page(client, house.subscription)
    answer = client.post(f"/backoffice/do/subscription-cancel/{house.subscription.pk}/", {"confirmed": "yes"})
    assert answer.status_code == 403
    assert not SubscriptionChange.objects.exists()
