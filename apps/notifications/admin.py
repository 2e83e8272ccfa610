"""Mails in the back office."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.common.admin import RecordAdmin, status_column
from apps.notifications.models import Mail


class MailAdmin(RecordAdmin):
    """What was written to whom."""

    purpose = "Every mail, as it was written, and whether the mail server took it."
    list_display = ("queued_at", "kind", "recipient", "subject", "status_badge", "sent_at")
    list_filter = ("status", "kind")
    search_fields = ("recipient", "subject")
    fact_fields = ("kind", "recipient", "subject", "status_badge", "queued_at", "sent_at", "last_error", "letter")

    status_badge = status_column({"QUEUED": "info", "SENT": "success", "FAILED": "danger"})

    def letter(self, mail: Mail) -> SafeString:
        """Return the text as it was sent."""
        return format_html('<pre class="ch-json" tabindex="0">{}</pre>', mail.body)


RECORDS = ((Mail, MailAdmin),)
