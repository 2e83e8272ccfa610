"""Absolute links for mails and summaries: the tenant's own host, never a request's."""

from django.conf import settings

from apps.invoices.models import Invoice
from apps.tenancy import context as tenancy_context
from apps.tenancy import selectors as tenancy_selectors


def tenant_url(path: str) -> str:
    """Return a path as an absolute URL on the current tenant's host."""
    host = tenancy_selectors.tenant_primary_domain(schema_name=tenancy_context.current_schema())
    port = f":{settings.PUBLIC_PORT}" if settings.PUBLIC_PORT not in (0, 80, 443) else ""
    return f"{settings.PUBLIC_SCHEME}://{host}{port}{path}"


def portal_invoice_url(invoice: Invoice) -> str:
    """Return where the customer sees an invoice."""
    return tenant_url(f"/portal/invoices/{invoice.public_id}/")
