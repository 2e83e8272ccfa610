"""Defaults of billing behaviour that an installation may set."""

from billing_site.settings.components.environment import ENV

INVOICE_GRACE_HOURS = ENV.invoice_grace_hours
# The one visible table from event type to handler; named here because messaging may not import workflows.
EVENT_SUBSCRIBERS = "apps.workflows.subscribers.SUBSCRIBERS"
