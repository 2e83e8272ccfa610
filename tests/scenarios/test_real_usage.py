"""The main job on real input: shuffled, repeated, concurrent events become one exact, explained invoice a customer.

With `../shared/data/usage_events.jsonl` beside the project it takes all of that; elsewhere a smaller file of our own
stands in.
"""

import json
import random
import subprocess
import sys
from collections import defaultdict
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from tests import live

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "usage_events.jsonl"
OURS = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "sample_usage.jsonl"
BATCH = 500

PLAN = {
    "plan": "edge",
    "name": "Edge",
    "currency": "USD",
    "interval": {"unit": "month", "count": 1},
    "effective_at": "2015-01-01T00:00:00Z",
    "base_fee": {"amount": "0.00", "timing": "arrears"},
    "rounding": "half_up",
    "charges": [
        {
            "code": "requests",
            "meter": "requests",
            "model": "graduated",
            "tiers": [
                {"up_to": "5", "unit_rate": "0.10"},
                {"up_to": "50", "unit_rate": "0.035"},
                {"up_to": None, "unit_rate": "0.0125"},
            ],
        },
        {"code": "traffic", "meter": "traffic_gb", "model": "per_unit", "unit_rate": "0.12"},
    ],
    # 5 x 0.10 + 45 x 0.035 + 10 x 0.0125 = 2.20, and 2 x 0.12
    "examples": [{"usage": {"requests": "60", "traffic_gb": "2"}, "total": "2.44"}],
}


def expected_totals(events: list[dict]) -> dict[str, Decimal]:
    """Compute every customer's bill straight from the file, in a few lines that share nothing with the product."""
    requests, volume = defaultdict(int), defaultdict(int)
    for event in events:
        requests[event["customer"]] += 1
        volume[event["customer"]] += int(event["properties"]["bytes"])
    totals = {}
    for customer, n in requests.items():
        first, second, rest = min(n, 5), min(max(n - 5, 0), 45), max(n - 50, 0)
        graduated = first * Decimal("0.10") + second * Decimal("0.035") + rest * Decimal("0.0125")
        gigabytes = (Decimal(volume[customer]) / 10**9).to_integral_value(ROUND_CEILING)
        cents = Decimal("0.01")
        totals[customer] = graduated.quantize(cents, ROUND_HALF_UP) + (gigabytes * Decimal("0.12")).quantize(
            cents, ROUND_HALF_UP
        )
    return totals


def _senders(port: int, host: str, key: str, files: list[Path]) -> list[dict]:
    """Send files of batches from as many processes at once, and return what each was answered."""
    code = (
        "import json, sys; from pathlib import Path; from tests import live\n"
        "client = live.Client(port=int(sys.argv[1]), host=sys.argv[2], key=sys.argv[3])\n"
        "total = {'accepted': 0, 'duplicates': 0, 'conflicts': 0, 'rejected': 0}\n"
        "for line in Path(sys.argv[4]).read_text().splitlines():\n"
        "    status, answer = client.call('POST', '/api/v1/events/batch', json.loads(line))\n"
        "    assert status in (200, 207), (status, answer)\n"
        "    total = {name: total[name] + answer[name] for name in total}\n"
        "print(json.dumps(total))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(port), host, key, str(file)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
        )
        for file in files
    ]
    answers = []
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        answers.append(json.loads(output))
    return answers


@pytest.fixture(scope="module")
def events() -> list[dict]:
    path = REAL if REAL.exists() else OURS
    if path is OURS:
        print(f"{REAL} is not there; {OURS.name} of this project stands in.")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.races
def test_real_usage_becomes_exact_explained_invoices(events, tenant_of_its_own, tmp_path):
    """S047, S049, S106: the effect is exactly once, whatever is shuffled, repeated and sent at the same time."""
    from django.core.management import call_command
    from django.db import connection

    from apps.audit import services as audit_services
    from apps.invoices.models import InvoiceLine
    from apps.messaging import services as messaging_services
    from apps.workflows import explanations, invariants

    totals = expected_totals(events)
    with live.web_server(database_name=connection.settings_dict["NAME"], workers=2) as port:
        client = live.Client(port=port, host=tenant_of_its_own.host, key=tenant_of_its_own.key)
        _set_up(client, sorted(totals))

        shuffled = list(events)
        random.Random(2015).shuffle(shuffled)
        batches = [{"events": shuffled[i : i + BATCH]} for i in range(0, len(shuffled), BATCH)]
        again = {"events": shuffled[: len(shuffled) // 3]}
        files = []
        for number in range(4):
            # Every process sends its own share, a third of everything once more, and two batches that all send.
            share = [*batches[number::4], again, batches[0], batches[-1]]
            file = tmp_path / f"sender-{number}.jsonl"
            file.write_text("\n".join(json.dumps(batch) for batch in share))
            files.append(file)
        answers = _senders(port, tenant_of_its_own.host, tenant_of_its_own.key, files)
        assert sum(answer["accepted"] for answer in answers) == len(events)
        assert sum(answer["conflicts"] + answer["rejected"] for answer in answers) == 0
        assert sum(answer["duplicates"] for answer in answers) > len(events)

        clock = client.all("/api/v1/test-clocks")[0]
        client.post(f"/api/v1/test-clocks/{clock['id']}/advance", {"to": "2015-06-02T00:00:00Z"}, key="advance-1")

        invoices = client.all("/api/v1/invoices?expand=customer")
        billed = {
            invoice["customer"]["external_id"]: Decimal(invoice["total"]["amount"])
            for invoice in invoices
            if invoice["status"] in ("open", "paid")
        }
        assert len(invoices) == len(totals)
        assert billed == totals

        trial_balance = client.get("/api/v1/ledger/trial-balance")
        assert all(Decimal(total["balance"]["amount"]) == 0 for total in trial_balance["totals"])
        explained = client.get(f"/api/v1/invoices/{invoices[0]['id']}")["lines"][0]
        explanation = client.get(f"/api/v1/invoices/{invoices[0]['id']}/lines/{explained['id']}/explain")
        assert explanation["hashes"]["is_equal"] is True

    unequal = [
        line.public_id
        for line in InvoiceLine.objects.select_related("invoice").order_by("id")
        if not explanations.line_explain(line=line).is_equal
    ]
    assert unequal == []
    while messaging_services.events_seal() or audit_services.entries_seal():
        continue
    call_command("audit_verify", schema=tenant_of_its_own.schema_name)
    from apps.common import clock as common_clock

    assert invariants.invariants_check(at=common_clock.now()) == []


def _set_up(client: live.Client, customers: list[str]) -> None:
    client.post(
        "/api/v1/meters",
        {"code": "requests", "name": "Requests", "event_type": "http.request", "aggregation": "count"},
        key="meter-1",
    )
    client.post(
        "/api/v1/meters",
        {
            "code": "traffic_gb",
            "name": "Gigabytes out",
            "event_type": "http.request",
            "aggregation": "sum",
            "value_property": "bytes",
            "unit_name": "GB",
            "rounding": {"mode": "ceil", "precision": 0, "divide_by": "1000000000"},
        },
        key="meter-2",
    )
    client.post("/api/v1/plans", PLAN, key="plan-1")
    client.post("/api/v1/plans/edge/versions/1/publish", {}, key="publish-1")
    clock = client.post("/api/v1/test-clocks", {"name": "May 2015", "now": "2015-05-01T00:00:00Z"}, key="clock-1")
    for code in customers:
        client.post(
            "/api/v1/customers",
            {"external_id": code, "name": code, "currency": "USD", "test_clock": clock["id"]},
            key=f"customer-{code}",
        )
        client.post(
            "/api/v1/subscriptions",
            {"customer": code, "plan": "edge", "starts_at": "2015-05-01T00:00:00Z", "anchor": {"type": "calendar"}},
            key=f"subscription-{code}",
        )
    client.post(f"/api/v1/test-clocks/{clock['id']}/advance", {"to": "2015-05-19T00:00:00Z"}, key="advance-0")
