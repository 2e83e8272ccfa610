"""Write mails, hand them over, record what became of them."""

import smtplib
from datetime import datetime
from uuid import UUID

from django.core.mail import EmailMessage

from apps.common import locks
from apps.common.actors import SCHEDULE
from apps.common.db import require_no_transaction, unit_of_work
from apps.lifecycle.services import transition_apply
from apps.notifications.errors import MailNotSent
from apps.notifications.models import Mail, MailStatus

ERROR_LENGTH_MAX = 2_000


@unit_of_work
def mail_queue(
    *, kind: str, source_type: str, source_id: UUID, recipient: str, subject: str, body: str, at: datetime
) -> Mail:
    """Write a mail about one thing and return it; the mail that was written before is returned as it is."""
    mail = Mail(
        kind=kind,
        source_type=source_type,
        source_id=source_id,
        recipient=recipient,
        # A line break in a header would begin another header.
        subject=" ".join(subject.split())[:200],
        body=body,
        queued_at=at,
    )
    # Ignoring the conflict instead of catching it: an error would spoil the caller's transaction.
    Mail.objects.bulk_create([mail], ignore_conflicts=True)
    return Mail.objects.get(kind=kind, source_type=source_type, source_id=source_id, recipient=recipient)


def mail_send(*, mail_id: UUID, at: datetime) -> Mail:
    """
    Hand a mail to the mail server and record the outcome; a mail that was sent is left alone.

    At least once: a process that dies between the server's answer and our record sends it again.

    :raises MailNotSent: if the mail server did not take it; the reason is stored, the mail may be sent again
    """
    require_no_transaction()
    mail = Mail.objects.get(id=mail_id)
    if mail.status == MailStatus.SENT:
        return mail
    try:
        EmailMessage(subject=mail.subject, body=mail.body, to=[mail.recipient]).send()
    except (smtplib.SMTPException, OSError) as error:
        reason = f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]
        _failure_record(mail_id=mail_id, reason=reason, at=at)
        raise MailNotSent(f"Mail {mail.public_id} was not sent: {reason}") from error
    return _success_record(mail_id=mail_id, at=at)


@unit_of_work
def _success_record(*, mail_id: UUID, at: datetime) -> Mail:
    mail = locks.get_for_update(Mail, mail_id)
    if mail.status != MailStatus.SENT:
        mail.last_error = ""
        transition_apply(instance=mail, action="send", actor=SCHEDULE, at=at, save_fields=["last_error"])
    return mail


@unit_of_work
def _failure_record(*, mail_id: UUID, reason: str, at: datetime) -> None:
    mail = locks.get_for_update(Mail, mail_id)
    mail.last_error = reason
    if mail.status == MailStatus.QUEUED:
        transition_apply(instance=mail, action="fail", actor=SCHEDULE, at=at, save_fields=["last_error"])
    else:
        mail.save(update_fields=["last_error"])
