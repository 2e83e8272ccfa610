"""A button says what it will do, asks, makes one call, and tells what came of it; refusals are sentences."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.backoffice import buttons
from apps.common.actors import OPERATOR
from apps.customers.models import TestClock
from apps.identity.models import ApiKey, Role
from apps.identity.roles import PERMISSIONS
from apps.invoices.models import BillingRun, Invoice
from apps.messaging.models import OutboxMessage
from apps.metering.models import QuarantinedEvent
from apps.payments.models import PaymentAttempt
from apps.plans import cohorts
from apps.plans.cohorts import CohortInput
from apps.subscriptions import services as subscription_services
from apps.subscriptions.models import BillingPeriod
from tests.builders import customers, faces, metering, plans
from tests.builders.faces import FEBRUARY

pytestmark = pytest.mark.django_db

# The period has ended and its draft waits for late usage.
IN_GRACE = FEBRUARY + timedelta(minutes=10)


def _press(client, button, row=None, /, **form):
    url = f"/backoffice/do/{button}/" + (f"{row.pk}/" if row is not None else "")
    return client.post(url, form, follow=True)


def _words(answer):
    return [str(message) for message in answer.context["messages"]]


@pytest.fixture
def biller(tenant):
    """Somebody who bills and collects."""
    return faces.browser(faces.staff(Role.BILLER, Role.COLLECTOR))


def _draft(house):
    return Invoice.objects.get(customer=house.customer, status="DRAFT")


def _park(period):
    wall_at = period.ends_at + timedelta(minutes=1)
    TestClock.objects.filter(customers__subscriptions=period.subscription).update(now_at=wall_at)
    claimed = subscription_services.periods_claim(
        limit=10, actor=OPERATOR, at=wall_at, wall_at=wall_at, customer_ids=[period.subscription.customer_id]
    )
    assert [row.pk for row in claimed] == [period.pk]
    subscription_services.period_park(
        period_id=period.pk,
        claim_token=claimed[0].claim_token,
        reason="no rate for this country",
        actor=OPERATOR,
        at=wall_at,
    )


def test_every_button_asks_for_a_permission_that_exists():
    for button in buttons.BUTTONS.values():
        assert button.permission in PERMISSIONS, button.name
        assert len(button.effect) > 40, f"{button.name} does not say what it will do"


def test_finalise_asks_first_then_gives_a_number(biller):
    house = faces.house(until=IN_GRACE)
    draft = _draft(house)
    asked = biller.get(f"/backoffice/do/invoice-finalize/{draft.pk}/")
    assert "$116.50" in asked.content.decode()
    draft.refresh_from_db()
    assert draft.status == "DRAFT", "asking must change nothing"
    answer = _press(biller, "invoice-finalize", draft)
    draft.refresh_from_db()
    assert draft.status == "OPEN"
    assert _words(answer) == [f"Invoice {draft.number} is final."]


def test_pressing_twice_is_told_and_harmless(biller):
    house = faces.house(until=IN_GRACE)
    draft = _draft(house)
    _press(biller, "invoice-finalize", draft)
    number = Invoice.objects.get(pk=draft.pk).number
    answer = _press(biller, "invoice-finalize", draft)
    assert "somebody was faster" in _words(answer)[0]
    assert Invoice.objects.get(pk=draft.pk).number == number


def test_refresh_takes_late_usage_in(biller):
    house = faces.house(until=IN_GRACE)
    draft = _draft(house)
    assert "Nothing has changed." in _words(_press(biller, "invoice-refresh", draft))
    faces.used("acme", 1, datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert "The draft was built again and changed." in _words(_press(biller, "invoice-refresh", draft))
    draft.refresh_from_db()
    assert draft.total_minor == 11_700


def test_discard_needs_a_reason(biller):
    house = faces.house(until=IN_GRACE)
    draft = _draft(house)
    refused = _press(biller, "invoice-discard", draft)
    assert "This field is required" in refused.content.decode()
    assert Invoice.objects.get(pk=draft.pk).status == "DRAFT"
    _press(biller, "invoice-discard", draft, comment="sent by mistake")
    assert Invoice.objects.get(pk=draft.pk).status == "DISCARDED"


def test_a_discarded_draft_is_drafted_again_once(biller):
    house = faces.house(until=IN_GRACE)
    draft = _draft(house)
    _press(biller, "invoice-discard", draft, comment="sent by mistake")
    answer = _press(biller, "invoice-draft-again", draft)
    assert _words(answer) == ["The period has a draft again."]
    again = _draft(house)
    assert (again.pk != draft.pk, again.total_minor) == (True, draft.total_minor)
    page = biller.get(f"/backoffice/invoices/invoice/{draft.pk}/change/").content.decode()
    assert "/do/invoice-draft-again/" not in page


def test_collect_charges_what_is_owed(biller):
    house = faces.house(token="tok_decline_soft")
    invoice = house.invoice
    assert invoice.status == "OPEN"
    answer = _press(biller, "invoice-collect", invoice)
    assert "insufficient_funds" in _words(answer)[0]
    assert PaymentAttempt.objects.filter(invoice=invoice).count() == 2


def test_collect_without_a_method_is_a_sentence(biller):
    house = faces.house(token="")
    answer = _press(biller, "invoice-collect", house.invoice)
    assert answer.status_code == 200
    assert "method" in _words(answer)[0]
    assert not PaymentAttempt.objects.exists()


def test_unknown_payment_is_looked_up_and_not_repeated(biller):
    house = faces.house(token="tok_timeout_after", until=FEBRUARY + timedelta(hours=1))
    attempt = PaymentAttempt.objects.filter(invoice__customer=house.customer, status="UNKNOWN").first()
    assert attempt is not None
    answer = _press(biller, "payment-look-up", attempt)
    attempt.refresh_from_db()
    assert attempt.status == "SUCCEEDED"
    assert _words(answer) == ["The money was taken."]


def test_unpark_lets_the_next_run_try(biller):
    house = faces.house()
    period = BillingPeriod.objects.filter(subscription=house.subscription).exclude(status="CLOSED").get()
    _park(period)
    page = biller.get(f"/backoffice/subscriptions/billingperiod/{period.pk}/change/").content.decode()
    assert "Parked, because: no rate for this country" in page
    answer = _press(biller, "period-unpark", period)
    period.refresh_from_db()
    assert period.parked_at is None
    assert _words(answer) == ["The next billing run tries this period again."]


def test_billing_run_starts_from_the_list_and_the_home_page(biller):
    assert "/backoffice/do/billing-run-start/" in biller.get("/backoffice/").content.decode()
    assert "/backoffice/do/billing-run-start/" in biller.get("/backoffice/invoices/billingrun/").content.decode()
    answer = _press(biller, "billing-run-start")
    assert _words(answer) == ["The run closed 0 periods."]
    assert BillingRun.objects.filter(trigger="staff").count() == 1


def test_clock_advances_and_refuses_to_go_back(biller):
    house = faces.house()
    answer = _press(biller, "clock-advance", house.clock, to="2026-03-02 00:00")
    assert "Mar 2, 2026" in _words(answer)[0]
    assert Invoice.objects.filter(customer=house.customer, kind="CYCLE").count() == 2
    back = _press(biller, "clock-advance", house.clock, to="2026-01-01 00:00")
    assert "cannot go back" in _words(back)[0]
    nonsense = _press(biller, "clock-advance", house.clock, to="tomorrow")
    assert "is not a time" in nonsense.content.decode()


def test_publish_runs_the_examples_and_freezes(tenant):
    approver = faces.browser(faces.staff(Role.APPROVER))
    metering.meter(code="api_calls", event_type="api.call")
    draft = plans.drafted_plan(code="growth")
    _press(approver, "plan-publish", draft)
    draft.refresh_from_db()
    assert draft.status == "PUBLISHED"


def test_publish_for_a_cohort_leaves_the_others_where_they_are(tenant, at):
    """S102: the form offers the cohorts; an unknown one publishes nothing, least of all for everybody."""
    approver = faces.browser(faces.staff(Role.APPROVER))
    cohort = cohorts.cohort_create(data=CohortInput(code="beta", name="Beta"), actor=OPERATOR, at=at)
    draft = plans.drafted_plan(code="growth", charges=[])
    _press(approver, "plan-publish", draft, cohort="nobody")
    draft.refresh_from_db()
    assert draft.status == "DRAFT"
    form = approver.get(f"/backoffice/do/plan-publish/{draft.pk}/").content.decode()
    assert "Everybody" in form
    answer = _press(approver, "plan-publish", draft, cohort=cohort.pk)
    draft.refresh_from_db()
    assert (draft.status, draft.cohort) == ("PUBLISHED", cohort)
    assert "is published for cohort beta" in _words(answer)[0]


def test_dead_message_is_requeued(tenant, at):
    faces.house()
    operator = faces.browser(faces.staff(Role.OPERATOR))
    message = OutboxMessage.objects.order_by("id").first()
    OutboxMessage.objects.filter(pk=message.pk).update(status="DEAD", finished_at=at, last_error="it broke")
    answer = _press(operator, "message-requeue", message)
    message.refresh_from_db()
    assert message.status == "PENDING"
    assert _words(answer) == ["The message gets another round of tries."]


def test_quarantined_event_is_replayed_once_its_reason_is_gone(biller):
    house = faces.house()
    metering.send(
        metering.event(id="q-1", customer="nobody-yet", type="api.call", occurred_at="2026-02-03T00:00:00Z"),
        at=datetime(2026, 2, 3, 1, tzinfo=UTC),
    )
    held = QuarantinedEvent.objects.get()
    still = _press(biller, "usage-replay", held)
    assert still.status_code == 200
    held.refresh_from_db()
    assert held.status == "HELD", "its customer is still unknown"
    assert _words(still)
    customers.customer(external_id="nobody-yet", test_clock=house.clock)
    assert _words(_press(biller, "usage-replay", held)) == ["The event was accepted under its own id."]
    held.refresh_from_db()
    assert held.status == "REPLAYED"


def test_key_is_shown_once_and_revoked(tenant):
    operator = faces.browser(faces.staff(Role.OPERATOR))
    shown = _press(operator, "key-issue", name="importer", scopes=["events:write"], is_live="on")
    key = ApiKey.objects.get()
    secret = shown.context_data["secret"]
    assert secret in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    assert secret not in operator.get(f"/backoffice/identity/apikey/{key.pk}/change/").content.decode()
    _press(operator, "key-revoke", key)
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert (
        f"/backoffice/do/key-revoke/{key.pk}/"
        not in operator.get(f"/backoffice/identity/apikey/{key.pk}/change/").content.decode()
    )


@pytest.mark.parametrize("name", sorted(buttons.BUTTONS))
def test_button_is_refused_without_its_permission(tenant, name):
    """What a person may do is decided by their roles, at the door of each button."""
    button = buttons.BUTTONS[name]
    viewer = faces.browser(faces.staff(Role.VIEWER))
    url = f"/backoffice/do/{name}/" + ("" if button.is_on_list else "00000000-0000-7000-8000-000000000000/")
    assert viewer.get(url).status_code == 403
    assert viewer.post(url).status_code == 403
    stranger = faces.browser()
    assert stranger.post(url).status_code == 302


def test_unknown_button_is_404(biller):
    assert biller.get("/backoffice/do/give-me-money/").status_code == 404
    assert biller.get("/backoffice/do/invoice-finalize/").status_code == 404
