"""A customer reads what it is on and what is agreed to come; a change's credit stands on the document."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.common.actors import OPERATOR
from apps.subscriptions import changes
from apps.subscriptions.inputs import TermsChange, Timing, When
from tests.builders import customers, faces, plans, subscriptions

pytestmark = pytest.mark.django_db

MID_FEBRUARY = datetime(2026, 2, 15, tzinfo=UTC)


@pytest.fixture
def house(tenant):
    """A customer on 99.00 a month in advance, in mid-February; 9.00 is on sale, too."""
    found = faces.house(until=MID_FEBRUARY)
    plans.published_plan(code="small", base_fee="9.00", charges=faces.CHARGES)
    return found


def _home(customer):
    return faces.browser(faces.portal_user(customer)).get("/portal/")


def test_plan_quantity_and_what_is_to_come_are_told_in_plain_words(house):
    changes.subscription_change(
        subscription_id=house.subscription.id,
        wanted=TermsChange(plan_code="small", quantity=Decimal(3)),
        when=When(timing=Timing.PERIOD_END),
        actor=OPERATOR,
        at=MID_FEBRUARY,
    )
    [agreement] = _home(house.customer).context_data["agreements"]
    assert (agreement.plan, agreement.quantity, agreement.state) == ("Growth", "", "Active")
    assert agreement.sentences == ["From Mar 1, 2026, 00:00 UTC you are on Small with quantity 3."]


def test_a_pause_says_what_it_means_and_when_it_ends(house):
    changes.subscription_pause(
        subscription_id=house.subscription.id,
        mode="freeze",
        when=When(),
        resume_at=MID_FEBRUARY + timedelta(days=30),
        actor=OPERATOR,
        at=MID_FEBRUARY,
    )
    answer = _home(house.customer)
    [agreement] = answer.context_data["agreements"]
    assert agreement.state == "Paused"
    assert agreement.sentences == [
        "Paused since Feb 15, 2026, 00:00 UTC: nothing is billed, and what is left of the paid period is served "
        "afterwards.",
        "Goes on, on Mar 17, 2026, 00:00 UTC.",
    ]
    assert "Nothing is measured at the moment." in answer.content.decode()


def test_a_trial_says_until_when_and_shows_usage(house):
    plans.published_plan(code="tried", base_fee="50.00", charges=faces.CHARGES, trial_days=14)
    newcomer = customers.customer(external_id="new", name="New Ltd", email="new@new.example", test_clock=house.clock)
    subscriptions.subscription(customer=newcomer, plan_code="tried", starts_at=MID_FEBRUARY)
    answer = _home(newcomer)
    [agreement] = answer.context_data["agreements"]
    assert (agreement.state, agreement.sentences) == (
        "Trial",
        ["Free of charge until Mar 1, 2026, 00:00 UTC, when your trial ends."],
    )
    assert [row.plan for row in answer.context_data["running"]] == ["Tried"]


def test_what_a_downgrade_gives_back_is_on_the_document_and_goes_to_the_account(house):
    """Half of 99.00 is unused; 4.50 of the new fee and 3.00 of usage use up part of it, the rest is account credit."""
    changes.subscription_change(
        subscription_id=house.subscription.id,
        wanted=TermsChange(plan_code="small"),
        when=When(),
        actor=OPERATOR,
        at=MID_FEBRUARY,
    )
    subscriptions.advance(house.clock, MID_FEBRUARY + timedelta(days=2))
    document = subscriptions.invoices_of(house.customer)[-1]
    ada = faces.browser(faces.portal_user(house.customer))
    page = ada.get(f"/portal/invoices/{document.public_id}/")
    assert [(line["description"], line["net"]) for line in page.context_data["lines"]] == [
        ("Base fee", "$4.50"),
        ("Unused time: Base fee", "-$49.50"),
        ("API calls", "$3.00"),
    ]
    assert (page.context_data["totals"]["total"], page.context_data["credit"]) == (
        "-$42.00",
        ("Added to your account", "$42.00"),
    )
    assert "Nothing had to be paid." in page.content.decode()
