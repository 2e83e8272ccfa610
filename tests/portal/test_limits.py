"""The page of limits: what is used, caps of one's own, and the approver's word."""

import pytest

from apps.entitlements.models import UsageCap, UsageCapAgreement
from apps.metering.limit_models import UsageLimit
from tests.builders import faces

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(tenant):
    """A customer with a running February."""
    return faces.house()


@pytest.fixture
def ada(house):
    """A person of the customer, signed in."""
    return faces.browser(faces.portal_user(house.customer))


def _set(client, **asked):
    what = client.get("/portal/limits/").context_data["choices"][0].value
    return client.post("/portal/limits/caps/", {"what": what, "kind": "hard", "units": "100", **asked})


def test_a_cap_is_set_seen_and_taken_away(ada, house):
    """I34: used against the cap from the first moment on, in this period and in the next."""
    assert _set(ada).status_code == 302
    page = ada.get("/portal/limits/")
    (row,) = page.context_data["limits"]
    assert (row.name, row.used, row.limit, row.share, row.is_own) == ("API calls", "3", "100", 3, True)
    cap = UsageCap.objects.get()
    assert cap.asked_by_name == "ada@acme.example"
    assert ada.post(f"/portal/limits/caps/{cap.public_id}/withdraw/").status_code == 302
    assert UsageLimit.objects.filter(withdrawn_at__isnull=True).count() == 0


def test_a_soft_cap_is_agreed_to_by_its_approver_only(ada, house):
    """I34: the button is there for the approver, and posting without it is refused in words."""
    bob = faces.browser(faces.portal_user(house.customer, email="bob@acme.example"))
    assert _set(ada, kind="soft", units="4", approver="bob@acme.example").status_code == 302
    cap = UsageCap.objects.get()
    assert "Agree to more" not in ada.get("/portal/limits/").content.decode()
    refused = ada.post(f"/portal/limits/caps/{cap.public_id}/agree/")
    assert (refused.status_code, "Only bob@acme.example may agree" in refused.content.decode()) == (422, True)
    assert "Agree to more" in bob.get("/portal/limits/").content.decode()
    assert bob.post(f"/portal/limits/caps/{cap.public_id}/agree/").status_code == 302
    assert UsageCapAgreement.objects.get().agreed_by_name == "bob@acme.example"
    assert UsageLimit.objects.get(withdrawn_at__isnull=True).on_exceed == "notify"


def test_what_cannot_be_is_said_beside_the_form_that_was_filled(ada):
    answer = _set(ada, kind="soft", units="many")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "name who may agree to more" in page
    assert 'value="many"' in page
    assert UsageCap.objects.count() == 0


def test_nobody_sees_or_decides_on_anothers_caps(ada, house):
    """Foreign ids are not there, for reading and for deciding."""
    _set(ada)
    cap = UsageCap.objects.get()
    eve = faces.browser(faces.portal_user(faces.house(name="beta").customer))
    assert eve.get("/portal/limits/").context_data["caps"] == []
    for verb in ("agree", "withdraw", "burn"):
        assert eve.post(f"/portal/limits/caps/{cap.public_id}/{verb}/").status_code == 404
    assert ada.post(f"/portal/limits/caps/{cap.public_id}/burn/").status_code == 404
    assert ada.post("/portal/limits/caps/", {"what": "x y", "kind": "hard", "units": "1"}).status_code == 404
