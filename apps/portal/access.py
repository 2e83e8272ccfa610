"""Who is looking: a signed-in person, the customer whose pages they see, and how they write numbers.

Every page starts here. What a person may not see is "not there" (404): telling apart "forbidden" and "missing" would
tell strangers which documents exist.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from babel import Locale
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation.trans_real import parse_accept_lang_header

from apps.common import clock, formatting
from apps.common.actors import Actor
from apps.customers import selectors as customer_selectors
from apps.customers.models import Customer
from apps.identity import actors as identity_actors
from apps.identity import selectors as identity_selectors
from apps.identity.models import User
from apps.invoices import selectors as invoice_selectors
from apps.invoices.errors import InvoiceUnknown
from apps.invoices.models import Invoice, InvoiceStatus

CHOSEN_CUSTOMER = "portal_customer"
P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The person, the customer they look at, the customers they may choose from, and how they read."""

    user: User
    customer: Customer
    customers: tuple[Customer, ...]
    locale: Locale

    @property
    def actor(self) -> Actor:
        """Return the person as the audit trail names them."""
        return identity_actors.actor_of_user(self.user)

    def now(self) -> datetime:
        """Return the time at which the customer lives."""
        return customer_selectors.customer_now(customer=self.customer, at=clock.now())

    def invoice(self, reference: str) -> Invoice:
        """
        Return an issued invoice of this customer.

        :raises Http404: if there is none; a draft is not the customer's business yet
        """
        try:
            invoice = invoice_selectors.invoice_by_reference(reference)
        except InvoiceUnknown as error:
            raise Http404(error.detail) from error
        is_seen = invoice.status not in (InvoiceStatus.DRAFT, InvoiceStatus.DISCARDED)
        if invoice.customer_id != self.customer.id or not is_seen:
            raise Http404(f"There is no invoice '{reference}'.")
        return invoice


Page = Callable[Concatenate[HttpRequest, Viewer, P], HttpResponse]


def customer_page(view: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Give a page its viewer; send strangers to the sign-in, and turn what is not theirs into a friendly 404."""

    @wraps(view)
    def with_viewer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect("portal:sign_in")
        viewer = viewer_of(request)
        if viewer is None:
            return TemplateResponse(request, "portal/no_access.html", page_context(request), status=403)
        try:
            response = view(request, viewer, *args, **kwargs)
        except Http404:
            return TemplateResponse(request, "portal/missing.html", page_context(request, viewer), status=404)
        # A shared computer must not show the last person's invoices from its cache.
        response["Cache-Control"] = "private, no-store"
        return response

    return with_viewer


def viewer_of(request: HttpRequest) -> Viewer | None:
    """Return who is looking at which customer; nothing when the person belongs to none."""
    user: Any = request.user
    allowed = identity_selectors.user_customer_ids(user=user)
    customers = tuple(Customer.objects.filter(id__in=allowed).select_related("test_clock").order_by("name", "id"))
    if not customers:
        return None
    chosen = request.session.get(CHOSEN_CUSTOMER, "")
    # The session only remembers a choice; what may be chosen is read afresh each time.
    customer = next((row for row in customers if row.public_id == chosen), customers[0])
    return Viewer(user=user, customer=customer, customers=customers, locale=_locale_of(request, customer))


def page_context(request: HttpRequest, viewer: Viewer | None = None, **facts: Any) -> dict[str, Any]:
    """Return what every page of the portal shows: whose it is, and what was asked for."""
    tenant = getattr(request, "tenant", None)
    return {"tenant_name": str(getattr(tenant, "name", "")), "viewer": viewer, **facts}


def _locale_of(request: HttpRequest, customer: Customer) -> Locale:
    # The reader's browser knows best; who sends none gets the customer's own.
    for tag, _weight in parse_accept_lang_header(request.headers.get("Accept-Language", "").lower()):
        if tag != "*" and formatting.locale_is_known(tag):
            return formatting.locale_of(tag)
    return formatting.locale_of(customer.locale)
