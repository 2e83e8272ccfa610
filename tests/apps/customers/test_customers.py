"""Customers: strict at the door, traceable afterwards."""

from dataclasses import replace

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.common import ids
from apps.common.actors import OPERATOR
from apps.common.db import NoTenant
from apps.customers import profile_checks, selectors, services
from apps.customers.errors import CustomerExists, CustomerInvalid, CustomerUnknown
from apps.customers.models import Customer
from apps.engine import currencies
from apps.messaging.models import DomainEvent
from apps.tenancy import context as tenancy_context
from tests.builders import customers

pytestmark = pytest.mark.django_db


def _counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Customer, AuditEntry, DomainEvent))


def _update(customer, at, **changes) -> Customer:
    return services.customer_update(customer_id=customer.id, changes=changes, actor=OPERATOR, at=at)


def test_a_customer_is_taken_in_with_trail_and_news(tenant, at):
    """What was entered is in the trail; the news names fields and no personal data."""
    customer = customers.customer(external_id="acme-42", name="Acme Ltd", currency="EUR", locale="de-AT", at=at)
    assert (customer.currency, customer.locale, customer.payment_terms_days) == ("EUR", "de_AT", 14)
    entry = AuditEntry.objects.get(entity_id=customer.id)
    assert (entry.action, entry.at, entry.actor_label) == ("create", at, OPERATOR.label)
    assert entry.after["external_id"] == "acme-42"
    event = DomainEvent.objects.get(aggregate_id=customer.id)
    assert (event.topic, event.payload["id"]) == ("customers.customer.created", customer.public_id)
    assert "Acme" not in str(event.payload)


def test_a_customer_is_found_by_either_name(tenant):
    """By our id and by the caller's code, and by nothing else."""
    customer = customers.customer(external_id="acme-42")
    assert selectors.customer_by_reference("acme-42") == customer
    assert selectors.customer_by_reference(customer.public_id) == customer
    other = ids.to_public(prefix="cus", value=ids.new_id())
    for reference in ("acme-43", "ACME-42", "", other, "cus_", "a\x00b", "x" * 5_000):
        with pytest.raises(CustomerUnknown):
            selectors.customer_by_reference(reference)


def test_a_taken_code_is_a_conflict_that_names_who_has_it(tenant, at):
    """The caller learns which customer to use; nothing is stored."""
    first = customers.customer(external_id="acme-42")
    counted = _counts()
    with pytest.raises(CustomerExists) as refused:
        customers.customer(external_id=" acme-42 ", name="Somebody else")
    assert refused.value.facts["customer"] == first.public_id
    assert _counts() == counted


def test_every_wrong_field_is_named_at_once(tenant, at):
    """One answer, every field with its pointer and remedy, and nothing stored."""
    counted = _counts()
    with pytest.raises(CustomerInvalid) as refused:
        services.customer_create(
            data=customers.customer_input(
                external_id=" ",
                name="two\nlines",
                email="nobody",
                currency="usd",
                timezone="Mars/Olympus",
                locale="xx-YY",
                country="EU",
                region="r" * 101,
                payment_terms_days=366,
                is_auto_collected=1,
                test_clock_id=ids.new_id(),
            ),
            actor=OPERATOR,
            at=at,
        )
    found = {problem.pointer: problem.detail for problem in refused.value.problems}
    assert list(found) == [
        "/external_id",
        "/name",
        "/email",
        "/currency",
        "/timezone",
        "/locale",
        "/region",
        "/country",
        "/payment_terms_days",
        "/is_auto_collected",
        "/test_clock",
    ]
    assert "ISO 4217" in found["/currency"]
    assert "Europe/Berlin" in found["/timezone"]
    assert "ISO 3166-1" in found["/country"]
    assert _counts() == counted


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("currency", ""),
        ("currency", None),
        ("currency", "XXX"),
        ("currency", "XTS"),
        ("currency", "XAU"),
        ("currency", "EURO"),
        ("timezone", ""),
        ("timezone", "localtime"),
        ("timezone", "../../etc/passwd"),
        ("timezone", "+01:00"),
        ("locale", ""),
        ("locale", "english"),
        ("locale", "de-DE-x-lvariant-much-too-long"),
        ("country", "de"),
        ("country", "DEU"),
        ("country", "ZZ"),
        ("country", None),
        ("email", "a@b@c"),
        ("email", "a b@example.com"),
        ("email", "a@example.com\n"),
        ("name", ""),
        ("name", "\ud800"),
        ("name", "a\x00b"),
        ("name", "a\u2028b"),
        ("name", 5),
        ("name", "x" * 201),
        ("external_id", "x" * 121),
        ("external_id", "cus_01h455vb4pex5vsknk084sn02q"),
        ("external_id", " sub_01h455vb4pex5vsknk084sn02q "),
        ("payment_terms_days", -1),
        ("payment_terms_days", True),
        ("payment_terms_days", 1.5),
        ("payment_terms_days", "14"),
        ("is_auto_collected", None),
    ],
)
def test_values_that_would_fail_later_fail_now(tenant, at, field, value):
    """S251: the currency is always required; and so on for all that invoices, taxes and mails rely on."""
    with pytest.raises(CustomerInvalid) as refused:
        services.customer_create(data=replace(customers.customer_input(), **{field: value}), actor=OPERATOR, at=at)
    assert [problem.pointer for problem in refused.value.problems] == [f"/{field}"]
    assert not Customer.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("locale", "de-AT", "de_AT"),
        ("locale", "zh-Hans-CN", "zh_Hans_CN"),
        ("locale", "en", "en"),
        ("country", "", ""),
        ("country", "XK", "XK"),
        ("name", "  Ünïcode & Söhne \U0001f60a ", "Ünïcode & Söhne \U0001f60a"),
        ("email", "", ""),
        ("timezone", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("payment_terms_days", 0, 0),
        ("currency", "KWD", "KWD"),
    ],
)
def test_what_is_accepted_is_stored_in_one_spelling(tenant, field, value, stored):
    """Formatting and tax decisions read one form."""
    assert getattr(customers.customer(**{field: value}), field) == stored


def test_the_lists_behind_the_checks_are_whole():
    """Countries are those of ISO 3166-1 with Kosovo; every currency that the engine knows can be billed in."""
    countries = profile_checks._countries()
    assert len(countries) == 250
    assert {"DE", "US", "XK", "GB"} <= countries
    assert not {"EU", "UN", "ZZ", "UK"} & countries
    assert all(profile_checks.CHECKS["currency"](code) == code for code in currencies.EXPONENTS)


def test_a_profile_changes_with_before_and_after(tenant, at):
    """Only what differs is written and recorded."""
    customer = customers.customer(email="old@example.com", name="Acme")
    changed = _update(customer, at, email="new@example.com", name="Acme")
    assert changed.email == "new@example.com"
    entry = AuditEntry.objects.get(entity_id=customer.id, action="update")
    assert (entry.before, entry.after) == ({"email": "old@example.com"}, {"email": "new@example.com"})
    event = DomainEvent.objects.get(aggregate_id=customer.id, topic="customers.customer.updated")
    assert event.payload["fields"] == ["email"]


def test_a_change_that_changes_nothing_leaves_no_trace(tenant, at):
    """Sending a whole profile back is no change: fixed fields with their present values included."""
    customer = customers.customer()
    counted = _counts()
    _update(customer, at, name=customer.name, currency=customer.currency, external_id=customer.external_id)
    _update(customer, at)
    assert _counts() == counted


@pytest.mark.parametrize(("field", "value"), [("currency", "EUR"), ("external_id", "other"), ("test_clock_id", "x")])
def test_what_documents_were_written_with_cannot_change(tenant, at, field, value):
    """Currency, clock and code: the remedy is a new customer."""
    customer = customers.customer()
    counted = _counts()
    with pytest.raises(CustomerInvalid) as refused:
        _update(customer, at, **{field: value, "name": "New name"})
    assert [(problem.pointer, problem.code) for problem in refused.value.problems] == [(f"/{field}", "fixed")]
    assert "create a new customer" in refused.value.problems[0].detail
    assert _counts() == counted
    customer.refresh_from_db()
    assert customer.name != "New name"


def test_unknown_fields_and_wrong_values_come_together(tenant, at):
    """A misspelt field that was ignored would be a change that never happened."""
    customer = customers.customer()
    with pytest.raises(CustomerInvalid) as refused:
        _update(customer, at, emial="new@example.com", country="Germany", id="x")
    assert [problem.pointer for problem in refused.value.problems] == ["/emial", "/id", "/country"]


def test_an_unknown_customer_cannot_be_changed(tenant, at):
    """The refusal is the noun's own."""
    with pytest.raises(CustomerUnknown):
        services.customer_update(customer_id=ids.new_id(), changes={"name": "x"}, actor=OPERATOR, at=at)


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"external_id": ""}, "customer_external_id_given"),
        ({"currency": "usd"}, "customer_currency_is_code"),
        ({"country": "de"}, "customer_country_is_code"),
        ({"payment_terms_days": 400}, "customer_terms_bounded"),
    ],
)
def test_the_database_checks_again(tenant, fields, constraint):
    """For code that goes past the service."""
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Customer.objects.create(**{"external_id": "acme", "name": "Acme", **fields})


@pytest.mark.parametrize("is_on_clock", [False, True])
def test_the_database_keeps_what_documents_were_written_with(tenant, is_on_clock):
    """Code, currency and clock, past the service too; a clock can neither be put on, changed nor taken off."""
    clock, other = customers.test_clock(), customers.test_clock(name="Other")
    customer = customers.customer(external_id="acme", currency="USD", test_clock=clock if is_on_clock else None)
    row = Customer.objects.filter(id=customer.id)
    for fields in (
        {"external_id": "other"},
        {"currency": "EUR"},
        {"test_clock": other},
        {"test_clock": None if is_on_clock else clock},
        {"name": "New name", "currency": "EUR"},
    ):
        with pytest.raises(IntegrityError, match="customer_fixed"), transaction.atomic():
            row.update(**fields)
    assert row.update(name="New name", external_id="acme", currency="USD", test_clock=customer.test_clock) == 1


def test_a_customer_is_kept(tenant):
    """Documents name customers for ever."""
    customer = customers.customer()
    with pytest.raises(IntegrityError, match="customer_kept"), transaction.atomic():
        Customer.objects.filter(id=customer.id).delete()


def test_two_tenants_do_not_see_each_other_s_customers(tenant, other_tenant, at):
    """Two actors, one code: two customers who never meet, whichever name is used."""
    mine = customers.customer(external_id="acme", name="Mine")
    with tenancy_context.tenant_context(schema_name=other_tenant):
        for reference in ("acme", mine.public_id):
            with pytest.raises(CustomerUnknown):
                selectors.customer_by_reference(reference)
        with pytest.raises(CustomerUnknown):
            _update(mine, at, name="Stolen")
        theirs = customers.customer(external_id="acme", name="Theirs")
        assert selectors.customer_by_reference("acme") == theirs
    assert selectors.customer_by_reference("acme").name == "Mine"
    with tenancy_context.shared_context(), pytest.raises(NoTenant):
        customers.customer()
