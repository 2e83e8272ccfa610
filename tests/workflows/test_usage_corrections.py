"""Corrections of usage: cancel, amend, back-fill, each a document; above the bound by four eyes; back to the start."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.metering import corrections, selectors
from apps.metering.correction_documents import CorrectedEvent, CorrectionBound, UsageCorrection
from apps.metering.errors import (
    CorrectionConflict,
    CorrectionDecided,
    CorrectionInvalid,
    CorrectionNeedsAnother,
)
from apps.metering.models import QuarantinedEvent, UsageCancellation, UsageEvent, UsageEventKey
from apps.workflows import usage_corrections
from tests.builders import customers, metering
from tests.builders.corrections import ADA, BEN, correction, counter

pytestmark = pytest.mark.django_db

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
AGGREGATIONS = {
    "count": {},
    "sum": {"value_property": "bytes"},
    "max": {"value_property": "bytes"},
    "min": {"value_property": "bytes"},
    "latest": {"value_property": "bytes"},
    "average": {"value_property": "bytes"},
    "unique_count": {"value_property": "user"},
    "weighted_sum": {"value_property": "bytes"},
}


@pytest.fixture
def acme(tenant):
    """A customer whose calls are counted in every way there is, by region."""
    acme = customers.customer(external_id="acme")
    for aggregation, terms in AGGREGATIONS.items():
        metering.meter(code=f"by_{aggregation}", aggregation=aggregation, group_by=["region"], **terms)
    return acme


def sent(event_id: str, *, bytes_: str = "5", day: int = 10, **overrides) -> dict[str, str]:
    """Send one call and return how it is named."""
    properties = {"bytes": bytes_, "user": f"user-{bytes_}", "region": "eu"}
    event = metering.event(
        id=event_id, occurred_at=f"2026-01-{day:02}T12:30:00Z", properties={**properties, **overrides}
    )
    assert metering.send(event, at=AT).accepted == 1
    return {"source": "test", "id": event_id}


def readings(customer, *, starts_at=JANUARY, ends_at=FEBRUARY) -> dict[str, tuple[Decimal, int]]:
    """Return what every meter comes to in January: quantity and events."""
    found = {}
    for meter in selectors.meters_queryset().filter(event_type="api.call"):
        usage = selectors.usage_quantity(
            meter=meter, customer_id=customer.id, subscription_id=None, starts_at=starts_at, ends_at=ends_at
        )
        found[f"{meter.code} v{meter.version}"] = (usage.quantity, usage.event_count)
    return found


def stored_rows() -> tuple[int, ...]:
    """Return how many rows there are of everything that a correction may write."""
    models = (UsageCorrection, CorrectedEvent, UsageCancellation, UsageEvent, UsageEventKey, QuarantinedEvent)
    return tuple(model.objects.count() for model in models) + (AuditEntry.objects.count(),)


def codes(error) -> list[str]:
    """Return the codes of what is wrong."""
    return [problem.code for problem in error.value.problems]


def test_a_cancelled_event_counts_no_more_and_stays(acme):
    first, _second = sent("one", bytes_="5"), sent("two", bytes_="7", day=11)
    done = correction(first, kind="cancel", reason_code="duplicate", at=LATER)
    assert (done.status, done.is_within_bound, done.decided_by) == ("APPLIED", True, "")
    now = readings(acme)
    assert now["by_count v1"] == (1, 1)
    assert now["by_sum v1"] == (7, 1)
    assert now["by_unique_count v1"] == (1, 1)
    assert UsageEvent.objects.filter(event_id="one").exists(), "events are never removed"
    assert selectors.aggregates_compare(limit=10) == []
    assert done.effect["meters"][1] == {
        "meter": "by_count", "version": 1, "unit_name": "", "units_change": "-1",
    }  # fmt: skip
    [row] = done.events.all()
    assert (row.event_id, row.after) == ("one", None)
    assert '"bytes":"5"' in row.before


def test_an_amendment_replaces_the_event_and_names_both(acme):
    named = sent("one", bytes_="500")
    asked = {**named, "properties": {"bytes": "5", "user": "user-5", "region": "us"}}
    done = correction(asked, kind="amend", reason_code="wrong_value", at=LATER)
    [row] = done.events.all()
    replacing = UsageEvent.objects.get(event_id=row.after_event_id)
    assert row.after_event_id == f"{done.public_id}:0"
    assert (replacing.source, replacing.occurred_at.day) == ("test", 10)
    assert readings(acme)["by_sum v1"] == (5, 1)
    assert readings(acme)["by_count v1"] == (1, 1)
    changes = {line["meter"]: line["units_change"] for line in done.effect["meters"]}
    assert (changes["by_sum"], changes["by_count"], changes["by_max"]) == ("-495", "0", "-495")
    assert selectors.aggregates_compare(limit=10) == []


def test_an_amendment_moves_usage_to_another_customer_and_time(acme):
    other = customers.customer(external_id="other")
    named = sent("one", bytes_="5")
    asked = {**named, "customer": "other", "occurred_at": "2026-01-02T00:00:00Z"}
    correction(asked, kind="amend", reason_code="wrong_customer", at=LATER)
    assert readings(acme)["by_sum v1"] == (0, 0)
    assert readings(other)["by_sum v1"] == (5, 1)
    assert readings(other, starts_at=datetime(2026, 1, 3, tzinfo=UTC))["by_sum v1"] == (0, 0)


def test_a_backfill_brings_what_the_door_refuses_as_too_old(acme):
    """S081: history is corrected by adding, with a reason, however old it is."""
    old = metering.event(id="old", occurred_at="2024-03-10T12:00:00Z", properties={"bytes": "3", "user": "u"})
    assert metering.send(old, at=AT).results[0].code == "too_old"
    correction(old, kind="backfill", reason_code="missing", at=LATER)
    then = {"starts_at": datetime(2024, 3, 1, tzinfo=UTC), "ends_at": datetime(2024, 4, 1, tzinfo=UTC)}
    assert readings(acme, **then)["by_sum v1"] == (3, 1)
    with pytest.raises(CorrectionInvalid) as refused:
        correction(old, kind="backfill", reason_code="missing", at=LATER)
    assert codes(refused) == ["already_stored"]
    assert readings(acme, **then)["by_sum v1"] == (3, 1)


@pytest.mark.parametrize("kind", ["cancel", "amend", "backfill"])
def test_correction_and_counter_correction_return_every_quantity_to_the_start(acme, kind):
    """I09: whatever the aggregation, and whatever other events stand around it."""
    sent("before", bytes_="9", day=9)
    named = sent("one", bytes_="5", day=10)
    sent("after", bytes_="2", day=12)
    start = readings(acme)
    asked = {
        "cancel": named,
        "amend": {**named, "properties": {"bytes": "40", "user": "else", "region": "us"}},
        "backfill": metering.event(id="late", properties={"bytes": "70", "user": "late", "region": "eu"}),
    }[kind]
    done = correction(asked, kind=kind, at=LATER)
    assert readings(acme) != start
    back = counter(done, at=LATER + timedelta(hours=1))
    assert readings(acme) == start
    assert selectors.aggregates_compare(limit=10) == []
    assert (back.counters_id, list(done.counter_corrections.all())) == (done.id, [back])
    assert back.kind == {"cancel": "backfill", "amend": "amend", "backfill": "cancel"}[kind]
    by_meter = lambda found: {entry["meter"]: Decimal(entry["units_change"]) for entry in found.effect["meters"]}  # noqa: E731
    assert by_meter(back) == {meter: -change for meter, change in by_meter(done).items()}
    with pytest.raises(CorrectionConflict, match="taken back once"):
        counter(done, at=LATER + timedelta(hours=2))
    again = counter(back, at=LATER + timedelta(hours=3))
    assert readings(acme) != start, "taking back the taking back is the correction again"
    counter(again, at=LATER + timedelta(hours=4))
    assert readings(acme) == start


def test_above_the_bound_it_waits_and_changes_nothing(acme):
    names = [sent(f"e{number}", day=10) for number in range(corrections.EVENTS_MAX_ALONE + 1)]
    start = readings(acme)
    asked = correction(*names, kind="cancel", at=LATER)
    assert (asked.status, asked.is_within_bound) == ("PENDING_APPROVAL", False)
    assert readings(acme) == start
    assert UsageCancellation.objects.count() == 0
    sums = [entry for entry in asked.effect["meters"] if entry["meter"] == "by_sum"]
    assert sums[0]["units_change"] == "-55", "who decides sees what it would do"
    done = usage_corrections.correction_approve(correction_id=asked.id, comment="seen", actor=BEN, at=LATER)
    assert (done.status, done.decided_by_name) == ("APPLIED", BEN.label)
    assert readings(acme)["by_sum v1"] == (0, 0)


@pytest.mark.parametrize(
    ("different", "is_alone"),
    [
        ({"properties": {"bytes": "5001", "region": "eu"}}, True),
        ({"properties": {"bytes": "5000", "region": "us"}}, False),
        ({"occurred_at": "2026-01-11T12:30:00Z"}, False),
    ],
)
def test_units_that_only_move_are_measured_as_well(tenant, different, is_alone):
    """I09: to another day or another price the same units make another bill; nobody moves many alone."""
    customers.customer(external_id="acme")
    metering.meter(code="by_sum", aggregation="sum", value_property="bytes", group_by=["region"])
    named = sent("one", bytes_="5000")
    asked = correction({**named, **different}, kind="amend", at=LATER)
    assert (asked.is_within_bound, asked.status) == (is_alone, "APPLIED" if is_alone else "PENDING_APPROVAL")


def test_many_units_of_one_event_wait_as_well(acme):
    named = sent("one", bytes_="5")
    asked = correction({**named, "properties": {"bytes": "5000", "user": "u"}}, kind="amend", at=LATER)
    assert asked.status == "PENDING_APPROVAL"


def test_who_asks_never_decides(acme):
    """The service refuses, and so does the database."""
    names = [sent(f"e{number}") for number in range(11)]
    asked = correction(*names, kind="cancel", at=LATER)
    before = stored_rows()
    decide = {"correction_id": asked.id, "comment": "fine", "actor": ADA, "at": LATER}
    with pytest.raises(CorrectionNeedsAnother):
        usage_corrections.correction_approve(**decide)
    with pytest.raises(CorrectionNeedsAnother):
        corrections.correction_reject(**decide)
    assert stored_rows() == before
    with pytest.raises(IntegrityError, match="usage_correction_four_eyes"), transaction.atomic():
        UsageCorrection.objects.filter(id=asked.id).update(
            status="APPROVED", decided_by=asked.requested_by, decided_at=LATER
        )
    with pytest.raises(IntegrityError, match="usage_correction_decision_whole"), transaction.atomic():
        UsageCorrection.objects.filter(id=asked.id).update(status="APPROVED")
    with pytest.raises(IntegrityError, match="usage_correction_asked_fixed"), transaction.atomic():
        UsageCorrection.objects.filter(id=asked.id).update(is_within_bound=True)


def test_a_correction_is_decided_once(acme):
    names = [sent(f"e{number}") for number in range(11)]
    asked = correction(*names, kind="cancel", at=LATER)
    corrections.correction_reject(correction_id=asked.id, comment="no proof", actor=BEN, at=LATER)
    with pytest.raises(CorrectionDecided, match="rejected by ben@"):
        usage_corrections.correction_approve(correction_id=asked.id, comment="yes", actor=BEN, at=LATER)
    withdrawn = correction(*names, kind="cancel", at=LATER)
    corrections.correction_withdraw(correction_id=withdrawn.id, comment="wrong list", actor=ADA, at=LATER)
    with pytest.raises(CorrectionDecided):
        corrections.correction_reject(correction_id=withdrawn.id, comment="no", actor=BEN, at=LATER)
    assert readings(acme)["by_count v1"] == (11, 11)


def test_what_was_corrected_meanwhile_cannot_be_approved(acme):
    names = [sent(f"e{number}") for number in range(11)]
    asked = correction(*names, kind="cancel", at=LATER)
    correction(names[3], kind="cancel", at=LATER)
    before, start = stored_rows(), readings(acme)
    with pytest.raises(CorrectionInvalid) as refused:
        usage_corrections.correction_approve(correction_id=asked.id, comment="seen", actor=BEN, at=LATER)
    assert [(p.pointer, p.code) for p in refused.value.problems] == [("/events/3", "cancelled_already")]
    assert (stored_rows(), readings(acme)) == (before, start)


REFUSED = {
    "unknown": ("cancel", {"source": "test", "id": "nobody"}, "event_unknown"),
    "of no source": ("cancel", {"id": "one"}, "missing_field"),
    "a field too many": ("cancel", {"source": "test", "id": "one", "quantity": "1"}, "unknown_field"),
    "nothing differs": ("amend", {"source": "test", "id": "one"}, "nothing_differs"),
    "an unknown customer": ("amend", {"source": "test", "id": "one", "customer": "nobody"}, "unknown_customer"),
    "no number": ("amend", {"source": "test", "id": "one", "properties": {"bytes": "x"}}, "invalid_quantity"),
    "of the future": (
        "amend",
        {"source": "test", "id": "one", "occurred_at": "2027-01-01T00:00:00Z"},
        "too_far_in_future",
    ),
    "before all billing": ("amend", {"source": "test", "id": "one", "occurred_at": "1999-01-01T00:00:00Z"}, "too_old"),
    "half an event": ("backfill", {"id": "new"}, "missing_field"),
    "an id that is taken": (
        "backfill",
        {"id": "one", "source": "test", "type": "api.call", "customer": "acme", "occurred_at": "2026-01-10T12:30:00Z"},
        "missing_property",
    ),
    "no kind": ("erase", {"source": "test", "id": "one"}, "kind_unknown"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_a_refusal_leaves_nothing_behind(acme, why):
    kind, event, code = REFUSED[why]
    sent("one")
    before, start = stored_rows(), readings(acme)
    with pytest.raises(CorrectionInvalid) as refused:
        correction(event, kind=kind, at=LATER)
    assert codes(refused) == [code]
    assert len(refused.value.problems[0].detail) > 20, "the remedy is named"
    assert (stored_rows(), readings(acme)) == (before, start)


def test_one_bad_event_refuses_the_whole_correction(acme):
    named = sent("one")
    before = stored_rows()
    with pytest.raises(CorrectionInvalid) as refused:
        correction(named, {"source": "test", "id": "nobody"}, named, kind="cancel", at=LATER)
    assert codes(refused) == ["named_twice"]
    with pytest.raises(CorrectionInvalid) as refused:
        correction(named, {"source": "test", "id": "nobody"}, kind="cancel", at=LATER)
    assert refused.value.problems[0].pointer == "/events/1"
    assert stored_rows() == before


@pytest.mark.parametrize(
    ("terms", "code"),
    [({"reason_code": "because"}, "reason_unknown"), ({"comment": "  "}, "comment_required")],
)
def test_a_reason_is_a_must(acme, terms, code):
    named = sent("one")
    with pytest.raises(CorrectionInvalid) as refused:
        correction(named, kind="cancel", at=LATER, **terms)
    assert codes(refused) == [code]
    assert UsageCorrection.objects.count() == 0


def test_the_bound_is_the_tenants_and_nobody_widens_it_for_themselves(acme):
    names = [sent(f"e{number}") for number in range(11)]
    corrections.correction_bound_set(events_max=20, units_max=Decimal(1000), comment="a bug", actor=ADA, at=AT)
    assert correction(*names[:1], kind="cancel", at=LATER).status == "PENDING_APPROVAL"
    assert correction(*names, kind="cancel", at=LATER, actor=BEN).status == "APPLIED"
    corrections.correction_bound_set(events_max=0, units_max=Decimal(0), comment="four eyes", actor=ADA, at=LATER)
    new = metering.event(id="new", properties={"bytes": "1", "user": "u"})
    assert correction(new, kind="backfill", at=LATER, actor=BEN).status == "PENDING_APPROVAL"
    with pytest.raises(CorrectionInvalid):
        corrections.correction_bound_set(events_max=-1, units_max=Decimal(-1), comment="", actor=ADA, at=LATER)
    assert CorrectionBound.objects.count() == 2


def test_an_event_with_a_number_in_it_comes_back_as_it_was(acme):
    """A number with a point is never a float on its way through a correction."""
    event = metering.event(id="exact", properties={"bytes": "1", "user": "u", "ratio": 12345678901234567890})
    metering.send(event, at=AT)
    done = correction({"source": "test", "id": "exact"}, kind="cancel", at=LATER)
    back = counter(done, at=LATER)
    [row] = back.events.all()
    first, again = (UsageEvent.objects.get(event_id=name) for name in ("exact", row.after_event_id))
    assert again.properties == first.properties == {"bytes": "1", "user": "u", "ratio": 12345678901234567890}
