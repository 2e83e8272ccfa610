"""Signing in by a mailed link: bound to the browser, once, without telling who is a customer."""

import re

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client

from tests.builders import faces
from tests.builders.faces import HOST

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_cache():
    """Counts of tries live in the cache; a test begins with none."""
    cache.clear()


@pytest.fixture
def house(tenant):
    """A customer with a person who may see its pages."""
    house = faces.house()
    faces.portal_user(house.customer)
    mail.outbox.clear()
    return house


@pytest.fixture
def stranger():
    """A browser nobody knows yet."""
    return Client(HTTP_HOST=HOST)


def _ask(client, email="ada@acme.example"):
    return client.post("/portal/sign-in/", {"email": email})


def _link():
    return re.search(r"http://\S+?(/portal/sign-in/link/\S+)", mail.outbox[-1].body)[1]


def test_link_signs_in_after_a_press(house, stranger):
    """A customer signs in by a mailed link and no password exists."""
    assert _ask(stranger)["Location"] == "/portal/sign-in/sent/"
    assert mail.outbox[-1].to == ["ada@acme.example"]
    link = _link()
    assert stranger.get(link).status_code == 200
    assert stranger.get("/portal/")["Location"] == "/portal/sign-in/", "opening alone signs nobody in"
    assert stranger.post(link)["Location"] == "/portal/"
    assert "Acme Ltd" in stranger.get("/portal/").content.decode()


def test_link_works_once(house, stranger):
    _ask(stranger)
    link = _link()
    stranger.post(link)
    stranger.post("/portal/sign-out/")
    again = stranger.post(link)
    assert again.status_code == 400
    assert "does not work" in again.content.decode()


def test_link_works_in_the_browser_that_asked_only(house, stranger):
    _ask(stranger)
    thief = Client(HTTP_HOST=HOST)
    assert thief.post(_link()).status_code == 400
    assert thief.get("/portal/").status_code == 302


def test_link_of_one_tenant_is_nothing_to_another(house, stranger):
    """A link is good on the host of its own tenant only."""
    _ask(stranger)
    link = _link()
    stranger.defaults["HTTP_HOST"] = "beta.localhost"
    assert stranger.post(link).status_code == 400


def test_unknown_address_gets_the_same_answer_and_no_mail(house, stranger):
    known, unknown = _ask(stranger), _ask(Client(HTTP_HOST=HOST), "nobody@acme.example")
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert set(known.cookies) == set(unknown.cookies)
    assert len(mail.outbox) == 1


def test_asking_too_often_is_refused_the_same_way(house, stranger):
    for email in ("ada@acme.example", "nobody@acme.example"):
        for _ in range(5):
            assert _ask(stranger, email).status_code == 302
        refused = _ask(stranger, email)
        assert refused.status_code == 429
        assert "Too many links" in refused.content.decode()


def test_nonsense_address_is_told(house, stranger):
    answer = _ask(stranger, "not an address")
    assert "looks like name@example.com" in answer.content.decode()
    assert not mail.outbox


def test_cookie_is_kept_from_scripts_and_other_paths(house, stranger):
    cookie = _ask(stranger).cookies["portal_browser"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/portal/"


def test_mail_is_not_kept_as_a_row(house, stranger):
    """Only the token's hash is stored; a copy of the mail would be a key on file."""
    from apps.notifications.models import Mail

    _ask(stranger)
    token = _link().rstrip("/").rpartition("/")[2]
    assert not Mail.objects.filter(body__contains=token).exists()


@pytest.mark.parametrize("path", ["/portal/", "/portal/invoices/", "/portal/invoices/x/", "/portal/invoices/x/pdf/"])
def test_pages_ask_strangers_to_sign_in(tenant, stranger, path):
    assert stranger.get(path)["Location"] == "/portal/sign-in/"


def test_policy_is_strict_and_pages_keep_it(house, stranger):
    """No script and no inline style on any page, and the policy says so."""
    _ask(stranger)
    stranger.post(_link())
    for path in ("/portal/", "/portal/invoices/", "/portal/sign-in/"):
        answer = stranger.get(path)
        page = answer.content.decode()
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert "<script" not in page
        assert "style=" not in page
