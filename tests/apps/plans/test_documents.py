"""Pricing documents: read without guessing, checked as a whole, written in one form."""

import copy
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from apps.engine.charge_models.terms import MODEL_PARAMETERS
from apps.plans import documents
from apps.plans.documents import schema
from apps.plans.errors import PlanDocumentInvalid

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED_SCHEMA = ROOT / "docs" / "schemas" / "pricing-document.json"


@dataclass(frozen=True)
class _Meter:
    """What a document must know of a meter."""

    aggregation: str = "sum"
    group_by: tuple[str, ...] = ("region",)
    is_refusable: bool = True


METERS = {code: _Meter() for code in ("api_calls", "egress", "jobs")}
METERS["logins"] = _Meter(aggregation="count")
METERS["storage"] = _Meter(aggregation="max")


def _growth() -> dict:
    return documents.load_text(text=Path(__file__).with_name("growth.yaml").read_text("utf-8"), format="yaml")


def _problems(document, known_meters=METERS) -> dict[str, str]:
    with pytest.raises(PlanDocumentInvalid) as refused:
        documents.validate(document=document, known_meters=known_meters)
    assert refused.value.code == "plan_document_invalid"
    assert all(problem.code and problem.detail for problem in refused.value.problems)
    return {problem.pointer: problem.detail for problem in refused.value.problems}


def _changed(pointer: str, value) -> dict:
    """Return the growth document with one value changed, or removed when the value is `...`."""
    document = _growth()
    *path, last = [int(part) if part.isdigit() else part for part in pointer.split("/")[1:]]
    target = document
    for part in path:
        target = target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return document


# Reading


def test_yaml_and_json_of_one_plan_are_one_document(growth_text):
    """S087: pricing rules are data outside the code, importable from YAML or JSON."""
    from_yaml = documents.load_text(text=growth_text, format="yaml")
    from_json = documents.load_text(text=json.dumps(from_yaml), format="json")
    read = [documents.validate(document=document, known_meters=METERS) for document in (from_yaml, from_json)]
    assert read[0] == read[1]
    assert read[0].hash == read[1].hash
    assert read[0].effective_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("plan: a\nplan: b\n", 'line 2: the key "plan" stands there twice'),
        ("a: &x 1\nb: *x\n", "anchors and aliases are not read"),
        ("features:\n  *: true\n", "not well-formed YAML"),
        ("a: !!float '1'\n", "the tag tag:yaml.org,2002:float is not read"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not read"),
        ("1: a\n", "a key must be text"),
        ("? [a]\n: b\n", "a key must be text"),
        ("a: " + "[" * 40 + "]" * 40, "nested too deep"),
        ("- a\n", "must be an object"),
        ("", "must be an object"),
        ("a: 1\n---\na: 2\n", "not well-formed YAML"),
        ("a: [\n", "not well-formed YAML"),
        ("a: " + "9" * 5_000, "not well-formed YAML"),
        ("a: x\x00", "not well-formed YAML"),
        ("x" * 1_000_001, "at most 1000000"),
    ],
)
def test_yaml_that_could_mean_two_things_is_refused(text, detail):
    """What an ordinary reader would guess, unfold or build is named instead."""
    with pytest.raises(PlanDocumentInvalid) as refused:
        documents.load_text(text=text, format="yaml")
    assert detail in str(refused.value)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('{"plan": "a", "plan": "b"}', 'the key "plan" stands twice'),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "Infinity is not a number"),
        ("[]", "must be an object"),
        ("{", "not well-formed JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "not well-formed JSON"),
        ('{"a":' * 100_000, "nested too deep"),
    ],
)
def test_json_that_could_mean_two_things_is_refused(text, detail):
    """The second of two equal keys does not silently win."""
    with pytest.raises(PlanDocumentInvalid) as refused:
        documents.load_text(text=text, format="json")
    assert detail in str(refused.value)


def test_a_format_that_is_not_offered_is_named():
    """The remedy names the formats that are."""
    with pytest.raises(PlanDocumentInvalid, match="use yaml or json"):
        documents.load_text(text="{}", format="tiers")


def test_yaml_words_stay_words():
    """A country called NO, a time and a date are text, as they are written."""
    read = documents.load_text(text="a: NO\nb: on\nc: 12:30\nd: 2026-01-01\ne: 010\nf: 1_000\ng: .inf\n", format="yaml")
    assert read == {"a": "NO", "b": "on", "c": "12:30", "d": "2026-01-01", "e": "010", "f": "1_000", "g": ".inf"}
    plain = documents.load_text(text='a: true\nb: ~\nc: 12\nd: -3\ne: "12"\nf: Null\n', format="yaml")
    assert plain == {"a": True, "b": None, "c": 12, "d": -3, "e": "12", "f": None}


@pytest.mark.parametrize("text", ["99.5", "1e2", "1.5E-3", ".5", "-0.1"])
@pytest.mark.parametrize("format_name", ["yaml", "json"])
def test_a_number_with_a_point_never_becomes_a_binary_float(text, format_name):
    """S250: no floating-point money: it arrives exactly and is refused with its place named."""
    if format_name == "json" and text.startswith("."):
        pytest.skip("not a JSON number")
    read = documents.load_text(text=f'{{"base_fee": {{"amount": {text}}}}}', format=format_name)
    assert read["base_fee"]["amount"] == Decimal(text)
    assert "put the number in quotes" in _problems(_changed("/base_fee/amount", Decimal(text)))["/base_fee/amount"]
    assert "put the number in quotes" in _problems(_changed("/base_fee/amount", 99.5))["/base_fee/amount"]


# The schema


def test_the_published_schema_is_the_one_in_use():
    """S089: a JSON Schema is published; regenerate it with `manage.py plans_schema` when this fails."""
    assert PUBLISHED_SCHEMA.read_text(encoding="utf-8") == documents.schema_text()


def test_the_schema_is_a_schema_and_agrees_with_the_reader():
    """S089: whoever validates with the published file alone gets the same answer about shapes."""
    published = json.loads(PUBLISHED_SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(published)
    assert list(Draft202012Validator(published).iter_errors(_growth())) == []
    assert list(Draft202012Validator(published).iter_errors(_changed("/charges/0/unit_rate", 0.09))) != []


def test_the_schema_knows_every_model_of_the_engine():
    """A model the engine learns can be written without touching the schema by hand."""
    definitions = schema.pricing_document_schema()["$defs"]
    assert definitions["charge"]["properties"]["model"]["enum"] == list(MODEL_PARAMETERS)
    assert all(f"charge_{model}" in definitions for model in MODEL_PARAMETERS)


# Every problem at once


def test_every_problem_of_a_document_is_in_one_answer():
    """S089: validation at load time: schema and semantics, each problem with place and remedy."""
    document = documents.load_text(
        format="yaml",
        text="""
        plan: gr owth
        currency: USD
        interval: {unit: months, count: 0}
        effective_at: 2026-02-31T00:00:00Z
        base_fee: {amount: 99.5}
        trial_days: fourteen
        surprise: 1
        charges:
          - {code: a, model: volume}
          - {code: b, model: per_unit, unit_rate: "0.1", tiers: [], meter: unheard}
          - code: b
            model: graduated
            meter: api_calls
            tiers: [{up_to: "5", unit_rate: "1"}, {up_to: "5", unit_rate: "-1"}, {up_to: "9"}]
          - {code: base_fee, model: flat, amount: "1.001", min_amount: "5.00", max_amount: "4.00"}
          - 5
        features:
          seats: {meter: api_calls}
          a b: true
        examples:
          - {usage: {none: "1"}, total: "1.001"}
        """,
    )
    problems = _problems(document)
    assert list(problems) == [
        "/base_fee/amount",
        "/charges/0/meter",
        "/charges/0/tiers",
        "/charges/1/meter",
        "/charges/1/tiers",
        "/charges/2/code",
        "/charges/2/tiers/1/unit_rate",
        "/charges/2/tiers/1/up_to",
        "/charges/2/tiers/2/unit_rate",
        "/charges/2/tiers/2/up_to",
        "/charges/3/amount",
        "/charges/3/code",
        "/charges/3/min_amount",
        "/charges/4",
        "/effective_at",
        "/examples/0/total",
        "/features/a b",
        "/features/seats/limit",
        "/features/seats/on_exceed",
        "/interval/count",
        "/interval/unit",
        "/name",
        "/plan",
        "/surprise",
        "/trial_days",
    ]


@pytest.mark.parametrize(
    ("pointer", "value", "detail"),
    [
        ("/plan", ..., "is required"),
        ("/plan", "a" * 61, "must be a code"),
        ("/plan", "", "must be a code"),
        ("/plan", "pln_01h455vb4pex5vsknk084sn02q", "reads like an id of ours"),
        ("/plan", "cus_01h455vb4pex5vsknk084sn02q", "reads like an id of ours"),
        ("/name", "   ", "must be the plan's name"),
        ("/name", "two\nlines", "control character or a line break"),
        ("/name", "nul\x00", "control character"),
        ("/name", "x" * 121, "up to 120"),
        ("/currency", ..., "is required"),
        ("/currency", "usd", "in capitals"),
        ("/currency", "XTS", "is not a currency of ISO 4217"),
        ("/interval", "month", "must be an object with unit and count"),
        ("/interval/count", True, "must be a whole number"),
        ("/interval/count", 367, "must be a whole number from 1 to 366"),
        ("/interval/count", "1", "without quotes"),
        ("/effective_at", "2026-01-01T00:00:00", "with offset"),
        ("/effective_at", "2026-01-01", "with offset"),
        ("/effective_at", "2026-01-01T25:00:00Z", "not on the calendar"),
        ("/effective_at", "0001-01-01T00:00:00+14:00", "must lie in the years 1970 to 9000"),
        ("/effective_at", "9999-12-31T23:59:59-14:00", "must lie in the years 1970 to 9000"),
        ("/effective_at", "1970-01-01T00:00:00+00:01", "must lie in the years 1970 to 9000"),
        ("/effective_at", "9001-01-01T00:00:00Z", "must lie in the years 1970 to 9000"),
        ("/rounding", "nearest", "half_up, half_even, ceil, floor"),
        ("/base_fee/amount", "99.001", "USD has 2 digits"),
        ("/base_fee/amount", "-1.00", "must be an amount"),
        ("/base_fee/amount", "1e3", "must be an amount"),
        ("/base_fee/amount", "NaN", "must be an amount"),
        ("/base_fee/timing", "later", "must be one of arrears, advance"),
        ("/charges/0/meter", ..., "is required"),
        ("/charges/0/meter", "unheard", "there is no current meter"),
        ("/charges/0/included_units", None, "is required by the model"),
        ("/charges/0/unit_rate", 0, 'must be a decimal string of zero or more such as "0.005", in quotes'),
        ("/charges/1/timing", "later", "must be one of arrears, advance"),
        ("/charges/0/unknown", "1", "is not a known field"),
        ("/charges/0/amount", "1.00", 'left out: it does not belong to the model "overage"'),
        ("/charges/1/tiers", [], "must be a list of 1 to 1000 tiers"),
        ("/charges/1/tiers/0/up_to", None, "only the last tier may be open"),
        ("/charges/1/tiers/1/up_to", "200000", "the last tier must be open"),
        ("/charges/1/tiers/0/up_to", "0", "must be above 0"),
        ("/charges/1/tiers/0/flat_fee", "0.001", "USD has 2 digits"),
        ("/charges/1/max_amount", "5000.005", "USD has 2 digits"),
        ("/charges/1/min_amount", "5000.01", "must not be above max_amount"),
        ("/charges/1/prices_by", {"property": "region", "match": {"eu": {"unit_rate": "1"}}}, None),
        ("/charges/2/code", "egress", "is the code of charge 0 too"),
        ("/charges/2/code", "minimum_commitment", "is taken"),
        ("/charges/2/meter", "api_calls", 'left out: it does not belong to the model "flat"'),
        ("/charges/2/model", ["flat"], "must be one of flat"),
        ("/charges", {}, "must be a list"),
        ("/trial_days", "14", "without quotes"),
        ("/trial_days", 731, "from 0 to 730"),
        ("/proration", "by_hour", "by_second, by_day"),
        ("/minimum_commitment", "500.005", "USD has 2 digits"),
        ("/minimum_commitment", 500, "in quotes, or null"),
        ("/cliff_limit", "0.001", "USD has 2 digits"),
        ("/commitment", {}, None),
        ("/commitment", {"amount": "1.001"}, None),
        ("/commitment", {"amount": "1.00", "discount_percent": "100"}, None),
        ("/commitment", {"amount": "1.00", "overage_factor": 2}, None),
        ("/base_fee/per_quantity", "yes", "true or false"),
        ("/features/api_calls/prorate", "yes", "true or false"),
        ("/commitments", {"amount": "1.00"}, 'write it as "commitment"'),
        ("/coupons", ["SPRING"], "coupons are offered by themselves"),
        ("/tiers", [{"id": "pro"}], "plans_apply --format tiers"),
        ("/features", [], "must be an object from feature code"),
        ("/features/seats", "15", "must be true, false, or an object with a limit"),
        ("/features/seats/limit", "fifteen", 'must be a decimal string such as "15", or "unlimited"'),
        ("/features/seats/limit", "1." + "1" * 13, "12 behind it"),
        ("/features/seats/on_exceed", "reject", "belongs to a metered limit"),
        ("/features/api_calls/on_exceed", "explode", "reject, throttle, notify"),
        ("/features/api_calls/meter", "unheard", "there is no current meter"),
        ("/features/*", {"limit": "5", "meter": "api_calls", "on_exceed": "reject"}, None),
        ("/examples/0/total", 119, "must be an amount"),
        ("/examples/0/usage", {"api_calls": 5}, None),
        ("/examples/0/usage", {"api_calls": "9" * 32}, None),
        ("/examples/0/usage", {"seats": "5"}, None),
    ],
)
def test_a_wrong_value_is_named_with_its_place(pointer, value, detail):
    """S089: one wrong value, one problem, at its own pointer."""
    problems = _problems(_changed(pointer, value))
    assert len(problems) == 1, problems
    place, found = next(iter(problems.items()))
    assert place.startswith(pointer)
    assert detail is None or (place == pointer and detail in found)


@pytest.mark.parametrize("key", ["\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT THREE}", "9" * 5_000])
def test_a_key_of_digits_is_a_key(key):
    """Problems are put in order whatever digits a key is made of."""
    document = _growth() | {key: 1, "surprise": 1}
    document["features"][key] = {"limit": []}
    assert {f"/{key}", f"/features/{key}/limit", "/surprise"} <= set(_problems(document))


@pytest.mark.parametrize("model", ["volume", "overage", "flat", None, ...])
@pytest.mark.parametrize("value", [[], {}, ["api_calls"], {"code": "api_calls"}, 5, True])
@pytest.mark.parametrize("field", ["meter", "tiers", "min_amount", "unit_rate"])
def test_a_field_of_any_kind_is_refused_under_every_model(field, value, model):
    """Under a model that is unknown nobody looked at the fields before, and a list can be in no set."""
    document = _growth()
    charge = {"code": "odd", "model": model, field: value}
    document["charges"].append({key: given for key, given in charge.items() if given is not ...})
    place = f"/charges/{len(document['charges']) - 1}/"
    assert any(pointer.startswith(place) for pointer in _problems(document))
    document["features"]["seats"] = {"limit": "5", "meter": value, "on_exceed": "reject"}
    assert "/features/seats/meter" in _problems(document)


def test_what_the_schema_did_not_come_to_is_not_read():
    """Past the bound of problems the rest was seen by nobody, and may be anything."""
    document = _growth()
    document["charges"] = [{"code": [], "model": "flat", "meter": []} for _ in range(150)]
    document["charges"] += [{"code": "last", "model": "flat", "min_amount": [], "meter": {}, "tiers": [[]]}]
    document["examples"] = [{"usage": [], "total": {}}]
    assert len(_problems(document)) <= 200


def test_the_currency_is_required_where_nothing_costs_anything():
    """S251: a free plan has a currency too."""
    document = {
        "plan": "free",
        "name": "Free",
        "interval": {"unit": "month", "count": 1},
        "effective_at": "2026-01-01T00:00:00Z",
        "base_fee": {"amount": "0"},
    }
    assert list(_problems(document)) == ["/currency"]
    assert documents.validate(document=document | {"currency": "JPY"}).currency == "JPY"


def test_amounts_have_the_digits_of_their_currency():
    """S250: exponents come from ISO 4217: no hundred is multiplied."""
    document = {
        "plan": "p",
        "name": "P",
        "interval": {"unit": "day", "count": 1},
        "effective_at": "2026-01-01T00:00:00Z",
    }
    fee = {"base_fee": {"amount": "1.234"}}
    assert documents.validate(document=document | fee | {"currency": "BHD"}).charges[0].amount == Decimal("1.234")
    assert "/base_fee/amount" in _problems(document | fee | {"currency": "USD"})
    assert "/base_fee/amount" in _problems(document | {"base_fee": {"amount": "1.2"}, "currency": "JPY"})


def test_silence_is_not_a_limit():
    """S259: a metered limit without a number is an error of the document; without limit is said in a word."""
    problems = _problems(_changed("/features/api_calls", {"meter": "api_calls", "on_exceed": "reject"}))
    assert list(problems) == ["/features/api_calls/limit"]
    assert "a missing limit never means that" in problems["/features/api_calls/limit"]
    assert "/features/seats/limit" in _problems(_changed("/features/seats", {}))
    assert "/features/seats/limit" in _problems(_changed("/features/seats", {"limit": None}))
    plan = documents.validate(document=_changed("/features/seats", {"limit": "unlimited"}), known_meters=METERS)
    seats = next(feature for feature in plan.features if feature.code == "seats")
    assert (seats.is_unlimited, seats.limit_units) == (True, None)


@pytest.mark.parametrize("value", [{1, 2}, datetime(2026, 1, 1, tzinfo=UTC), b"x", ("a",)])
def test_values_that_json_cannot_write_are_refused(value):
    """A caller inside the house gets the same strictness as a file."""
    assert "/name" in _problems(_changed("/name", value))


@pytest.mark.parametrize("document", [[], None, "plan", 5])
def test_what_is_no_document_at_all_is_refused(document):
    """A body of JSON may be anything; the answer is the same kind of refusal."""
    assert "must be an object" in _problems(document)[""]


def test_a_flood_of_mistakes_is_answered_shortly():
    """A million wrong values cost neither minutes nor a million lines."""
    document = _growth() | {"charges": [0.5] * 50_000}
    assert len(_problems(document)) <= 201


def test_a_document_nested_without_end_is_refused():
    """The depth of a hostile document is not the depth of our stack."""
    abyss: dict = {}
    for _ in range(5_000):
        abyss = {"features": abyss}
    with pytest.raises(PlanDocumentInvalid, match="nested too deep"):
        documents.validate(document=abyss)


# The canonical form


def test_a_canonical_document_is_a_pricing_document_and_stays_the_same():
    """Writing down what was read, and reading that, comes to the same plan and the same hash."""
    plan = documents.validate(document=_growth(), known_meters=METERS)
    again = documents.validate(document=plan.to_document(), known_meters=METERS)
    assert again == plan
    assert again.hash == plan.hash
    assert json.loads(json.dumps(plan.to_document()), parse_float=Decimal) == plan.to_document()


def test_documents_that_mean_the_same_are_one():
    """Order, spelling of numbers and defaults left out make no difference."""
    other = copy.deepcopy(_growth())
    other["charges"].reverse()
    other["effective_at"] = "2025-12-31t19:00:00-05:00"
    other["base_fee"] = {"amount": "99"}
    other["charges"][-1]["unit_rate"] = "0.0900"
    other["charges"][-1]["min_amount"] = None
    del other["rounding"]
    read = [documents.validate(document=document) for document in (_growth(), other)]
    assert read[0].hash == read[1].hash
    assert documents.differences(before=read[0].to_document(), after=read[1].to_document()) == ()


def test_what_differs_is_told_in_lines():
    """A reader sees each value that changed, charges by their code and not by their place."""
    before = documents.validate(document=_growth()).to_document()
    document = _changed("/charges/1/tiers/0/unit_rate", "0.004")
    del document["features"]["seats"]
    document["charges"].append({"code": "a_new_one", "model": "flat", "amount": "5.00"})
    lines = documents.differences(before=before, after=documents.validate(document=document).to_document())
    assert "~ charges[api_calls].tiers[0].unit_rate: 0.005 -> 0.004" in lines
    assert "- features.seats.limit: 15" in lines
    assert "+ charges[a_new_one].amount: 5" in lines
    assert all("egress" not in line for line in lines)


_amounts = st.integers(0, 10**9).map(lambda minor: f"{minor // 100}.{minor % 100:02d}")
_rates = st.decimals("0", "1000", places=6).map(lambda rate: format(rate, "f"))
_codes = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)


@st.composite
def _plans(draw) -> dict:
    bounds = sorted(draw(st.sets(st.integers(1, 10**6), max_size=4)))
    tiers = [{"up_to": up_to, "unit_rate": draw(_rates)} for up_to in (*map(str, bounds), None)]
    units = st.sampled_from(["day", "week", "month", "year"])
    return {
        "plan": draw(_codes),
        "name": "Some plan",
        "currency": draw(st.sampled_from(["USD", "EUR"])),
        "interval": {
            "unit": draw(units),
            "count": draw(st.integers(1, 366)),
        },
        "effective_at": draw(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1))).isoformat() + "Z",  # noqa: DTZ001
        "rounding": draw(st.sampled_from(["half_up", "half_even", "ceil", "floor"])),
        "base_fee": {"amount": draw(_amounts), "timing": draw(st.sampled_from(["advance", "arrears"]))},
        "charges": [
            {
                "code": "a",
                "meter": "m",
                "model": "graduated",
                "tiers": tiers,
            },
            {"code": "b", "meter": "n", "model": "per_unit", "unit_rate": draw(_rates), "min_amount": draw(_amounts)},
        ],
        "features": draw(st.dictionaries(_codes, st.booleans() | st.fixed_dictionaries({"limit": _rates}), max_size=4)),
    }


@settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=_plans())
def test_any_plan_survives_writing_and_reading(document):
    """The canonical form is a fixed point, through YAML and JSON alike."""
    plan = documents.validate(document=document)
    for text, format_name in ((json.dumps(plan.to_document()), "json"), (yaml.safe_dump(plan.to_document()), "yaml")):
        again = documents.validate(document=documents.load_text(text=text, format=format_name))
        assert again.hash == plan.hash


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_stands_anywhere_is_accepted_or_refused_and_never_breaks(data):
    """Any value in any place ends in a plan or in a list of problems, never in an error of ours."""
    document = _growth()
    target: dict | list = document
    while True:
        key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
        if not isinstance(target[key], dict | list) or not target[key] or data.draw(st.booleans()):
            break
        target = target[key]
    target[key] = data.draw(_json_values)
    try:
        plan = documents.validate(document=document, known_meters=METERS)
    except PlanDocumentInvalid as refused:
        assert refused.problems  # noqa: PT017
    else:
        assert documents.validate(document=plan.to_document()).hash == plan.hash


# What a price needs of its meter, and what stands beside the charges


def _with_charge(**fields) -> dict:
    document = _growth()
    document["charges"].append({"code": "more", **fields})
    return document


_PLACE = "/charges/4"


@pytest.mark.parametrize(
    ("charge", "pointer", "detail"),
    [
        ({"model": "percentage", "meter": "logins", "rate_percent": "1"}, "meter", 'the aggregation "sum"'),
        (
            {"model": "per_unit", "meter": "storage", "unit_rate": "1", "timing": "advance"},
            "timing",
            'the "max" of meter "storage" is known at the end',
        ),
        (
            {"model": "volume", "meter": "jobs", "tiers": [{"up_to": None, "unit_rate": "1"}], "timing": "advance"},
            "timing",
            "can fall with the next event",
        ),
        (
            {
                "model": "per_unit",
                "meter": "jobs",
                "unit_rate": "1",
                "prices_by": {"property": "tier", "match": {"gold": {"unit_rate": "2"}}, "default": {}},
            },
            "prices_by/property",
            '"tier" is not in the group_by of meter "jobs", which has region',
        ),
        (
            {
                "model": "per_unit",
                "meter": "jobs",
                "unit_rate": "1",
                "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "2"}}},
            },
            "prices_by/default",
            "is required",
        ),
        (
            {
                "model": "per_unit",
                "meter": "jobs",
                "unit_rate": "1",
                "prices_by": {
                    "properties": ["region", "tier"],
                    "match": [{"when": {"region": "eu", "tier": "x"}, "price": {"unit_rate": "2"}}],
                    "default": {},
                },
            },
            "prices_by/properties/1",
            "group_by",
        ),
        (
            {"model": "package", "meter": "jobs", "package_size": "0", "package_price": "1"},
            "package_size",
            "above zero",
        ),
        ({"code": "commitment_overage", "model": "flat", "amount": "1.00"}, "code", "a line that a commitment makes"),
    ],
)
def test_a_price_that_its_meter_cannot_feed_is_refused(charge, pointer, detail):
    """S089, S099, S100: each with its place and the remedy."""
    problems = _problems(_with_charge(**charge))
    assert list(problems) == [f"{_PLACE}/{pointer}"]
    assert detail in problems[f"{_PLACE}/{pointer}"]


def test_a_minimum_and_a_commitment_are_one_too_many():
    """S098: a commitment has its own minimum."""
    document = _growth() | {"minimum_commitment": "500.00", "commitment": {"amount": "500.00"}}
    assert "remove one" in _problems(document)["/commitment"]


def test_everything_the_language_offers_survives_writing_and_reading():
    """S087, S096, S098, S099, S100: all models, matrices, commitments and usage by hand; defaults are not written."""
    document = _growth() | {
        "proration": "by_day",
        "trial_days": 14,
        "commitment": {"amount": "500.00", "discount_percent": "10", "overage_factor": "1.5"},
        "cliff_limit": "20.00",
        "base_fee": {"amount": "9.00", "per_quantity": True},
    }
    document["features"]["api_calls"]["prorate"] = True
    document["charges"] += [
        {"code": "a", "model": "volume", "meter": "jobs",
         "tiers": [{"up_to": "5", "unit_rate": "2"}, {"up_to": None, "unit_rate": "1"}]},
        {"code": "b", "model": "package", "meter": "jobs", "package_size": "10", "package_price": "3.5",
         "unit_transform": {"divide_by": "1000", "mode": "ceil", "precision": 0}},
        {"code": "c", "model": "percentage", "meter": "egress", "rate_percent": "2.9", "fixed_fee": "0.30",
         "free_events": "3", "min_per_event": "0.5", "discount_percent": "10"},
        {"code": "d", "model": "graduated_percentage", "meter": "egress",
         "tiers": [{"up_to": None, "rate_percent": "1"}]},
        {"code": "e", "model": "per_unit", "meter": "jobs", "unit_rate": "1",
         "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "2"}}, "default": {}}},
    ]  # fmt: skip
    document["examples"] = [
        {
            "usage": {
                "jobs": {
                    "groups": [{"values": {"region": "eu"}, "units": "7"}, {"values": {"region": None}, "units": "1"}]
                },
                "egress": {"events": ["12.00", "5"]},
            },
            "quantity": "3",
            "total": "0.00",
        }
    ]
    plan = documents.validate(document=document, known_meters=METERS)
    written = plan.to_document()
    again = documents.validate(document=json.loads(json.dumps(written)), known_meters=METERS)
    assert (again, again.hash) == (plan, plan.hash)
    assert written["commitment"] == {"amount": "500.00", "discount_percent": "10", "overage_factor": "1.5"}
    assert (written["trial_days"], written["proration"], written["cliff_limit"]) == (14, "by_day", "20.00")
    plain = documents.validate(document=_growth() | {"trial_days": 0, "proration": "by_second", "commitment": None})
    assert plain.hash == documents.validate(document=_growth()).hash


@pytest.mark.parametrize(
    ("usage", "pointer", "detail"),
    [
        ({"egress": {"events": ["1"], "amount": "1"}}, "egress", "exactly one way"),
        ({"egress": {"units": "1"}}, "egress", "exactly one way"),
        ({"egress": {"events": ["-1"]}}, "egress/events/0", "decimal string"),
        ({"egress": {"groups": [{"values": {}, "units": 1}]}}, "egress/groups/0/units", "decimal string"),
        ({"egress": "5"}, "egress", "is priced event by event"),
        ({"jobs": "5"}, "jobs", "is priced by what the events carry"),
    ],
)
def test_usage_by_hand_that_prices_nothing_is_named(usage, pointer, detail):
    """An example that says too little for its charge is a mistake of the document, not a price of zero."""
    document = _growth()
    document["charges"] = [
        {"code": "fees", "model": "percentage", "meter": "egress", "rate_percent": "2"},
        {"code": "carried", "model": "dynamic", "meter": "jobs", "amount_property": "price"},
    ]
    document["features"] = {}
    document["examples"] = [{"usage": usage, "total": "0.00"}]
    place = f"/examples/0/usage/{pointer}"
    assert detail in _problems(document)[place]
