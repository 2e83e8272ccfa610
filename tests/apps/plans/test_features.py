"""What a version grants: own row, wildcard, nothing; from memory, but never from a stale one."""

from decimal import Decimal

import pytest
from django.core.cache import cache
from django.db import IntegrityError, transaction

from apps.plans import features, selectors
from apps.plans.models import Feature
from apps.tenancy import context as tenancy_context
from tests.builders import plans

pytestmark = pytest.mark.django_db

METERED = {"limit": "1000", "meter": "calls", "on_exceed": "reject"}
FEATURES = {
    "analytics": True,
    "white_label": False,
    "seats": {"limit": "15"},
    "projects": {"limit": "unlimited"},
    "calls": METERED,
}


def _lookup(version, code):
    return selectors.feature_lookup(plan_version=version, feature_code=code)


def test_each_form_of_a_feature_is_answered(tenant):
    """S259: a limit is a number or is said to be unlimited; silence is neither and grants nothing."""
    version = plans.published_plan(charges=[], features=FEATURES)
    assert _lookup(version, "analytics") == features.FeatureGrant(is_granted=True, matched="analytics")
    assert _lookup(version, "white_label") == features.FeatureGrant(is_granted=False, matched="white_label")
    assert _lookup(version, "seats").limit_units == Decimal(15)
    projects = _lookup(version, "projects")
    assert (projects.is_granted, projects.is_unlimited, projects.limit_units) == (True, True, None)
    calls = _lookup(version, "calls")
    assert (calls.limit_units, calls.meter_code, calls.on_exceed) == (Decimal(1000), "calls", "reject")
    assert _lookup(version, "unheard") == features.NOT_GRANTED


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"limit_units": None, "is_unlimited": False}, "feature_metered_has_limit"),
        ({"limit_units": 5, "is_unlimited": True}, "feature_limit_is_explicit"),
        ({"limit_units": 5, "on_exceed": "explode"}, "feature_on_exceed_known"),
    ],
)
def test_the_database_refuses_a_silent_limit(tenant, fields, constraint):
    """S259: for code that goes past the documents too."""
    version = plans.drafted_plan(charges=[], features={"calls": METERED})
    meter = Feature.objects.get(code="calls").meter
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Feature.objects.create(plan_version=version, code="x", is_granted=True, meter=meter, **fields)


def test_the_wildcard_answers_for_what_is_not_named(tenant):
    """S093 S253: `*` grants all features not named; a feature's own row goes before it, a refusal too."""
    version = plans.published_plan(charges=[], features={**FEATURES, "*": True})
    assert _lookup(version, "unheard") == features.FeatureGrant(is_granted=True, matched="*")
    assert not _lookup(version, "white_label").is_granted
    assert _lookup(version, "seats").limit_units == Decimal(15)
    assert _lookup(version, "*") == features.NOT_GRANTED
    none = plans.published_plan(code="closed", charges=[], features={"*": False, "seats": {"limit": "1"}})
    assert not _lookup(none, "unheard").is_granted
    limited = plans.published_plan(code="three", charges=[], features={"*": {"limit": "3"}})
    assert _lookup(limited, "unheard").limit_units == Decimal(3)


def test_answers_come_from_memory(tenant, django_assert_num_queries):
    """S253: the second question of a version asks nobody."""
    version = plans.published_plan(charges=[], features=FEATURES)
    with django_assert_num_queries(1):
        _lookup(version, "seats")
        _lookup(version, "unheard")


def test_memory_ends(tenant, monkeypatch):
    """S253: the cache expires: what it holds, right or wrong, is asked again after five minutes."""
    version = plans.published_plan(charges=[], features=FEATURES)
    kept = {}
    monkeypatch.setattr(cache, "set", lambda key, value, timeout: kept.update({key: timeout}))
    _lookup(version, "seats")
    assert list(kept.values()) == [features.CACHE_SECONDS] == [300]
    assert str(version.id) in next(iter(kept))


def test_a_stale_entry_is_gone_after_its_time(tenant, monkeypatch):
    """S253: with the time of the cache itself moved on."""
    from django.core.cache.backends import locmem

    version = plans.published_plan(charges=[], features=FEATURES)
    _lookup(version, "seats")
    key = f"plan-features:{version.id}:{version.document_hash}"
    cache.set(key, {"seats": features.FeatureGrant(is_granted=True, limit_units=Decimal(99))}, features.CACHE_SECONDS)
    assert _lookup(version, "seats").limit_units == Decimal(99)
    real = locmem.time.time
    monkeypatch.setattr(locmem.time, "time", lambda: real() + features.CACHE_SECONDS + 1)
    assert _lookup(version, "seats").limit_units == Decimal(15)


def test_a_replaced_draft_is_another_key(tenant):
    """S253: version check: the key holds the version and the hash of its document."""
    before = plans.drafted_plan(charges=[], features={"seats": {"limit": "5"}})
    assert _lookup(before, "seats").limit_units == Decimal(5)
    after = plans.drafted_plan(charges=[], features={"seats": {"limit": "6"}})
    assert before.id == after.id
    assert _lookup(after, "seats").limit_units == Decimal(6)


def test_tenants_do_not_share_memory(tenant, other_tenant):
    """Two tenants, one key text: the answer of one is not in the other's memory."""
    version = plans.published_plan(charges=[], features=FEATURES)
    _lookup(version, "seats")
    key = f"plan-features:{version.id}:{version.document_hash}"
    assert cache.get(key) is not None
    with tenancy_context.tenant_context(schema_name=other_tenant):
        assert cache.get(key) is None
