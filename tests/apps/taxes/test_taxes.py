"""Taxes: decided with evidence, or not known; never guessed."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.engine.tax import TaxDecision, tax_decision_from_document
from apps.messaging.models import DomainEvent
from apps.taxes import selectors
from apps.taxes.errors import TaxRateExists, TaxRateInvalid, TaxRegimeUnknown
from apps.taxes.models import TaxRate
from apps.tenancy import context as tenancy_context
from tests.builders import taxes

pytestmark = pytest.mark.django_db


def _decide(**overrides) -> TaxDecision | None:
    question = {
        "regime": "STATIC",
        "seller_country": "DE",
        "buyer_country": "DE",
        "buyer_region": "",
        "category": "standard",
        "on_date": date(2026, 1, 15),
    }
    return selectors.tax_decide(**(question | overrides))


def test_a_rate_decides_with_its_evidence(tenant):
    """The decision names the row, so that an auditor finds it years later; it survives being stored as JSON."""
    rate = taxes.tax_rate()
    decision = _decide()
    assert (decision.rate_percent, decision.treatment, decision.jurisdiction) == (Decimal(19), "taxed", "DE")
    assert decision.evidence["rate"] == rate.public_id
    assert decision.evidence["on_date"] == "2026-01-15"
    assert tax_decision_from_document(decision.to_document()) == decision


def test_the_day_decides_which_rate(tenant):
    """A rate is in force from its first day until the day before the next one's."""
    taxes.tax_rate(valid_from_date=date(2007, 1, 1))
    taxes.tax_rate(valid_from_date=date(2020, 7, 1), rate_percent="16")
    taxes.tax_rate(valid_from_date=date(2021, 1, 1))
    days = [date(2020, 6, 30), date(2020, 7, 1), date(2020, 12, 31), date(2021, 1, 1)]
    assert [_decide(on_date=day).rate_percent for day in days] == [19, 16, 16, 19]
    assert _decide(on_date=date(2006, 12, 31)) is None


def test_a_region_s_own_rate_goes_before_the_country_s(tenant):
    """However the region is spelled; another region has the country's rate."""
    taxes.tax_rate(country="US", rate_percent="0", name="Sales tax")
    taxes.tax_rate(country="US", region="New York", rate_percent="8.875", name="Sales tax")
    in_state = _decide(buyer_country="US", buyer_region="new york")
    assert (in_state.rate_percent, in_state.jurisdiction) == (Decimal("8.875"), "US-New York")
    elsewhere = _decide(buyer_country="US", buyer_region="Oregon")
    assert (elsewhere.rate_percent, elsewhere.treatment, elsewhere.jurisdiction) == (0, "zero_rated", "US")
    assert _decide(buyer_country="US").treatment == "zero_rated"


def test_unknown_is_not_zero(tenant):
    """No rate for the country, the category or the day, no country at all: no decision, and that is said."""
    taxes.tax_rate()
    assert _decide(buyer_country="FR") is None
    assert _decide(buyer_country="") is None
    assert _decide(category="books") is None
    assert _decide(category=None).category == "standard"


def test_who_is_not_registered_charges_none_and_says_why(tenant):
    """A decision of its own, with evidence: this is known, and it is zero."""
    decision = _decide(regime="NOT_REGISTERED", seller_country="US", buyer_country="FR")
    assert (decision.treatment, decision.rate_percent, decision.jurisdiction) == ("not_registered", 0, "US")
    assert decision.evidence["regime"] == "NOT_REGISTERED"
    assert tax_decision_from_document(decision.to_document()) == decision


def test_an_unknown_regime_is_an_error_and_not_a_guess(tenant):
    """Neither zero nor unknown."""
    with pytest.raises(TaxRegimeUnknown, match="NOT_REGISTERED or STATIC"):
        _decide(regime="MAGIC")


def test_a_rate_is_added_with_trail_and_news(tenant):
    """Rates decide money: who added which is recorded."""
    rate = taxes.tax_rate(rate_percent="8.8750")
    entry = AuditEntry.objects.get(entity_id=rate.id)
    assert (entry.action, entry.after["rate_percent"]) == ("create", "8.875")
    assert DomainEvent.objects.get(aggregate_id=rate.id).topic == "taxes.tax_rate.added"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("country", "de"),
        ("country", ""),
        ("category", "SaaS!"),
        ("category", ""),
        ("name", " "),
        ("name", "x" * 61),
        ("region", "a\nb"),
        ("rate_percent", 19),
        ("rate_percent", 0.19),
        ("rate_percent", "-1"),
        ("rate_percent", "100.0001"),
        ("rate_percent", "19.12345"),
        ("rate_percent", "19%"),
        ("valid_from_date", "2026-01-01"),
        ("valid_from_date", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_wrong_field_is_named(tenant, field, value):
    """S250: a rate is a decimal string of percent; nothing is stored otherwise."""
    with pytest.raises(TaxRateInvalid) as refused:
        taxes.tax_rate(**{field: value})
    assert [problem.pointer for problem in refused.value.problems] == [f"/{field}"]
    assert not TaxRate.objects.exists()


def test_every_wrong_field_is_named_at_once(tenant):
    """One answer for the whole row."""
    with pytest.raises(TaxRateInvalid) as refused:
        taxes.tax_rate(country="Germany", rate_percent="much", name="")
    assert [problem.pointer for problem in refused.value.problems] == ["/country", "/name", "/rate_percent"]


def test_a_day_has_one_rate(tenant):
    """The same place in another spelling is the same place."""
    first = taxes.tax_rate(country="US", region="New York", rate_percent="8.875")
    with pytest.raises(TaxRateExists) as refused:
        taxes.tax_rate(country="US", region="NEW YORK", rate_percent="9")
    assert refused.value.facts["rate"] == first.public_id
    assert TaxRate.objects.count() == 1


def test_rates_only_grow(tenant):
    """A rate that was charged stays readable; the database refuses to change or drop it."""
    rate = taxes.tax_rate()
    for attack in (TaxRate.objects.filter(id=rate.id).delete, lambda: TaxRate.objects.update(rate_percent=7)):
        with pytest.raises(IntegrityError, match="tax_rate_append_only"), transaction.atomic():
            attack()
    for fields, constraint in (
        ({"rate_percent": 101}, "tax_rate_is_percent"),
        ({"country": "de"}, "tax_rate_country_is_code"),
        ({}, "tax_rate_once_per_day"),
    ):
        row = {"country": "DE", "category": "standard", "name": "VAT", "rate_percent": 19}
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            TaxRate.objects.create(**(row | {"valid_from_date": rate.valid_from_date} | fields))


def test_two_tenants_have_their_own_rates(tenant, other_tenant):
    """What one knows, the other does not."""
    taxes.tax_rate()
    with tenancy_context.tenant_context(schema_name=other_tenant):
        assert _decide() is None
        taxes.tax_rate(rate_percent="7")
        assert _decide().rate_percent == 7
    assert _decide().rate_percent == 19
