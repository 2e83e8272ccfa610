"""Discounts and agreed prices on a customer's documents, month by month."""

import json
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from apps.common import ids
from apps.common.actors import OPERATOR, SCHEDULE
from apps.invoices import discounts as invoice_discounts
from apps.invoices import services as invoice_services
from apps.invoices.documents import pdf
from apps.invoices.errors import DiscountUsedUp
from apps.invoices.models import BillingEntity, Invoice, InvoiceDiscount, InvoiceLine, InvoiceStatus
from apps.ledger import selectors as ledger_selectors
from apps.lifecycle.services import transition_apply
from apps.notifications.models import Mail
from apps.subscriptions import discounts as discount_services
from apps.subscriptions import overrides
from apps.workflows import cycle_close, drafting, explanations, invariants, mails
from tests import races
from tests.builders import customers, discounts, faces, metering, plans, subscriptions, taxes
from tests.builders.discounts import APPROVER, SELLER
from tests.builders.subscriptions import START

FEBRUARY, MARCH, APRIL = (datetime(2026, month, 1, tzinfo=UTC) for month in (2, 3, 4))
CALLS = {"code": "api_calls", "meter": "api_calls", "model": "per_unit", "unit_rate": "1.00"}


@pytest.fixture
def world(tenant):
    """A customer on a test clock with a fee of 100.00 in arrears and calls at 1.00."""
    metering.meter(code="api_calls", event_type="api.call")
    plans.published_plan(code="growth", base_fee="100.00", base_fee_timing="arrears", charges=[CALLS])
    clock = customers.test_clock(now_at=START)
    customer = customers.customer(external_id="acme", test_clock=clock)
    return clock, customer, subscriptions.subscription(customer=customer, plan_code="growth")


def _months(clock) -> list[Invoice]:
    """Live to 1 April and return the documents of January, February and March."""
    for month in (FEBRUARY, MARCH, APRIL):
        subscriptions.advance(clock, month.replace(hour=6))
    return list(Invoice.objects.order_by("period_starts_at"))


def _use(count: int) -> None:
    occurred_at = datetime(2026, 1, 10, 12, tzinfo=UTC)
    metering.events(customer="acme", event_type="api.call", count=count, occurred_at=occurred_at, at=occurred_at)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("terms", "totals"),
    [
        ({"duration": "once"}, [9000, 10000, 10000]),
        ({"duration": "periods", "periods_count": 2}, [9000, 9000, 10000]),
        ({"duration": "forever"}, [9000, 9000, 9000]),
        ({"duration": "once", "amount_minor": 15_000}, [0, 10000, 10000]),
    ],
    ids=["once", "two periods", "forever", "more than there is"],
)
def test_a_coupon_lasts_as_long_as_it_says(world, terms, totals):
    """Over three months; what a fixed amount has left over is not carried to the next document."""
    clock, customer, _ = world
    discounts.discount(customer=customer, coupon=discounts.coupon(**terms))
    assert [invoice.total_minor for invoice in _months(clock)] == totals
    used = list(InvoiceDiscount.objects.order_by("use_number").values_list("use_number", flat=True))
    assert used == list(range(1, sum(total < 10000 for total in totals) + 1))
    assert invariants.invariants_check(at=APRIL) == []


@pytest.mark.django_db
def test_two_coupons_are_named_line_by_line_on_everything(world):
    """PRICING.md, section 5: lines, discounts, subtotal, tax; the narrower coupon first, on every paper alike."""
    clock, customer, _ = world
    BillingEntity.objects.update(tax_regime="STATIC", country="US")
    taxes.tax_rate(country="US", rate_percent="10")
    discounts.discount(customer=customer, coupon=discounts.coupon(code="TENTH", duration="forever"))
    calls_only = discounts.coupon(code="CALLS", name="Free calls", amount_minor=2000, charge_codes=("api_calls",))
    discounts.discount(customer=customer, coupon=calls_only)
    _use(50)
    subscriptions.advance(clock, FEBRUARY.replace(hour=6))
    invoice = Invoice.objects.get()
    # 50.00 of calls less 20.00, then a tenth of 30.00 and 100.00.
    assert [(line.code, line.net_minor, line.discount_minor) for line in invoice.lines.all()] == [
        ("base_fee", 10000, 1000),
        ("api_calls", 5000, 2300),
    ]
    assert (invoice.discount_minor, invoice.subtotal_minor) == (3300, 11700)
    assert invoice.total_minor == invoice.subtotal_minor + invoice.tax_minor
    assert sum(row.base_minor for row in invoice.tax_lines.all()) == 11700
    document = invoice.snapshot
    assert document["discounts"] == [
        {"code": "CALLS", "name": "Free calls", "amount": "20.00"},
        {"code": "TENTH", "name": "Welcome", "amount": "13.00"},
    ]
    assert [line["discount"] for line in document["lines"]] == ["10.00", "23.00"]
    assert (document["totals"]["lines"], document["totals"]["discount"]) == ("150.00", "33.00")
    page = pdf.printed(snapshot=document, mark="")
    assert [(row["name"], row["amount"]) for row in page["discounts"]] == [
        ("Free calls", "-$20.00"),
        ("Welcome", "-$13.00"),
    ]
    assert pdf.invoice_pdf(invoice_id=invoice.id).startswith(b"%PDF")
    explained = explanations.line_explain(line=invoice.lines.get(code="api_calls"))
    assert "Discount CALLS takes 20.00 USD from this line." in explained.explanation.formula
    assert _revenue() == (9000, 2700)
    assert invariants.invariants_check(at=APRIL) == []


@pytest.mark.django_db
def test_page_and_mail_name_each_discount(world):
    clock, customer, _ = world
    discounts.discount(customer=customer, coupon=discounts.coupon())
    subscriptions.advance(clock, FEBRUARY.replace(hour=6))
    invoice = Invoice.objects.get()
    page = faces.browser(faces.portal_user(customer)).get(f"/portal/invoices/{invoice.public_id}/").content.decode()
    for words in ("Discount: Welcome (WELCOME)", "-$10.00", "$90.00"):
        assert words in page
    mails.invoice_issued_mail(invoice_id=invoice.id, wall_at=FEBRUARY)
    body = Mail.objects.get(kind="invoice_finalized").body
    assert "Less     10.00 USD, Welcome (WELCOME)" in body
    assert "90.00 USD" in body


def _revenue() -> tuple[int, int]:
    """Return subscription and usage revenue as booked: what discounts left."""
    subscription, usage = (
        -ledger_selectors.account_balance_minor(code=code, currency="USD") for code in ("4000", "4010")
    )
    return subscription, usage


@pytest.mark.django_db
def test_a_document_without_discounts_prints_what_it_printed_before(world):
    clock, *_ = world
    subscriptions.advance(clock, FEBRUARY.replace(hour=6))
    assert "discount" not in json.dumps(Invoice.objects.get().snapshot)


@pytest.mark.django_db
def test_a_discount_of_one_subscription_leaves_the_other_alone(world):
    clock, customer, subscription = world
    plans.published_plan(code="extra", base_fee="50.00", base_fee_timing="arrears", charges=[])
    subscriptions.subscription(customer=customer, plan_code="extra")
    discounts.discount(customer=customer, coupon=discounts.coupon(duration="forever"), subscription=subscription)
    subscriptions.advance(clock, FEBRUARY.replace(hour=6))
    assert sorted(Invoice.objects.values_list("total_minor", flat=True)) == [5000, 9000]


@pytest.mark.django_db
def test_an_ended_discount_takes_nothing_from_what_is_billed_later(world):
    """The moment of billing decides, not the moment of drafting: a refresh after the end changes nothing."""
    clock, customer, _ = world
    discount = discounts.discount(customer=customer, coupon=discounts.coupon(duration="forever"))
    subscriptions.advance(clock, FEBRUARY.replace(minute=1))
    draft = Invoice.objects.get(status=InvoiceStatus.DRAFT)
    discount_services.discount_end(discount_id=discount.id, actor=OPERATOR, at=FEBRUARY.replace(minute=2))
    assert cycle_close.invoice_refresh(invoice_id=draft.id, at=FEBRUARY.replace(minute=3)).total_minor == 9000
    assert [invoice.total_minor for invoice in _months(clock)] == [9000, 10000, 10000]


@pytest.mark.django_db
def test_refreshing_keeps_the_use(world):
    """The use that a draft has does not stand in its own way, and late usage is discounted, too."""
    clock, customer, _ = world
    discounts.discount(customer=customer, coupon=discounts.coupon())
    subscriptions.advance(clock, FEBRUARY.replace(minute=1))
    draft = Invoice.objects.get()
    metering.events(
        customer="acme", count=10, occurred_at=datetime(2026, 1, 31, tzinfo=UTC), at=FEBRUARY.replace(minute=2)
    )
    refreshed = cycle_close.invoice_refresh(invoice_id=draft.id, at=FEBRUARY.replace(minute=3))
    assert (refreshed.discount_minor, refreshed.total_minor) == (1100, 9900)
    assert InvoiceDiscount.objects.values_list("use_number", "is_counted").get() == (1, True)


@pytest.mark.django_db
def test_a_dead_document_gives_its_use_back(world):
    """Discarded or voided, however that is done: the database frees the use, and the next document takes it."""
    clock, customer, _ = world
    discounts.discount(customer=customer, coupon=discounts.coupon())
    subscriptions.advance(clock, FEBRUARY.replace(minute=1))
    draft = Invoice.objects.get()
    invoice_services.invoice_discard(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY, reason=("wrong", "Test"))
    again = cycle_close.period_draft_again(period_id=draft.billing_period_id, actor=OPERATOR, at=FEBRUARY)
    assert again is not None
    assert again.total_minor == 9000
    invoice = cycle_close.invoice_refresh_and_finalize(invoice_id=again.id, actor=OPERATOR, at=FEBRUARY)
    transition_apply(instance=invoice, action="void", actor=OPERATOR, at=FEBRUARY)
    rows = InvoiceDiscount.objects.order_by("id").values_list("use_number", "is_counted")
    assert list(rows) == [(1, False), (1, False)]
    subscriptions.advance(clock, MARCH.replace(hour=6))
    assert Invoice.objects.get(period_starts_at=FEBRUARY).total_minor == 9000


@pytest.mark.django_db
def test_a_use_cannot_be_taken_twice_or_beyond_the_last(world):
    """Whatever a service forgets, the database refuses; and a draft that would share a use is not stored."""
    clock, customer, subscription = world
    discount = discounts.discount(customer=customer, coupon=discounts.coupon())
    subscriptions.advance(clock, FEBRUARY.replace(minute=1))
    first = Invoice.objects.get()
    assert first.discounts.get().amount_minor == 1000
    draft = drafting.draft_build(
        subscription=subscription,
        period=first.billing_period,
        following=None,
        kind=first.kind,
        entity=first.entity,
        at=FEBRUARY,
    )
    assert draft is not None
    plans.published_plan(code="extra", base_fee="50.00", base_fee_timing="arrears", charges=[])
    other = subscriptions.subscription(customer=customer, plan_code="extra", starts_at=FEBRUARY, at=FEBRUARY)
    subscriptions.advance(clock, MARCH.replace(minute=1))
    second = Invoice.objects.get(subscription=other)
    assert not second.discounts.exists()
    shared = {
        "applied_discount": discount,
        "position": 1,
        "code": "WELCOME",
        "name": "Welcome",
        "amount_minor": 1,
        "uses_max": 1,
    }
    for use_number, name in ((1, "invoice_discount_use_once"), (2, "invoice_discount_use_within_max")):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            InvoiceDiscount.objects.create(invoice=second, use_number=use_number, **shared)
    with pytest.raises(DiscountUsedUp, match="Draft the document again"):
        invoice_discounts.uses_record(invoice=second, draft=draft)


@pytest.mark.django_db
def test_discounts_of_an_issued_document_are_frozen(world):
    clock, customer, _ = world
    discounts.discount(customer=customer, coupon=discounts.coupon())
    subscriptions.advance(clock, FEBRUARY.replace(hour=6))
    rows = InvoiceDiscount.objects.all()
    for change in ({"amount_minor": 1}, {"is_counted": False}, {"name": "Other"}):
        with pytest.raises(IntegrityError, match="invoice_discount_frozen"), transaction.atomic():
            rows.update(**change)
    with pytest.raises(IntegrityError, match="invoice_discount_frozen"), transaction.atomic():
        rows.delete()
    with pytest.raises(IntegrityError, match="invoice_line_frozen"), transaction.atomic():
        InvoiceLine.objects.update(discount_minor=0)


@pytest.mark.django_db
def test_a_document_whose_discounts_do_not_add_up_does_not_become_final(world):
    """The database compares lines, named discounts and total at the step to finality."""
    clock, customer, _ = world
    discounts.discount(customer=customer, coupon=discounts.coupon())
    subscriptions.advance(clock, FEBRUARY.replace(minute=1))
    draft = Invoice.objects.get()
    draft.discounts.all().delete()
    with pytest.raises(IntegrityError, match="invoice_adds_up"), transaction.atomic():
        invoice_services.invoice_finalize(invoice_id=draft.id, actor=OPERATOR, at=FEBRUARY)


@pytest.mark.django_db
def test_a_preview_shows_the_discount_and_takes_no_use(world):
    clock, customer, subscription = world
    discounts.discount(customer=customer, coupon=discounts.coupon())
    document = cycle_close.invoice_preview(subscription=subscription, actor=OPERATOR, at=START)
    assert (document["totals"]["discount"], document["totals"]["total"]) == ("10.00", "90.00")
    assert not InvoiceDiscount.objects.exists()


@pytest.mark.django_db
def test_an_approved_price_is_billed_and_explained(world):
    """S094: the line is rated on the agreed terms and names who agreed; before approval nothing changes."""
    clock, _, subscription = world
    override = overrides.price_override_request(
        subscription=subscription,
        terms={"code": "api_calls", "model": "per_unit", "unit_rate": "0.25"},
        reason="Signed for two years",
        actor=SELLER,
        at=START,
    )
    _use(40)
    before = cycle_close.invoice_preview(subscription=subscription, actor=OPERATOR, at=START)
    assert before["totals"]["total"] == "140.00"
    overrides.price_override_approve(override_id=override.id, comment="As signed", actor=APPROVER, at=START)
    subscriptions.advance(clock, FEBRUARY.replace(hour=6))
    line = InvoiceLine.objects.get(code="api_calls")
    assert (line.net_minor, line.decision["plan"]["override"]) == (1000, override.public_id)
    assert "override" not in InvoiceLine.objects.get(code="base_fee").decision["plan"]
    explained = explanations.line_explain(line=line)
    assert explained.explanation.plan.endswith(f"version 1, at the agreed price {override.public_id}.")
    assert explained.explanation.is_equal


@pytest.mark.races
def test_two_documents_drafted_at_once_never_share_a_use(committed_tenant):
    """One use, eight subscriptions of a customer closed at one instant: one document is discounted."""
    code = f"once-{str(ids.new_id())[-8:]}"
    clock = customers.test_clock(now_at=START, name=code)
    customer = customers.customer(external_id=code, test_clock=clock)
    for number in range(8):
        plans.published_plan(code=f"{code}-{number}", base_fee="100.00", base_fee_timing="arrears", charges=[])
        subscriptions.subscription(customer=customer, plan_code=f"{code}-{number}")
    coupon = discounts.coupon(code=code.upper(), periods_count=3, duration="periods")
    discounts.discount(customer=customer, coupon=coupon)
    clock.now_at = FEBRUARY
    clock.save()

    def run():
        return cycle_close.billing_run_start(
            trigger="schedule", actor=SCHEDULE, at=FEBRUARY, wall_at=FEBRUARY, customer_ids=[customer.id]
        )

    races.race(committed_tenant, [run] * 4)
    totals = sorted(Invoice.objects.filter(customer=customer).values_list("total_minor", flat=True))
    assert totals == [9000] * 3 + [10000] * 5
    uses = InvoiceDiscount.objects.filter(invoice__customer=customer).values_list("use_number", flat=True)
    assert sorted(uses) == [1, 2, 3]
