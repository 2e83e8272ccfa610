"""Finance corrects usage: finds the event, sees the effect, asks; somebody else decides; all can be taken back."""

from datetime import UTC, datetime

import pytest

from apps.identity.models import Role
from apps.metering import selectors
from apps.metering.correction_documents import CorrectionBound, UsageCorrection
from apps.metering.models import QuarantinedEvent, UsageCancellation, UsageEvent
from tests.builders import customers, faces, metering
from tests.builders.corrections import BEN, correction

pytestmark = pytest.mark.django_db

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
WHY = {"reason_code": "wrong_value", "comment": "their unit was wrong"}


@pytest.fixture
def biller(tenant):
    """Somebody who prepares corrections."""
    return faces.browser(faces.staff(Role.BILLER))


@pytest.fixture
def approver(tenant):
    """Somebody who decides about them."""
    return faces.browser(faces.staff(Role.APPROVER, email="approver@alpha.example"))


@pytest.fixture
def event(tenant) -> UsageEvent:
    """One stored event of five bytes."""
    metering.meter(code="traffic", aggregation="sum", value_property="bytes", unit_name="B")
    customers.customer(external_id="acme", name="Acme Ltd")
    metering.send(metering.event(id="e1", properties={"bytes": "5", "ratio": 7}), at=AT)
    return UsageEvent.objects.get()


def press(client, name, row=None, /, **form):
    url = f"/backoffice/do/{name}/" + (f"{row.pk}/" if row is not None else "")
    return client.post(url, form, follow=True)


def confirm(client, name, row=None, /, **form):
    """Press twice, as the page asks."""
    return press(client, name, row, **form, confirmed="yes")


def words(answer):
    return [str(message) for message in answer.context["messages"]]


def units() -> int:
    meter = selectors.meter_by_reference("traffic")
    customer = UsageEvent.objects.first().customer_id
    window = {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 2, 1, tzinfo=UTC)}
    return int(selectors.usage_quantity(meter=meter, customer_id=customer, subscription_id=None, **window).quantity)


def many(count: int = 11) -> list[dict[str, str]]:
    events = [metering.event(id=f"m{number}", properties={"bytes": "1"}) for number in range(count)]
    metering.send(*events, at=AT)
    return [{"source": "test", "id": event["id"]} for event in events]


def test_an_event_is_found_by_its_identity_and_by_its_customer(biller, event):
    for query in ("source=test&event_id=e1", "customer=acme&starts_at=2026-01-01+00:00"):
        page = biller.get(f"/backoffice/usage/search/?{query}").content.decode()
        assert "test: e1" in page
        assert f"/backoffice/do/usage-cancel/{event.pk}/" in page
        assert f"/backoffice/do/usage-amend/{event.pk}/" in page
    assert "No such event is stored" in biller.get("/backoffice/usage/search/?source=test&event_id=e2").content.decode()
    assert "There is no customer" in biller.get("/backoffice/usage/search/?customer=nobody").content.decode()
    assert "Give source and id" in biller.get("/backoffice/usage/search/?source=test").content.decode()


def test_the_first_press_shows_the_effect_and_changes_nothing(biller, event):
    page = press(biller, "usage-cancel", event, **WHY).content.decode()
    assert "It is applied at once." in page
    assert "traffic v1" in page
    assert "5 \N{RIGHTWARDS ARROW} 0 B" in page
    assert (UsageCorrection.objects.count(), units()) == (0, 5)


def test_a_confirmed_cancellation_is_told_on_the_event(biller, event):
    answer = confirm(biller, "usage-cancel", event, **WHY)
    assert words(answer) == ["Done: usage counts as the correction says."]
    assert units() == 0
    page = biller.get(f"/backoffice/metering/usageevent/{event.pk}/change/").content.decode()
    assert "This event counts no more since" in page
    assert "usage-cancel" not in page
    assert "somebody was faster" in words(confirm(biller, "usage-cancel", event, **WHY))[0]
    found = biller.get("/backoffice/usage/search/?source=test&event_id=e1").content.decode()
    assert "Cancelled" in found


def test_an_amendment_keeps_what_the_form_did_not_change(biller, event):
    form = biller.get(f"/backoffice/do/usage-amend/{event.pk}/").context["form"]
    filled = {name: form[name].value() for name in ("type", "customer", "occurred_at", "quantity", "properties")}
    assert filled["customer"] == "acme"
    nothing = confirm(biller, "usage-amend", event, **filled, **WHY)
    assert "Say what is to be different" in " ".join(words(nothing))
    filled["properties"] = '{"bytes":"3","ratio":7}'
    answer = confirm(biller, "usage-amend", event, **filled, **WHY)
    assert words(answer) == ["Done: usage counts as the correction says."]
    assert units() == 3
    replacing = UsageEvent.objects.exclude(event_id="e1").get()
    assert (replacing.occurred_at, replacing.properties) == (event.occurred_at, {"bytes": "3", "ratio": 7})
    page = answer.content.decode()
    assert "&quot;bytes&quot;: &quot;3&quot;" in page
    refused = press(biller, "usage-amend", replacing, **{**filled, "properties": "{"}, **WHY).content.decode()
    assert "This is no JSON object" in refused


def test_above_the_bound_somebody_else_decides(biller, approver, event):
    names = many()
    listed = "\n".join(f"{name['source']}, {name['id']}" for name in names)
    shown = press(biller, "usage-cancel-many", listed=listed, **WHY).content.decode()
    assert "somebody else decides" in shown
    answer = confirm(biller, "usage-cancel-many", listed=listed, **WHY)
    assert words(answer) == ["Asked for; it waits for somebody else's approval."]
    asked = UsageCorrection.objects.get()
    home = biller.get("/backoffice/").context_data["cards"]
    [card] = [card for card in home if card.title == "Corrections to decide"]
    assert (card.count, "status__exact=PENDING_APPROVAL" in card.url) == (1, True)
    assert press(biller, "correction-approve", asked, comment="fine").status_code == 403
    answer = press(approver, "correction-approve", asked, comment="seen their log")
    assert words(answer) == ["Applied: usage counts as the correction says."]
    assert units() == 5
    page = approver.get(f"/backoffice/metering/usagecorrection/{asked.pk}/change/").content.decode()
    assert "seen their log" in page
    assert "traffic v1" in page
    assert "test: m0" in page


def test_who_asked_cannot_decide_even_with_both_roles(tenant, event):
    """I09: the rule is about the person, not the role."""
    both = faces.browser(faces.staff(Role.BILLER, Role.APPROVER))
    listed = "\n".join(f"{name['source']},{name['id']}" for name in many())
    confirm(both, "usage-cancel-many", listed=listed, **WHY)
    asked = UsageCorrection.objects.get()
    assert "somebody else has to decide" in words(press(both, "correction-approve", asked, comment="fine"))[0]
    assert words(press(both, "correction-withdraw", asked, comment="wrong list"))[0].startswith("The correction was")


def test_a_correction_is_rejected_with_a_reason(approver, event):
    asked = correction(*many(), kind="cancel", at=AT, actor=BEN)
    assert "This field is required" in press(approver, "correction-reject", asked).content.decode()
    assert words(press(approver, "correction-reject", asked, comment="no proof")) == ["Usage stays as it is."]
    assert UsageCancellation.objects.count() == 0


def test_an_applied_correction_is_taken_back(biller, event):
    done = correction({"source": "test", "id": "e1"}, kind="cancel", at=AT)
    shown = press(biller, "correction-counter", done, comment="it was right").content.decode()
    assert "0 \N{RIGHTWARDS ARROW} 5 B" in shown
    confirm(biller, "correction-counter", done, comment="it was right")
    assert units() == 5
    page = biller.get(f"/backoffice/metering/usagecorrection/{done.pk}/change/").content.decode()
    assert "correction-counter" not in page


def test_events_are_back_filled_from_pasted_lines(biller, event):
    line = (
        '{"id": "old", "source": "test", "type": "api.call", "customer": "acme", '
        '"occurred_at": "2024-01-10T12:00:00Z", "properties": {"bytes": "9"}}'
    )
    refused = press(biller, "usage-backfill", listed="{", **WHY).content.decode()
    assert "Line 1 is no JSON object" in refused
    assert words(confirm(biller, "usage-backfill", listed=line, **WHY))[0].startswith("Done")
    assert UsageEvent.objects.get(event_id="old").occurred_at.year == 2024


def test_a_meter_with_nothing_before_it_says_so(biller, event):
    window = {"meter": "traffic", "customer": "acme", "starts_at": "2026-01-01 00:00", "ends_at": "2026-02-01 00:00"}
    assert "there is nothing to do" in " ".join(words(press(biller, "meter-backfill", **window, **WHY)))


def test_the_bound_is_set_by_who_approves(biller, approver, event):
    assert press(biller, "correction-bound", events_max=5, units_max="5", comment="x").status_code == 403
    press(approver, "correction-bound", events_max=0, units_max="0.5", comment="four eyes for all")
    assert CorrectionBound.objects.get().events_max == 0


def test_refused_events_are_edited_stored_discarded_and_replayed(biller, event):
    metering.send(
        metering.event(id="bad", properties={"bytes": "5 MB"}),
        metering.event(id="e1", properties={"bytes": "6"}),
        metering.event(id="lost", customer="nobody"),
        metering.event(id="new", customer="newco", properties={"bytes": "1"}),
        at=AT,
    )
    bad, reused, lost = (QuarantinedEvent.objects.get(event_id=name) for name in ("bad", "e1", "lost"))
    press(biller, "usage-edit", bad, raw=bad.raw.replace("5 MB", "5"), comment="their unit")
    edited = QuarantinedEvent.objects.get(edits=bad)
    assert words(press(biller, "usage-replay", edited)) == ["The event was accepted under its own id."]
    page = biller.get(f"/backoffice/metering/quarantinedevent/{edited.pk}/change/").content.decode()
    assert bad.public_id in page, "both versions are there"
    assert words(press(biller, "usage-store", reused, event_id="e1-2", comment="two facts")) == [
        "The event counts under the id e1-2."
    ]
    press(biller, "usage-discard", lost, reason_code="test_data", comment="a load test")
    customers.customer(external_id="newco")
    [said] = words(press(biller, "usage-replay-all", code="unknown_customer", customer=""))
    assert said == "1 accepted, 0 still wait."
    assert set(QuarantinedEvent.objects.values_list("status", flat=True)) == {"EDITED", "REPLAYED", "DISCARDED"}


def test_what_does_not_count_is_shown_with_what_to_do(biller, event):
    metering.send(metering.event(id="lost", customer="nobody"), at=AT)
    page = biller.get("/backoffice/usage/uncounted/").content.decode()
    assert "unknown customer" in page
    assert "status__exact=HELD&amp;code=unknown_customer" in page
    assert "Every accepted event is counted by a meter." in page
    assert "/backoffice/do/usage-replay-all/" in page


def test_who_may_read_nothing_finds_nothing(tenant):
    operator = faces.browser(faces.staff(Role.OPERATOR))
    for path in ("search", "uncounted"):
        assert operator.get(f"/backoffice/usage/{path}/").status_code == 403


def test_the_effect_on_a_final_invoice_is_shown_before_and_after(biller):
    """Who cancels usage that was billed sees the invoice and the adjustment that it becomes."""
    house = faces.house()
    billed = UsageEvent.objects.filter(occurred_at__month=1).first()
    number = str(house.invoice.number)
    shown = press(biller, "usage-cancel", billed, **WHY).content.decode()
    assert f"Invoice {number}, adjustment before tax" in shown
    assert "-$0.50" in shown
    page = confirm(biller, "usage-cancel", billed, **WHY).content.decode()
    assert number in page
    assert "-$0.50" in page
