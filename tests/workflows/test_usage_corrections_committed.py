"""Corrections on real commits: which meters a restated event counts for, who wins a race, and a full batch."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from apps.common.db import fetch_all
from apps.metering import corrected_events, corrections, corrections_sql, event_identity, selectors, unmatched
from apps.metering.correction_documents import EVENTS_MAX, UsageCorrection
from apps.metering.errors import CorrectionConflict, CorrectionInvalid
from apps.metering.models import UsageCancellation
from apps.workflows import usage_corrections
from apps.workflows.usage_corrections import MeterBackfill
from tests.builders import customers, metering
from tests.builders import late_usage as late
from tests.builders.corrections import ADA, BEN, correction, counter
from tests.races import race

pytestmark = pytest.mark.races

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


class World:
    """One customer and one type of event that no other test has."""

    def __init__(self, code: str) -> None:
        self.code, self.type = code, f"{code}.call"
        self.customer = customers.customer(external_id=code)
        self.meter("sum")

    def meter(self, name: str, *, at: datetime = AT) -> None:
        """Define a meter, or a further version of it, that adds up what the events carry."""
        terms = {"aggregation": "sum", "value_property": "bytes", "event_type": self.type, "name": f"At {at}"}
        current = selectors.meters_queryset().filter(code=f"{self.code[:40]}_{name}").count()
        metering.meter(code=f"{self.code[:40]}_{name}", unit_name=f"v{current}", at=at, **terms)

    def send(self, *event_ids: str, at: datetime = AT) -> list[dict[str, str]]:
        """Send one event of 5 for each id, and return how they are named."""
        events = [
            metering.event(id=f"{self.code}-{event_id}", customer=self.code, type=self.type, properties={"bytes": "5"})
            for event_id in event_ids
        ]
        for begin in range(0, len(events), 5_000):
            part = events[begin : begin + 5_000]
            assert metering.send(*part, at=at).accepted == len(part)
        return [{"source": event["source"], "id": event["id"]} for event in events]

    def readings(self) -> dict[str, tuple[int, int]]:
        """Return what each version of each meter comes to in January: units and events."""
        found = {}
        for meter in selectors.meters_queryset().filter(event_type=self.type):
            usage = selectors.usage_quantity(
                meter=meter, customer_id=self.customer.id, subscription_id=None, starts_at=JANUARY, ends_at=FEBRUARY
            )
            found[f"{meter.code.removeprefix(self.code[:40] + '_')} v{meter.version}"] = (
                int(usage.quantity),
                usage.event_count,
            )
        return found

    def differences(self) -> list[object]:
        """Return where rollups are not what the events add up to."""
        return selectors.aggregates_compare(limit=10, customer_id=self.customer.id)


@pytest.fixture
def world(committed_tenant, request) -> World:
    """A customer and a type of this test alone."""
    return World(f"c{abs(hash(request.node.name)) % 10**9}")


def test_a_restated_event_counts_for_the_meters_of_the_first_only(world):
    """A meter version that came after the event is not brought in by mending it, nor by taking that back."""
    [named] = world.send("one")
    world.meter("sum", at=LATER)
    start = world.readings()
    assert start == {"sum v1": (5, 1), "sum v2": (0, 0)}
    done = correction({**named, "properties": {"bytes": "7"}}, kind="amend", at=LATER)
    assert world.readings() == {"sum v1": (7, 1), "sum v2": (0, 0)}
    assert [(entry["version"], entry["units_change"]) for entry in done.effect["meters"]] == [(1, "2")]
    counter(done, at=LATER)
    assert world.readings() == start
    assert world.differences() == []


def test_a_new_meter_is_back_filled_on_purpose(world):
    """A meter counts what was written since it was defined, until a document says otherwise; and back again."""
    world.send("a", "b", "c")
    world.meter("late", at=LATER)
    world.send("new", at=LATER)
    start = world.readings()
    assert start == {"sum v1": (20, 4), "late v1": (5, 1)}
    asked = MeterBackfill(meter=f"{world.code}_late", customer=world.code, starts_at=JANUARY, ends_at=FEBRUARY)
    terms = corrections.CorrectionTerms(kind="backfill", reason_code="meter_later", comment="sold since January")
    done = usage_corrections.meter_backfill_request(asked=asked, terms=terms, actor=ADA, at=LATER)
    assert world.readings() == {"sum v1": (20, 4), "late v1": (20, 4)}, "the other meter counts what it counted"
    changes = {entry["meter"]: entry["units_change"] for entry in done.effect["meters"]}
    assert changes == {f"{world.code}_late": "15", f"{world.code}_sum": "0"}
    assert world.differences() == []
    with pytest.raises(CorrectionInvalid) as refused:
        usage_corrections.meter_backfill_request(asked=asked, terms=terms, actor=ADA, at=LATER)
    assert [problem.code for problem in refused.value.problems] == ["nothing_to_backfill"]
    counter(done, at=LATER)
    assert world.readings() == start
    assert world.differences() == []


def test_of_two_corrections_of_one_event_one_wins(world, committed_tenant):
    """Who comes second is told, and leaves nothing behind."""
    named = world.send("one", "two")

    def ask(*events: dict[str, str]) -> object:
        try:
            return correction(*events, kind="cancel", at=LATER).status
        except (CorrectionConflict, CorrectionInvalid) as refused:
            return refused.problems[0].code

    before = UsageCorrection.objects.count()
    answers = race(committed_tenant, [partial(ask, *named), partial(ask, *reversed(named)), partial(ask, named[0])])
    assert sorted(answers) == ["APPLIED", "cancelled_already", "cancelled_already"]
    assert UsageCorrection.objects.count() == before + 1
    left = 0 if len(UsageCancellation.objects.filter(customer_id=world.customer.id)) == 2 else 1
    assert world.readings() == {"sum v1": (5 * left, left)}
    assert world.differences() == []


def test_of_two_people_who_approve_at_once_one_does(world, committed_tenant):
    named = world.send(*(f"e{number}" for number in range(11)))
    asked = correction(*named, kind="cancel", at=LATER)

    def approve() -> str:
        try:
            return usage_corrections.correction_approve(
                correction_id=asked.id, comment="seen", actor=BEN, at=LATER
            ).status
        except Exception as refused:  # noqa: BLE001  the test looks at it
            return type(refused).__name__

    assert sorted(race(committed_tenant, [approve, approve])) == ["APPLIED", "CorrectionDecided"]
    assert world.readings() == {"sum v1": (0, 0)}


def test_ten_thousand_events_are_one_correction(world):
    named = world.send(*(f"e{number}" for number in range(EVENTS_MAX)))
    asked = correction(*({**name, "properties": {"bytes": "6"}} for name in named), kind="amend", at=LATER)
    assert asked.status == "PENDING_APPROVAL"
    assert world.readings() == {"sum v1": (50_000, 10_000)}
    usage_corrections.correction_approve(correction_id=asked.id, comment="seen", actor=BEN, at=LATER)
    assert world.readings() == {"sum v1": (60_000, 10_000)}
    assert world.differences() == []
    with pytest.raises(CorrectionInvalid) as refused:
        correction(*named, {"source": "test", "id": "one more"}, kind="cancel", at=LATER)
    assert [problem.code for problem in refused.value.problems] == ["size_invalid"]


def test_what_no_meter_counts_is_shown_with_a_sample_until_it_is_back_filled(world):
    """S045: a type that nobody meters is accepted, counted and shown; a meter counts what came before on purpose."""
    click = metering.event(id=f"{world.code}-click", customer=world.code, type=f"{world.code}.click")
    assert metering.send(click, at=AT).accepted == 1
    late.follow(at=LATER)
    [line] = [line for line in unmatched.unmatched_lines() if line.event_type == click["type"]]
    assert (line.reason, line.event_count, line.sample.event_id) == ("no_meter", 1, click["id"])
    assert "Define a meter" in line.remedy
    assert "backfill" in line.remedy
    metering.meter(code=f"{world.code}_clicks", event_type=click["type"], at=LATER)
    asked = MeterBackfill(meter=f"{world.code}_clicks", customer=world.code, starts_at=JANUARY, ends_at=FEBRUARY)
    terms = corrections.CorrectionTerms(kind="backfill", reason_code="meter_later", comment="billed since January")
    usage_corrections.meter_backfill_request(asked=asked, terms=terms, actor=ADA, at=LATER)
    late.follow(at=LATER)
    [line] = [line for line in unmatched.unmatched_lines() if line.event_type == click["type"]]
    assert (line.event_count, line.sample) == (1, None), "what was not counted stays told, and all of it counts now"


def test_what_a_filter_leaves_out_is_told_apart(world):
    """S045: the meter is there and does not take these properties; the sample is one that it leaves out."""
    type_ = f"{world.code}.build"
    metering.meter(code=f"{world.code}_eu", event_type=type_, filters={"region": "eu"}, at=AT)
    events = [
        metering.event(id=f"{world.code}-{region}", customer=world.code, type=type_, properties={"region": region})
        for region in ("eu", "us")
    ]
    assert metering.send(*events, at=AT).accepted == 2
    late.follow(at=LATER)
    [line] = [line for line in unmatched.unmatched_lines() if line.event_type == type_]
    assert (line.reason, line.event_count, line.sample.event_id) == ("filtered", 1, f"{world.code}-us")


def test_an_event_is_found_by_when_it_was_received_without_reading_all(world):
    """Among a firehose the identity leads to a few blocks: by the instant at which identity and event were written."""
    [named] = world.send("one")
    key = event_identity.event_key(source=named["source"], event_id=named["id"])
    assert corrected_events.stored_events(keys=[key])[key].event_id == named["id"]
    with transaction.atomic():
        fetch_all("SET LOCAL enable_seqscan = off")
        plan = fetch_all("EXPLAIN " + corrections_sql.STORED_EVENTS, {"keys": [key], "received": [AT]})
    assert any("received" in line and "Index" in line for (line,) in plan), plan
