"""Files of events are read line by line: what is an event, what is refused with its number, and where one goes on."""

import gzip
import hashlib
import io
import json

import pytest

from apps.metering import event_files
from apps.metering.errors import EventFileInvalid
from apps.metering.event_files import EventFile, FilePosition, FileReading, prefix_find

HEADER = "id,source,type,customer,occurred_at,quantity,properties.region\n"
ROW = "{n},till,sale,acme,2026-01-10T12:00:00Z,1.5,eu\n"


def opened(content: bytes | str, *, name: str = "events.jsonl", **reading) -> EventFile:
    data = content.encode() if isinstance(content, str) else content
    return EventFile(stream=io.BytesIO(data), reading=FileReading(name=name, **reading))


def table(content: bytes | str, **reading) -> EventFile:
    return opened(content, name="events.csv", **reading)


def read(file: EventFile) -> list[tuple[int, bytes | str]]:
    """Return (line, text) of each event, or (line, code) of what is none."""
    return [
        (event.line, event.refusal.code if event.refusal else event.raw)
        for batch in file.batches()
        for event in batch.events
    ]


def rows(file: EventFile) -> list[tuple[int, object]]:
    """Return (line, document or code) of each row."""
    return [(line, json.loads(raw) if isinstance(raw, bytes) else raw) for line, raw in read(file)]


@pytest.mark.parametrize(
    "content",
    [
        b'{"id":"1"}\n{"id":"2"}\n',
        b'{"id":"1"}\r\n{"id":"2"}\r\n',
        b'\xef\xbb\xbf{"id":"1"}\n{"id":"2"}',
        b'  {"id":"1"}\t\n{"id":"2"}\n',
        gzip.compress(b'{"id":"1"}\n{"id":"2"}\n'),
    ],
    ids=["plain", "CRLF", "byte order mark and no last line end", "space around", "gzip"],
)
def test_lines_of_json_in_every_form_are_the_same_events(content):
    assert read(opened(content)) == [(1, b'{"id":"1"}'), (2, b'{"id":"2"}')]


def test_empty_lines_are_no_events_and_keep_the_numbers():
    assert read(opened(b'\n\n{"id":"1"}\n  \r\n{"id":"2"}\n\n')) == [(3, b'{"id":"1"}'), (5, b'{"id":"2"}')]


def test_an_empty_file_has_nothing():
    assert opened(b"").is_empty
    assert read(opened(b"")) == []
    assert table("").is_empty


def test_a_bad_line_costs_only_itself():
    """Lines are handed on as they are: the intake judges them, as it judges what comes over HTTP."""
    bad = [b"{", b"[1]", b"NaN", b'{"id":"\x00"}', b"\xff\xfe\xff", b'{"id":"3"}']
    assert read(opened(b'{"id":"1"}\n' + b"\n".join(bad))) == [
        (1, b'{"id":"1"}'),
        *((number, text) for number, text in enumerate(bad, start=2)),
    ]


def test_a_line_of_megabytes_is_read_over_and_refused_with_its_beginning():
    monster = b'{"id":"' + b"x" * (5 * event_files.LINE_BYTES_MAX) + b'"}\n'
    file = opened(b'{"id":"1"}\n' + monster + b'{"id":"2"}\n')
    (first, refused, last) = [event for batch in file.batches() for event in batch.events]
    assert (first.raw, last.raw, last.line) == (b'{"id":"1"}', b'{"id":"2"}', 3)
    assert (refused.refusal.code, refused.line) == ("too_large", 2)
    assert f"{len(monster)} bytes" in refused.refusal.detail
    assert monster.startswith(refused.raw)
    assert len(refused.raw) < 2_000


def test_a_line_of_one_megabyte_is_whole_and_the_intakes_business():
    line = b'{"id":"' + b"x" * (1024 * 1024 - 20) + b'"}'
    assert read(opened(line + b"\n")) == [(1, line)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"id":"1"}\n'.encode("utf-16"), "is UTF-16"),
        (b"\x00\x01\x02binary\n", "is not text"),
        (b"PK\x03\x04zipped", "packed with zip"),
        (b"\xfd7zXZ\x00more", "packed with xz"),
        (b'[{"id":"1"},\n{"id":"2"}]', "jq -c '.[]'"),
    ],
)
def test_what_is_no_file_of_lines_is_refused_whole_with_the_way_out(content, words):
    with pytest.raises(EventFileInvalid) as refused:
        opened(content)
    assert words in refused.value.detail


def test_encodings_are_known_and_plain_or_refused():
    with pytest.raises(EventFileInvalid, match="unknown; for instance utf-8"):
        opened(b"{}", encoding="utf-ate")
    with pytest.raises(EventFileInvalid, match="iconv -f utf-16 -t UTF-8"):
        opened(b"{}", encoding="utf-16")
    assert rows(opened('{"id":"Größe"}\n'.encode("cp1252"), encoding="cp1252")) == [(1, {"id": "Größe"})]
    with pytest.raises(EventFileInvalid, match="unknown"):
        opened(b"{}", encoding="base64")


def test_a_gzip_that_is_cut_off_gives_what_is_whole_and_says_where_it_ends():
    whole = b"".join(b'{"id":"%d"}\n' % number for number in range(20_000))
    file = opened(gzip.compress(whole)[:-200])
    batches = file.batches()
    assert len(next(batches).events) == 10_000
    with pytest.raises(EventFileInvalid, match="behind line 1[0-9]{4}"):
        list(batches)


def test_batches_hold_ten_thousand_events_or_four_megabytes():
    file = opened(b'{"id":"1"}\n' * 10_001)
    assert [(len(batch.events), batch.is_last) for batch in file.batches()] == [(10_000, False), (1, True)]
    file = opened((b'{"id":"' + b"x" * 60_000 + b'"}\n') * 100)
    sizes = [sum(len(event.raw) for event in batch.events) for batch in file.batches()]
    assert len(sizes) == 2
    assert max(sizes) <= 4 * 1024 * 1024


def test_rows_become_events_and_empty_cells_are_not_sent():
    file = table(HEADER + ROW.format(n=1) + "2,till,sale,acme,2026-01-10T12:00:00Z,,\n")
    event = {"source": "till", "type": "sale", "customer": "acme", "occurred_at": "2026-01-10T12:00:00Z"}
    assert rows(file) == [
        (2, {"id": "1", **event, "quantity": "1.5", "properties": {"region": "eu"}}),
        (3, {"id": "2", **event}),
    ]


def test_columns_are_chosen_doubled_and_fixed():
    file = table(
        "no;when;who;note\r\n7;2026-01-10T12:00:00Z;acme;hello\r\n",
        delimiter=";",
        columns={
            "id": "no",
            "properties.number": "no",
            "occurred_at": "when",
            "customer": "who",
            "type": "=sale",
            "source": "=till 3",
            "properties.channel": "=shop",
        },
    )
    assert file.table.unread == ["note"]
    assert rows(file) == [
        (
            2,
            {
                "id": "7",
                "type": "sale",
                "source": "till 3",
                "customer": "acme",
                "occurred_at": "2026-01-10T12:00:00Z",
                "properties": {"number": "7", "channel": "shop"},
            },
        )
    ]


def test_a_mapping_gets_the_row_as_it_is():
    file = table("Konto,Menge\nacme,3\n", has_mapping=True)
    assert rows(file) == [(2, {"Konto": "acme", "Menge": "3"})]


def test_the_header_again_is_no_event_and_quotes_go_over_lines():
    quoted = '"a ""b""",till,sale,acme,2026-01-10T12:00:00Z,1,"two\nlines"\n'
    file = table("\ufeff" + HEADER + ROW.format(n=1) + HEADER + quoted + ROW.format(n=2))
    assert [(line, event["id"]) for line, event in rows(file)] == [(2, "1"), (4, 'a "b"'), (6, "2")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ('9,till,sale,"acme,2026-01-10T12:00:00Z,1,eu\n', "invalid_row"),
        ("9,till\n", "invalid_row"),
        ("9,till,sale,acme,2026-01-10T12:00:00Z,1,eu,more\n", "invalid_row"),
        ('"9"x,till,sale,acme,2026-01-10T12:00:00Z,1,eu\n', "invalid_row"),
        ("9,till,sale,ac\rme,2026-01-10T12:00:00Z,1,eu\n", "invalid_row"),
        (b"9,till,sale,\xff,2026-01-10T12:00:00Z,1,eu\n", "invalid_text"),
        (f"9,till,sale,acme,2026-01-10T12:00:00Z,1,{'x' * 200_000}\n", "too_large"),
    ],
    ids=["open quote", "too few", "too many", "behind a quote", "bare return", "not UTF-8", "long cell"],
)
def test_a_bad_row_costs_only_itself(bad, code):
    around = [ROW.format(n=number).encode() for number in range(1, 6)]
    bad = bad.encode() if isinstance(bad, str) else bad
    result = rows(table(b"".join([HEADER.encode(), *around[:2], bad, *around[2:]])))
    assert result[2] == (4, code)
    assert [event["id"] for line, event in result if line != 4] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("header", "columns", "words"),
    [
        ("id,id,source\n", {}, "twice: id"),
        ("a,b\n", {}, "No column gives id, source, type, customer, occurred_at"),
        ("a,b\n", {"id": "c"}, "There is no column 'c' for 'id'"),
        ("a;b\n", {}, "give --delimiter"),
        (HEADER, {"colour": "id"}, "no field colour"),
        (HEADER, {"properties.": "id"}, "no field properties."),
        ('"a,b\n', {}, "does not close"),
        ("\n \n", {}, "has no header"),
    ],
)
def test_a_table_that_cannot_give_events_is_refused_with_the_way_out(header, columns, words):
    with pytest.raises(EventFileInvalid) as refused:
        table(header + "1,2\n" if header.strip() else header, columns=columns)
    assert words in refused.value.detail


@pytest.mark.parametrize(("name", "expected"), [("x.csv.gz", "csv"), ("x.NDJSON", "jsonl"), ("x", "csv")])
def test_the_format_is_that_of_the_name_or_of_the_first_bytes(name, expected):
    assert opened(HEADER, name=name).format == expected
    assert opened(HEADER, name=name, format="csv").format == "csv"
    assert opened(b"{}", name="x").format == "jsonl"


CONTENT = b"".join(b'{"id":"%d"}\n' % number for number in range(10))


def _prefix(size: int, content: bytes = CONTENT) -> tuple[int, str]:
    return size, hashlib.sha256(content[:size]).hexdigest()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_longest_prefix_is_found_and_reading_goes_on_behind_it(pack):
    prefixes = [_prefix(11), _prefix(33), (22, "0" * 64), _prefix(33, b"x" * 99), (10**9, "0" * 64)]
    size, digest = prefix_find(stream=io.BytesIO(pack(CONTENT)), prefixes=prefixes)
    assert size == 33
    file = opened(pack(CONTENT))
    file.go_on(at=FilePosition(lines=3, bytes=size, digest=digest))
    (batch,) = file.batches()
    assert [event.line for event in batch.events] == list(range(4, 11))
    assert (batch.after.bytes, batch.after.lines) == (len(CONTENT), 10)
    assert batch.after.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_prefix_that_ends_inside_of_a_line_counts_only_at_the_end_of_the_file():
    cut = CONTENT[:-3]
    assert prefix_find(stream=io.BytesIO(cut), prefixes=[_prefix(len(cut))]) is not None
    assert prefix_find(stream=io.BytesIO(CONTENT), prefixes=[_prefix(len(cut))]) is None
    assert prefix_find(stream=io.BytesIO(b"other"), prefixes=[_prefix(11)]) is None


def test_a_table_goes_on_behind_its_header():
    text = (HEADER + "".join(ROW.format(n=n) for n in range(1, 4))).encode()
    size = text.index(b"3,till")
    found = prefix_find(stream=io.BytesIO(text), prefixes=[_prefix(size, text)])
    file = table(text)
    file.go_on(at=FilePosition(lines=3, bytes=size, digest=found[1]))
    assert [(line, event["id"]) for line, event in rows(file)] == [(4, "3")]
