"""Caps that customers set for themselves: alert, soft with an approver, hard."""

import pytest
from django.db import DatabaseError, transaction

from apps.entitlements import services
from apps.entitlements.errors import CapAgreementRefused, CapInvalid
from apps.entitlements.models import UsageCap, UsageCapAgreement
from tests.builders import limits, metering

pytestmark = pytest.mark.django_db

ANN = limits.person("ann@acme.example")
BOB = limits.person("bob@acme.example")


@pytest.fixture
def subscription(tenant):
    """A subscription with a limit of 10 calls."""
    return limits.limited(limit="10")


def _accepted(count, at) -> int:
    return metering.send(*(metering.event() for _ in range(count)), at=at).accepted


def test_a_hard_cap_refuses_in_the_intake_and_in_the_check(subscription, at):
    """I34: below the plan's limit, and told apart from it."""
    limits.cap(subscription, units="3", at=at)
    assert _accepted(5, at) == 3
    answer = limits.check(subscription, at=at).to_document()
    assert (answer["allowed"], answer["reason"], answer["limit"], answer["used"]) == (False, "cap_exceeded", "3", "3")


def test_an_alert_tells_and_takes(subscription, at):
    """I34: an alert is in nobody's way."""
    limits.cap(subscription, kind="alert", units="3", at=at)
    assert _accepted(5, at) == 5


def test_a_soft_cap_holds_until_its_approver_agrees_for_this_period(subscription, at):
    """I34: a named other person, signed in, agrees; the plan's own limit still holds."""
    cap = limits.cap(subscription, kind="soft", units="3", approver=BOB.label, actor=ANN, at=at)
    assert _accepted(5, at) == 3
    services.cap_agree(cap=cap, actor=BOB, email=BOB.label, at=at)
    assert _accepted(9, at) == 7
    assert limits.check(subscription, at=at).decision.reason == "quota_exceeded"
    (agreement,) = UsageCapAgreement.objects.all()
    assert (agreement.agreed_by, agreement.asked_by) == (BOB.id, ANN.id)


def test_who_set_a_soft_cap_can_neither_agree_nor_raise_nor_remove_it(subscription, at):
    """I34: who asks cannot be who approves; the database says so, too."""
    cap = limits.cap(subscription, kind="soft", units="3", approver=BOB.label, actor=ANN, at=at)
    for actor, email in ((ANN, ANN.label), (ANN, BOB.label), (limits.person("eve@acme.example"), "eve@acme.example")):
        with pytest.raises(CapAgreementRefused):
            services.cap_agree(cap=cap, actor=actor, email=email, at=at)
    with pytest.raises(CapAgreementRefused):
        services.cap_withdraw(cap=cap, actor=ANN, at=at)
    with pytest.raises(CapAgreementRefused):
        limits.cap(subscription, kind="soft", units="9", approver=BOB.label, actor=ANN, at=at)
    assert UsageCap.objects.get().withdrawn_at is None
    with pytest.raises(DatabaseError, match="usage_cap_agreed_by_another"), transaction.atomic():
        UsageCapAgreement.objects.create(
            cap=cap, starts_at=at, ends_at=at.replace(year=2027), asked_by=ANN.id, agreed_by=ANN.id, agreed_at=at
        )


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"units": "11"}, "/cap_units"),
        ({"units": "-1"}, "/cap_units"),
        ({"kind": "soft"}, "/approver_email"),
        ({"kind": "soft", "approver": ANN.label}, "/approver_email"),
        ({"kind": "hard", "approver": BOB.label}, "/approver_email"),
        ({"kind": "firm"}, "/kind"),
    ],
)
def test_a_cap_that_could_not_hold_is_refused_with_the_field_and_the_remedy(subscription, at, asked, pointer):
    """I34: above the plan's limit it would never be reached; a soft one needs another person."""
    with pytest.raises(CapInvalid) as refusal:
        limits.cap(subscription, actor=ANN, at=at, **asked)
    assert pointer in [problem.pointer for problem in refusal.value.problems]
    assert UsageCap.objects.count() == 0


def test_a_meter_whose_events_cannot_be_refused_takes_alerts_only(subscription, at):
    """S115: the last reading is nothing that events could be kept below."""
    metering.meter(code="level", event_type="level", aggregation="latest", value_property="n")
    with pytest.raises(CapInvalid, match="set an alert"):
        limits.cap(subscription, meter="level", at=at)
    assert limits.cap(subscription, meter="level", kind="alert", at=at).meter.code == "level"


def test_a_cap_that_is_taken_away_holds_no_more(subscription, at):
    """I34: at once, in the running period."""
    cap = limits.cap(subscription, units="1", at=at)
    assert _accepted(2, at) == 1
    services.cap_withdraw(cap=cap, actor=ANN, at=at)
    assert _accepted(2, at) == 2
