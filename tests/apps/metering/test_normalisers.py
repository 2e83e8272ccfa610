"""From bodies to events: what is read, what is refused, and that one bad event costs only itself."""

import json
from decimal import Decimal

import pytest

from apps.metering import bodies, normalisers
from apps.metering.errors import BatchInvalid, BatchTooLarge, EventRefused
from apps.metering.models import EventMapping


def _read(document, mapping=None):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return normalisers.event_normalise(raw=raw, mapping=mapping)


def test_our_own_shape_carries_everything_an_event_must_tell():
    """S022, S023: customer, type, time, quantity, metadata, id and source; unknown fields are no obstacle."""
    event = _read(
        {
            "id": "e-1",
            "source": "gateway-1",
            "type": "api.request",
            "customer": "acme-42",
            "subscription": None,
            "occurred_at": "2026-03-31T23:59:59.120Z",
            "quantity": "1.5",
            "properties": {"bytes": "5120", "nested": {"a": [1, True, None]}},
            "sdk": "python-9",
        }
    )
    assert (event.id, event.source, event.type, event.customer) == ("e-1", "gateway-1", "api.request", "acme-42")
    assert (event.subscription, event.occurred_at, event.quantity) == (None, "2026-03-31T23:59:59.120Z", "1.5")
    assert event.properties == {"bytes": "5120", "nested": {"a": [1, True, None]}}


def test_an_idempotency_key_is_the_id_and_a_source_may_stand_in_the_metadata():
    """S023: `idempotency_key` and `source`, which is looked for in the metadata by default."""
    event = _read({"idempotency_key": "k-1", "properties": {"source": "edge"}})
    assert (event.id, event.source) == ("k-1", "edge")
    assert _read({"id": "k-1", "idempotency_key": "k-1"}).id == "k-1"
    with pytest.raises(EventRefused, match="one of them") as caught:
        _read({"id": "a", "idempotency_key": "b"})
    assert caught.value.code == "ambiguous_id"


def test_json_numbers_stay_exact():
    event = _read(b'{"quantity": 0.1, "properties": {"a": 1.10, "b": 5.0, "c": 12345678901234567890, "d": 1e3}}')
    assert event.quantity == Decimal("0.1")
    assert event.properties == {"a": Decimal("1.1"), "b": 5, "c": 12345678901234567890, "d": 1000}
    assert all(not isinstance(value, float) for value in event.properties.values())


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"quantity": 1e400}', "invalid_type"),
        (b'{"properties": {"a": 1e999999999}}', "invalid_type"),
        (b'{"properties": {"a": 1e-400}}', "invalid_type"),
        (b'{"properties": {"a": ' + b"9" * 10_000 + b"}}", "invalid_type"),
        (b'{"properties": {"a": 0.' + b"3" * 100 + b"}}", "invalid_type"),
        (b'{"id": 5}', "invalid_type"),
        (b'{"properties": []}', "invalid_type"),
        (b"[]", "invalid_type"),
        (b'"text"', "invalid_type"),
        (b"null", "invalid_type"),
        (b'{"id": "\\ud800"}', "invalid_text"),
        (b'{"id": "\xff"}', "invalid_text"),
        (b'{"properties": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "too_deep"),
        (b'{"properties": ' + b'{"a":' * 9_000 + b"1" + b"}" * 9_001, "too_deep"),
        (b'{"properties": {"a": "' + b"x" * 70_000 + b'"}}', "too_large"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_code(raw, code):
    with pytest.raises(EventRefused) as caught:
        _read(raw)
    assert caught.value.code == code
    assert len(caught.value.detail) < 400


def test_many_brackets_on_one_level_are_not_deep():
    assert _read({"properties": {"list": [[n] for n in range(100)]}}).properties["list"][99] == [99]


def test_a_cloud_event_is_read_by_its_own_names():
    """S024: a normaliser per shape; CloudEvents 1.0 names the customer in `subject` and measures in `data`."""
    event = _read(
        {
            "specversion": "1.0",
            "id": "A234",
            "source": "/gateway/1",
            "type": "com.example.request",
            "subject": "acme",
            "time": "2026-01-10T12:00:00Z",
            "datacontenttype": "application/json",
            "data": {"bytes": 5.5},
        }
    )
    assert (event.id, event.source, event.type) == ("A234", "/gateway/1", "com.example.request")
    assert (event.customer, event.occurred_at) == ("acme", "2026-01-10T12:00:00Z")
    assert event.properties == {"bytes": Decimal("5.5")}


@pytest.mark.parametrize(
    "wrong", [{"specversion": "0.3"}, {"data_base64": "AAAA"}, {"data": "text"}, {"data": [1]}, {"specversion": 1}]
)
def test_a_cloud_event_that_cannot_be_metered_is_refused(wrong):
    with pytest.raises(EventRefused) as caught:
        _read({"specversion": "1.0", "id": "1", **wrong})
    assert caught.value.code == "invalid_type"


def test_a_mapping_reads_a_sources_own_shape_and_leaves_its_version():
    """S024: a versioned mapping per source; the version that read an event is kept on it."""
    mapping = EventMapping(
        source="edge",
        version=3,
        fields={
            "id": "request.id",
            "type": "=http.request",
            "customer": "account",
            "occurred_at": "request.at",
            "quantity": "size",
            "properties": "request.labels",
            "properties.region": "pop.region",
            "properties.missing": "nowhere.to.be.found",
        },
    )
    document = {
        "request": {"id": 77, "at": "2026-01-10T12:00:00Z", "labels": {"area": "x", "region": "label"}},
        "account": "acme",
        "size": 12,
        "pop": {"region": "eu"},
    }
    event = _read(document, mapping)
    assert (event.source, event.id, event.type, event.customer) == ("edge", "77", "http.request", "acme")
    assert event.quantity == 12
    assert event.properties == {"area": "x", "region": "eu"}
    assert _read({}, mapping).id is None
    for wrong in ({"request": {"id": True}}, {"request": {"id": {"a": 1}}}, {"request": {"labels": "text"}}):
        with pytest.raises(EventRefused) as caught:
            _read(wrong, mapping)
        assert caught.value.code == "invalid_type"


def test_a_body_is_split_into_the_texts_of_its_events():
    body = b' {"events": [ {"id":"1"} , {"id": "2", "p": "]},{"} ] }'
    assert bodies.batch_split(body) == [b'{"id":"1"}', b'{"id": "2", "p": "]},{"}']
    assert bodies.batch_split(b' [{"specversion":"1.0"}] ') == [b'{"specversion":"1.0"}']
    assert bodies.batch_split(b'{"events":[]}') == []
    assert bodies.single_split(b' {"id":"1"} ') == [b'{"id":"1"}']


DEEP = b"[" * 20_000 + b"]" * 20_000


@pytest.mark.parametrize(
    "poison", [b'{"id": "\\ud800"}', DEEP, b'{"id": "a", "p": "\\"" , "q": ' + DEEP + b"}", b'{"id": "\xff"}']
)
def test_an_event_the_decoder_cannot_bear_does_not_cost_its_neighbours(poison):
    good = b'{"id": "good", "p": "},{ \\"quoted\\" ["}'
    for body in (
        b'{"events": [' + good + b", " + poison + b" ," + good + b"] }",
        b"[" + good + b"," + poison + b"," + good + b"]",
    ):
        assert bodies.batch_split(body) == [good, poison, good]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"{}",
        b'{"event": []}',
        b'{"events": {}}',
        b'{"events": null}',
        b'{"events": [], "unknown": 1}',
        b'{"events": [{"id": "1"}], "events": [{"id": "2"}]}',
        b'{"events": [{"id": "1"}',
        b'{"events": [{"id": "1"},]}',
        b'{"events": []} trailing',
        b'{"events": [' + DEEP + b"]} trailing",
        b'{"events": [' + DEEP,
        DEEP[:20_000],
        b'{"a": ' + DEEP + b', "events": []}',
        b'\xff\xfe{"events": []}',
        b'"events"',
        b"5",
    ],
)
def test_a_body_that_is_not_json_is_refused_whole(body):
    with pytest.raises(BatchInvalid):
        bodies.batch_split(body)


@pytest.mark.parametrize(
    "poison",
    [b'{"id": NaN}', b'{"id": 01}', b'{"id": "\\ud800", "a": 01}', b'{"id": "\\q\x00"}', b"nonsense", DEEP],
)
def test_an_event_that_is_no_json_but_ends_where_it_ends_costs_only_itself(poison):
    """S037: bare words and what is in strings cannot move an event's end; quotes and brackets can."""
    good = b'{"id": "1"}'
    assert bodies.batch_split(b"[" + good + b", " + poison + b", " + good + b"]") == [good, poison, good]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"id":"1"},{"id":"2"}', b'{"id":"1"}]}', b"{", b'"a"'])
def test_a_single_event_is_one_object(body):
    with pytest.raises(BatchInvalid):
        bodies.single_split(body)


def test_limits_are_named():
    with pytest.raises(BatchTooLarge, match="10000"):
        bodies.batch_split(b'{"events":[' + b",".join([b"{}"] * 10_001) + b"]}")
    with pytest.raises(BatchTooLarge, match="4194304"):
        bodies.batch_split(b'{"events":["' + b"x" * 4_194_304 + b'"]}')
    assert len(bodies.batch_split(b'{"events":[' + b",".join([b"{}"] * 10_000) + b"]}")) == 10_000
