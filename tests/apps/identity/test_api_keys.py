"""Service keys: shown once, kept as a keyed hash, refused without saying why."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from apps.common.actors import OPERATOR
from apps.identity import actors, services
from apps.identity.errors import ApiKeyInvalid, ApiKeyRefused, ApiKeyUnknown
from apps.identity.models import ApiKey, Scope
from apps.tenancy.context import tenant_context
from tests.builders import identity

pytestmark = pytest.mark.django_db
ISSUED = datetime(2026, 1, 1, tzinfo=UTC)


def _refusal(presented: str, at: datetime) -> str:
    with pytest.raises(ApiKeyRefused) as refused:
        services.api_key_authenticate(presented=presented, at=at)
    return refused.value.detail


def test_a_key_opens_and_its_secret_is_not_kept(tenant, at):
    """Neither the text nor the secret stands in any column."""
    key, text = identity.api_key(Scope.EVENTS_WRITE)
    assert text.startswith(f"chk_live_{key.prefix}_")
    assert services.api_key_authenticate(presented=text, at=at).id == key.id
    secret = text.split("_", 3)[3]
    row = ApiKey.objects.filter(id=key.id).values().get()
    assert secret not in repr(row)
    assert row["scopes"] == ["events:write"]


def test_a_test_key_says_so_and_cannot_pose_as_live(tenant, at):
    """The word in the text is part of what is proved."""
    key, text = identity.api_key(is_live=False)
    assert text.startswith("chk_test_")
    assert services.api_key_authenticate(presented=text, at=at).id == key.id
    _refusal(text.replace("chk_test_", "chk_live_"), at)


def test_every_refusal_reads_the_same(tenant, at):
    """Who tries does not learn which part was wrong."""
    key, text = identity.api_key()
    revoked, revoked_text = identity.api_key()
    services.api_key_revoke(api_key_id=revoked.id, actor=OPERATOR, at=ISSUED)
    _, expired_text = identity.api_key(expires_at=at)
    presented = [
        "",
        "chk",
        "chk_live",
        "Bearer",
        f"chk_live_{key.prefix}",
        f"chk_live_{key.prefix}_",
        text[:-1],
        text + "x",
        text.upper(),
        f"chk_live_{'0' * 10}_{text.split('_', 3)[3]}",
        f"sk_live_{text.split('_', 2)[2]}",
        "chk_live_\u00e9\u00e9_\u20ac",
        revoked_text,
        expired_text,
    ]
    assert len({_refusal(one, at) for one in presented}) == 1


def test_text_that_no_database_takes_is_refused_like_the_rest(tenant, at):
    """A NUL in the prefix would otherwise be an error of ours instead of a refusal."""
    _refusal("chk_live_a\x00b_secret", at)


def test_a_key_expires_at_its_instant(tenant):
    """In force up to the instant, not at it."""
    ends_at = ISSUED + timedelta(days=30)
    key, text = identity.api_key(expires_at=ends_at)
    assert services.api_key_authenticate(presented=text, at=ends_at - timedelta(microseconds=1)).id == key.id
    _refusal(text, ends_at)


def test_revoking_twice_keeps_the_first_moment(tenant, at):
    """The second time changes nothing."""
    key, text = identity.api_key()
    services.api_key_revoke(api_key_id=key.id, actor=OPERATOR, at=ISSUED)
    again = services.api_key_revoke(api_key_id=key.id, actor=OPERATOR, at=at)
    assert again.revoked_at == ISSUED
    _refusal(text, at)
    with pytest.raises(ApiKeyUnknown):
        services.api_key_revoke(api_key_id=uuid4(), actor=OPERATOR, at=at)


def test_use_is_noted_once_a_minute(tenant, at, django_assert_num_queries):
    """A row lock on every request would make one key's requests wait for each other."""
    key, text = identity.api_key()
    services.api_key_authenticate(presented=text, at=at)
    with django_assert_num_queries(1):
        services.api_key_authenticate(presented=text, at=at + timedelta(seconds=59))
    key.refresh_from_db()
    assert key.last_used_at == at
    services.api_key_authenticate(presented=text, at=at + timedelta(seconds=60))
    key.refresh_from_db()
    assert key.last_used_at == at + timedelta(seconds=60)


def test_a_refused_key_is_not_noted_as_used(tenant, at):
    """Last use is the last time it opened something."""
    key, text = identity.api_key()
    services.api_key_revoke(api_key_id=key.id, actor=OPERATOR, at=ISSUED)
    _refusal(text, at)
    key.refresh_from_db()
    assert key.last_used_at is None


def test_a_key_needs_name_scope_and_future(tenant, at):
    """Every problem in one answer; nothing is issued."""
    with pytest.raises(ApiKeyInvalid) as refused:
        services.api_key_issue(name=" ", scopes=["root"], is_live=True, expires_at=at, actor=OPERATOR, at=at)
    assert [problem.pointer for problem in refused.value.problems] == ["/name", "/scopes", "/expires_at"]
    assert "unknown: root" in refused.value.problems[1].detail
    with pytest.raises(ApiKeyInvalid):
        services.api_key_issue(name="ci", scopes=[], is_live=True, expires_at=None, actor=OPERATOR, at=at)
    assert not ApiKey.objects.exists()


def test_another_tenants_key_proves_nothing(tenant, other_tenant, at):
    """Keys live in their tenant's schema, so the right text on the wrong host is an unknown key."""
    _, text = identity.api_key()
    with tenant_context(schema_name=other_tenant):
        foreign, foreign_text = identity.api_key()
        _refusal(text, at)
        assert services.api_key_authenticate(presented=foreign_text, at=at).id == foreign.id
    _refusal(foreign_text, at)


def test_a_key_is_named_in_the_trail_without_its_secret(tenant):
    """The label tells people which key it was."""
    key, text = identity.api_key(name="billing robot")
    actor = actors.actor_of_api_key(key)
    assert (actor.kind, actor.id, actor.label) == ("api_key", key.id, f"billing robot ({key.prefix})")
    assert text.split("_", 3)[3] not in actor.label
