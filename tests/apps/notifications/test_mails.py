"""Mails are written once, handed over outside transactions, and what became of them is kept."""

import smtplib

import pytest
from django.core import mail as django_mail
from django.core.mail import EmailMessage

from apps.audit.models import AuditEntry
from apps.common import ids
from apps.notifications import services
from apps.notifications.errors import MailNotSent
from apps.notifications.models import Mail
from tests.builders import faces

pytestmark = pytest.mark.django_db

SOURCE = ids.new_id()


def _queue(at, **overrides):
    facts = {
        "kind": "invoice_finalized",
        "source_type": "invoices.invoice",
        "source_id": SOURCE,
        "recipient": "ada@acme.example",
        "subject": "Invoice 1",
        "body": "Hello",
    }
    return services.mail_queue(**(facts | overrides), at=at)


def test_the_same_mail_is_written_once(tenant, at):
    first, second = _queue(at), _queue(at, body="another text")
    assert first.pk == second.pk
    assert Mail.objects.get().body == "Hello"


def test_sent_mail_is_recorded_and_not_sent_again(tenant, at):
    mail = _queue(at)
    services.mail_send(mail_id=mail.pk, at=at)
    services.mail_send(mail_id=mail.pk, at=at)
    mail.refresh_from_db()
    assert (mail.status, mail.sent_at) == ("SENT", at)
    assert [(message.to, message.subject) for message in django_mail.outbox] == [(["ada@acme.example"], "Invoice 1")]
    assert AuditEntry.objects.filter(entity_id=mail.pk, action="send").count() == 1


def test_refused_mail_keeps_its_reason_and_may_be_sent_later(tenant, at, monkeypatch):
    mail = _queue(at)

    def refuse(self, fail_silently=False):
        raise smtplib.SMTPServerDisconnected("gone away")

    with monkeypatch.context() as patched:
        patched.setattr(EmailMessage, "send", refuse)
        for _ in range(2):
            with pytest.raises(MailNotSent, match="gone away"):
                services.mail_send(mail_id=mail.pk, at=at)
    mail.refresh_from_db()
    assert (mail.status, mail.last_error) == ("FAILED", "SMTPServerDisconnected: gone away")
    services.mail_send(mail_id=mail.pk, at=at)
    mail.refresh_from_db()
    assert (mail.status, mail.last_error) == ("SENT", "")


def test_line_breaks_make_no_headers(tenant, at):
    mail = _queue(at, subject="Invoice\r\nBcc: thief@example.com")
    assert mail.subject == "Invoice Bcc: thief@example.com"


def test_a_month_writes_the_mails_it_should(tenant):
    """The customer hears of each invoice and each payment, with amount, date and a link."""
    house = faces.house()
    mails = {mail.kind: mail for mail in Mail.objects.filter(recipient="ada@acme.example").order_by("id")}
    assert set(mails) == {"invoice_finalized", "payment_receipt"}
    invoice = mails["invoice_finalized"]
    assert house.invoice.number in invoice.subject
    assert "116.50" in invoice.body
    assert f"/portal/invoices/{house.invoice.public_id}/" in invoice.body
    assert "Test tok_approve" in mails["payment_receipt"].body


def test_failed_payment_says_what_to_do(tenant):
    faces.house(token="tok_decline_hard")
    body = Mail.objects.filter(kind="payment_failed").order_by("-id").first().body
    assert "stolen_card" in body
    assert "another way to pay" in body
