"""The same key and body get the same answer, and the effect happens once: also in a race, also after a refusal."""

import uuid

import pytest

from apps.api.models import IdempotencyRecord
from apps.customers.models import Customer
from apps.invoices.models import Invoice
from apps.ledger.models import LedgerTransaction
from apps.messaging.models import DomainEvent
from apps.payments.models import PaymentAttempt
from apps.tenancy import context
from tests.api import documents
from tests.api.conftest import Api
from tests.builders import identity
from tests.races import race

CUSTOMER = documents.CUSTOMER


@pytest.mark.django_db
class TestOneAfterTheOther:
    def test_a_repeat_is_the_first_answer_again(self, api):
        """Byte for byte the same body, marked as replayed; one customer."""
        first, again = (api.post("customers", CUSTOMER, idempotency_key="k") for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"
        assert Customer.objects.count() == 1

    def test_the_order_of_fields_is_no_difference(self, api):
        """The same request written another way is the same request."""
        first = api.post("customers", CUSTOMER, idempotency_key="k")
        again = api.post("customers", dict(reversed(CUSTOMER.items())), idempotency_key="k")
        assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")

    def test_another_request_under_the_key_is_refused(self, api):
        """Another body or another route: 422, and nothing happens."""
        documents.made(api.post("customers", CUSTOMER, idempotency_key="k"))
        for path, body in (
            ("customers", {**CUSTOMER, "external_id": "other"}),
            ("test-clocks", {"now": documents.JANUARY}),
        ):
            refused = api.post(path, body, idempotency_key="k")
            assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        assert Customer.objects.count() == 1

    def test_a_refusal_is_an_answer_too(self, api):
        """A 4xx is replayed even when its reason is gone: who retries learns what came of the request."""
        clash = {**CUSTOMER, "name": "Another"}
        documents.made(api.post("customers", CUSTOMER))
        first = api.post("customers", clash, idempotency_key="k")
        again = api.post("customers", clash, idempotency_key="k")
        assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (409, 409, "true")
        assert again["Content-Type"] == "application/problem+json"
        assert first.json() == again.json()

    def test_a_failure_of_ours_is_not_kept(self, api, monkeypatch):
        """After a 500 the same key does the work."""
        from apps.customers import services

        with monkeypatch.context() as patch:
            patch.setattr(services, "customer_create", lambda **_arguments: 1 // 0)
            assert api.post("customers", CUSTOMER, idempotency_key="k").status_code == 500
        assert not IdempotencyRecord.objects.exists()
        again = api.post("customers", CUSTOMER, idempotency_key="k")
        assert again.status_code == 201
        assert "Idempotent-Replayed" not in again

    def test_keys_belong_to_who_sends_them(self, api, api_for, neighbour):
        """Two services and two tenants may choose the same key and know nothing of each other."""
        documents.made(api.post("customers", CUSTOMER, idempotency_key="k"))
        other = api_for("customers:write").post("customers", {**CUSTOMER, "external_id": "b"}, idempotency_key="k")
        assert (other.status_code, "Idempotent-Replayed" in other) == (201, False)
        next_door = neighbour.post("customers", CUSTOMER, idempotency_key="k")
        assert (next_door.status_code, "Idempotent-Replayed" in next_door) == (201, False)

    def test_a_key_has_a_length(self, api):
        """255 characters are kept whole, one more is refused and not cut."""
        assert api.post("customers", CUSTOMER, idempotency_key="k" * 256).status_code == 422
        assert not Customer.objects.exists()
        assert api.post("customers", CUSTOMER, idempotency_key="k" * 255).status_code == 201

    def test_where_money_moves_a_key_is_a_must(self, api):
        """400 that says so; the draft stays a draft and nobody is charged."""
        documents.sold(api)
        draft = documents.drafted(api, token="tok_approve")
        for path in (f"invoices/{draft['id']}/finalize", f"invoices/{draft['id']}/collect", "billing-runs"):
            refused = api.post(path)
            assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_required"), path
        assert Invoice.objects.get().status == "DRAFT"
        assert not PaymentAttempt.objects.exists()

    def test_finalising_twice_numbers_and_books_once(self, api):
        """S135: the repeat is the first answer, and the books have one transaction."""
        documents.sold(api)
        draft = documents.drafted(api)
        first, again = (api.post(f"invoices/{draft['id']}/finalize", idempotency_key="f") for _ in range(2))
        assert (first.status_code, first.json()) == (200, again.json())
        assert again["Idempotent-Replayed"] == "true"
        assert LedgerTransaction.objects.count() == 1
        other_key = api.post(f"invoices/{draft['id']}/finalize", idempotency_key="g")
        assert other_key.status_code == 409
        assert LedgerTransaction.objects.count() == 1

    def test_collecting_twice_charges_once(self, api):
        """A repeat of the key is a replay; another key finds nothing left to collect."""
        documents.sold(api)
        draft = documents.drafted(api)
        documents.made(api.post("customers/acme/payment-methods", documents.METHOD))
        documents.made(api.post(f"invoices/{draft['id']}/finalize", idempotency_key="f"))
        path = f"invoices/{draft['id']}/collect"
        first, again = (api.post(path, idempotency_key="c") for _ in range(2))
        assert (first.json()["status"], again.json()) == ("succeeded", first.json())
        assert again["Idempotent-Replayed"] == "true"
        other_key = api.post(path, idempotency_key="d")
        assert (other_key.status_code, other_key.json()["code"]) == (409, "nothing_to_collect")
        assert PaymentAttempt.objects.count() == 1


@pytest.mark.races
def test_many_at_once_have_one_effect(committed_tenant):
    """One does the work; the others are told to wait or get its answer; never two customers, never a failure."""
    code = f"race-{uuid.uuid4().hex[:8]}"
    caller = Api(key=identity.api_key()[1], host="gamma.localhost")

    def send():
        return caller.post("customers", {**CUSTOMER, "external_id": code}, idempotency_key=code)

    answers = race(committed_tenant, [send] * 8)
    assert {answer.status_code for answer in answers} <= {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert (answer.json()["code"], answer["Retry-After"]) == ("request_in_progress", "2")
    done = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.json()["id"] for answer in done}) == 1
    assert len([answer for answer in done if "Idempotent-Replayed" not in answer]) == 1
    assert Customer.objects.filter(external_id=code).count() == 1
    afterwards = send()
    assert (afterwards.status_code, afterwards["Idempotent-Replayed"]) == (201, "true")


@pytest.mark.races
def test_the_answer_commits_with_the_effect_or_not_at_all(committed_tenant, monkeypatch):
    """When the answer cannot be stored, neither is what it tells of; the same key then does the work."""
    from apps.api import idempotency

    code = f"torn-{uuid.uuid4().hex[:8]}"
    caller = Api(key=identity.api_key()[1], host="gamma.localhost")
    body = {**CUSTOMER, "external_id": code}
    counted = DomainEvent.objects.count()

    def torn(*_arguments):
        raise RuntimeError("killed between effect and answer")

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "_store", torn)
        assert caller.post("customers", body, idempotency_key=code).status_code == 500
    assert not Customer.objects.filter(external_id=code).exists()
    assert DomainEvent.objects.count() == counted
    assert caller.post("customers", body, idempotency_key=code).status_code == 201


@pytest.mark.races
def test_a_key_is_free_after_every_end(committed_tenant):
    """The lock of a key outlives no request, whatever it ended in."""
    caller = Api(key=identity.api_key()[1], host="gamma.localhost")
    code = f"free-{uuid.uuid4().hex[:8]}"
    for body in ({"x": 1}, {**CUSTOMER, "external_id": code}):
        key = uuid.uuid4().hex
        caller.post("customers", body, idempotency_key=key)
        [held] = race(
            committed_tenant, [lambda key=key, body=body: caller.post("customers", body, idempotency_key=key)]
        )
        assert held["Idempotent-Replayed"] == "true"
    assert context.current_schema() == committed_tenant


@pytest.mark.races
@pytest.mark.parametrize("is_one_key", [True, False], ids=["one key", "a key each"])
def test_collecting_at_once_charges_once(committed_tenant, is_one_key):
    """Six callers collect one invoice: one attempt, paid once; with a key each, the invoice refuses."""
    caller = Api(key=identity.api_key()[1], host="gamma.localhost")
    code = f"pay-{uuid.uuid4().hex[:8]}"
    caller.post("meters", documents.METER)
    caller.post("plans", documents.PLAN)
    caller.post("plans/basic/versions/1/publish")
    draft = documents.drafted(caller, external_id=code)
    documents.made(caller.post(f"customers/{code}/payment-methods", documents.METHOD))
    documents.made(caller.post(f"invoices/{draft['id']}/finalize", idempotency_key=f"{code}-f"))
    path = f"invoices/{draft['id']}/collect"

    def collect(number):
        return caller.post(path, idempotency_key=f"{code}-{0 if is_one_key else number}")

    answers = race(committed_tenant, [lambda number=number: collect(number) for number in range(6)])
    assert {answer.status_code for answer in answers} <= {200, 409}
    paid = [answer for answer in answers if answer.status_code == 200]
    assert {answer.json()["status"] for answer in paid} == {"succeeded"}
    assert len({answer.json()["id"] for answer in paid}) == 1
    invoice = documents.made(caller.get(f"invoices/{draft['id']}"))
    assert (invoice["status"], invoice["paid"], len(invoice["payments"])) == ("paid", invoice["total"], 1)
