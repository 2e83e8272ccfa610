"""Late usage and adjustments at a desk: who may do what, and what is refused."""

import pytest

from apps.common.actors import OPERATOR
from apps.identity.models import Role
from apps.invoices import adjustments
from apps.invoices.adjustment_models import Adjustment, AdjustmentReason
from apps.invoices.inputs import AdjustmentInput, AdjustmentLineInput
from apps.metering.models import LateUsagePolicy
from apps.subscriptions.models import BillingPeriod
from tests.builders import faces
from tests.builders.faces import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(tenant):
    """A customer with a billed month."""
    return faces.house(token="")


def _adjustment(house) -> Adjustment:
    period = BillingPeriod.objects.filter(subscription=house.subscription).order_by("sequence").first()
    line = AdjustmentLineInput(
        code="api_calls",
        kind="usage",
        description="API calls",
        quantity=2,
        unit_name="",
        service_starts_at=period.starts_at,
        service_ends_at=period.ends_at,
        amount_minor=-1_50,
        tax=None,
        before={"amount_minor": 3_50, "quantity": "7", "invoice": "A-1"},
        after={"amount_minor": 2_00, "quantity": "5"},
    )
    data = AdjustmentInput(
        customer=house.customer,
        subscription=house.subscription,
        billing_period=period,
        currency="USD",
        reason=AdjustmentReason.LATE_USAGE,
        lines=(line,),
    )
    return adjustments.adjustment_make(data=data, actor=OPERATOR, at=NOW)


def _press(client, button, row, /, **form):
    answer = client.post(f"/backoffice/do/{button}/{row.pk}/", form, follow=True)
    row.refresh_from_db()
    return answer


def test_an_approver_decides_an_adjustment_and_a_biller_does_not(house):
    biller, approver = faces.staff(Role.BILLER), faces.staff(Role.APPROVER, email="second@alpha.example")
    adjustment = _adjustment(house)
    assert _press(faces.browser(biller), "adjustment-approve", adjustment, comment="Mine").status_code == 403
    assert adjustment.status == "PENDING_APPROVAL"
    page = faces.browser(approver).get(f"/backoffice/invoices/adjustment/{adjustment.pk}/change/").content.decode()
    assert "Waits for approval by somebody other than command line" in page
    assert "-$1.50" in page
    _press(faces.browser(approver), "adjustment-approve", adjustment, comment="Seen")
    assert (adjustment.status, adjustment.decision_comment) == ("APPROVED", "Seen")
    answer = _press(faces.browser(approver), "adjustment-reject", adjustment, comment="No")
    assert (answer.status_code in (200, 404), adjustment.status) == (True, "APPROVED")


def test_a_policy_is_set_at_a_desk_and_a_wrong_one_is_named(house):
    client = faces.browser(faces.staff(Role.APPROVER))
    form = {
        "policy": "hold",
        "meter_code": "no_such_meter",
        "grace_hours": "48",
        "hold_hours_max": "96",
        "approved_up_to": "250",
        "alone_after_hours": "24",
    }
    refused = client.post("/backoffice/do/late-policy-set/", form, follow=True).content.decode()
    assert "/meter_code names no meter" in refused
    assert not LateUsagePolicy.objects.exists()
    client.post("/backoffice/do/late-policy-set/", {**form, "meter_code": ""}, follow=True)
    policy = LateUsagePolicy.objects.get()
    assert (policy.policy, policy.grace_hours, policy.is_settled_automatically) == ("hold", 48, False)


def test_the_lists_are_there(house):
    client = faces.browser(faces.staff(Role.VIEWER))
    _adjustment(house)
    for name in ("metering/lateusage", "metering/lateusagepolicy", "invoices/adjustment"):
        assert client.get(f"/backoffice/{name}/").status_code == 200, name
    assert client.get("/backoffice/").status_code == 200
