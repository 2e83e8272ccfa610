"""Who may do what: every route times nobody, the wrong scope, a stranger's key, and the right one. Deny by default."""

from datetime import timedelta

import pytest

from apps.api.base import ApiView
from apps.common.actors import OPERATOR
from apps.identity import services as identity_services
from apps.identity.models import ApiKey, Scope
from tests.api import documents
from tests.api.conftest import Api
from tests.api.routes import Route, routes, views

pytestmark = pytest.mark.django_db
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
every_route = pytest.mark.parametrize("route", routes(), ids=str)


def _call(api: Api, route: Route):
    return api.send(route.method, route.path, {} if route.method != "GET" else None, idempotency_key="one")


def _is_problem(response, code: str) -> bool:
    problem = response.json()
    return (
        response["Content-Type"] == "application/problem+json"
        and problem["status"] == response.status_code
        and problem["code"] == code
        and problem["request_id"] == response["Request-Id"]
        and {"type", "title", "detail", "errors"} <= set(problem)
    )


def test_every_route_says_which_scope_it_needs():
    """A path without such a table, or a handler that is not in it, is a hole or dead."""
    for pattern, view in views():
        assert view is not None, f"{pattern} is not a view of the API"
        assert issubclass(view, ApiView), pattern
        handled = {method for method in METHODS if hasattr(view, method.lower())}
        assert handled == set(view.scopes) != set(), pattern
        assert set(view.scopes.values()) <= set(Scope.values), pattern


@every_route
def test_nobody_is_asked_for_a_key(anonymous, route):
    """401 with the scheme, before anything is looked up."""
    response = _call(anonymous, route)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert response["Content-Type"] == "application/problem+json"


@every_route
def test_every_other_scope_is_too_little(api_for, route):
    """S044: 403 that names the scope, even for a key with all the others."""
    others = [scope for scope in Scope.values if scope not in (route.scope, Scope.ADMIN.value)]
    response = _call(api_for(*others), route)
    assert response.status_code == 403
    assert _is_problem(response, "permission_denied")
    assert route.scope in response.json()["detail"]


@every_route
def test_another_tenants_key_is_no_key(neighbour, route):
    """A key that may do everything next door proves nothing here, whatever the scope."""
    assert neighbour.get("customers").status_code == 200
    stranger = Api(host="alpha.localhost", key=neighbour.key)
    assert _call(stranger, route).status_code == 401


@every_route
def test_the_right_scope_opens(api_for, route):
    """Whatever comes of an empty request, it is neither for want of rights nor a failure of ours."""
    response = _call(api_for(route.scope), route)
    assert response.status_code not in (401, 403, 405)
    assert response.status_code < 500
    if response.status_code >= 400:
        assert _is_problem(response, response.json()["code"])


@pytest.mark.parametrize(("pattern", "view"), views(), ids=str)
def test_methods_that_are_not_there_say_so(api, pattern, view):
    """405 with the methods there are, also to who may do everything."""
    route = Route(pattern=pattern, method="GET", view=view)
    for method in set(METHODS) - set(view.scopes):
        response = api.send(method, route.path, {})
        assert response.status_code == 405, method
        assert _is_problem(response, "method_not_allowed")
        assert {name.strip() for name in response["Allow"].split(",")} >= set(view.scopes)


def test_what_a_key_was_given_ends_at_once(api_for, at, clock):
    """Revoked and expired keys open nothing from that instant on, and the reply does not tell them apart."""
    revoked, expiring = api_for(Scope.INVOICES_READ), api_for(Scope.INVOICES_READ)
    assert revoked.get("invoices").status_code == expiring.get("invoices").status_code == 200
    first, second = ApiKey.objects.order_by("id")
    identity_services.api_key_revoke(api_key_id=first.id, actor=OPERATOR, at=at)
    ApiKey.objects.filter(id=second.id).update(expires_at=at + timedelta(seconds=1))
    clock.set(at + timedelta(seconds=1))
    refused = [revoked.get("invoices"), expiring.get("invoices")]
    assert [response.status_code for response in refused] == [401, 401]
    assert len({response.json()["detail"] for response in refused}) == 1


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer chk_live_a_b", "chk"])
def test_headers_that_are_no_key(anonymous, header):
    """Anything but a good key is 401, never a failure."""
    assert anonymous.get("customers", authorization=header).status_code == 401


def test_what_is_not_there_is_a_problem_too(api, anonymous):
    """An unknown path answers in the same form as everything else."""
    for caller in (api, anonymous):
        response = caller.get("nothing/here")
        assert response.status_code == 404
        assert _is_problem(response, "not_found")


def test_the_papers_are_open(anonymous):
    """What the API looks like is no secret."""
    assert anonymous.get("docs/").status_code == 200
    schema = anonymous.get("openapi.json")
    assert (schema.status_code, schema.json()["openapi"][:3]) == (200, "3.1")


def test_a_draft_is_priced_only_for_who_may_read_it(api, api_for):
    """A key that may read usage learns no price before it is on sale; one of the catalogue does."""
    documents.sold(api)
    documents.made(api.post("plans", {**documents.PLAN, "base_fee": {"amount": "77.00", "timing": "arrears"},
                                      "effective_at": "2026-06-01T00:00:00Z"}))  # fmt: skip
    asked = {"plan": "basic", "version": 2, "usage": {}}
    shown = documents.made(api_for("usage:read", "catalog:write").post("pricing/estimate", asked))
    assert shown["total"]["amount"] == "77.00"
    refused = api_for("usage:read").post("pricing/estimate", asked)
    assert (refused.status_code, refused.json()["code"]) == (404, "plan_version_unknown")
    assert documents.made(api_for("usage:read").post("pricing/estimate", {**asked, "version": 1}))
