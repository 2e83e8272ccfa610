"""Signing in by a mailed link: no password to lose, nothing that tells strangers who is a customer."""

import secrets
from urllib.parse import quote

import structlog
from django import forms
from django.contrib.auth import login, logout
from django.core.mail import EmailMessage
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from apps.common import attempts, clock, sessions
from apps.common.errors import DomainError
from apps.identity import services as identity_services
from apps.identity.models import User
from apps.portal.access import page_context
from apps.workflows import links

log = structlog.get_logger(__name__)

NONCE_COOKIE = "portal_browser"
LINK_MINUTES = 15
ASKED_MAX = 5
ASKED_BY_NETWORK_MAX = 30
OPENED_MAX = 20
WINDOW_SECONDS = LINK_MINUTES * 60


class EmailForm(forms.Form):
    """Where to send the link."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
        error_messages={
            "required": "Enter the e-mail address that your invoices are sent to.",
            "invalid": "This is not a complete e-mail address; it looks like name@example.com.",
        },
    )


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for an address and mail it a link; the answer is the same whether the address is known or not."""
    form = EmailForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        return TemplateResponse(request, "portal/sign_in.html", page_context(request, form=form))
    email = form.cleaned_data["email"].strip().lower()
    if not _may_ask(request, email):
        form.add_error("email", "Too many links were asked for. Wait a quarter of an hour, then ask again.")
        return TemplateResponse(request, "portal/sign_in.html", page_context(request, form=form), status=429)
    nonce = request.COOKIES.get(NONCE_COOKIE, "") or secrets.token_urlsafe(32)
    _link_send(email=email, nonce=nonce, tenant_name=page_context(request)["tenant_name"])
    response = redirect("portal:sent")
    response.set_cookie(
        NONCE_COOKIE,
        nonce,
        max_age=WINDOW_SECONDS,
        path=reverse("portal:home"),
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )
    return response


def sent(request: HttpRequest) -> HttpResponse:
    """Say where to look next."""
    return TemplateResponse(request, "portal/sent.html", page_context(request, minutes=LINK_MINUTES))


@never_cache
@sensitive_variables("token")
@require_http_methods(["GET", "POST"])
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in by a link that was mailed; a press is needed, because mail scanners open links before people do."""
    if request.method == "GET":
        return TemplateResponse(request, "portal/open_link.html", page_context(request))
    nonce = request.COOKIES.get(NONCE_COOKIE, "")
    if not attempts.attempt_allow(key=f"open:{_network(request)}", limit=OPENED_MAX, window_seconds=WINDOW_SECONDS):
        return _refused(request, "Too many links were tried. Wait a quarter of an hour, then ask for a new one.", 429)
    try:
        user = identity_services.sign_in_link_redeem(token=token, browser_nonce=nonce, at=clock.now())
    except DomainError as error:
        return _refused(request, error.detail, 400)
    return _enter(request, user)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("portal:sign_in")


def _enter(request: HttpRequest, user: User) -> HttpResponse:
    login(request, user, backend="apps.identity.backends.RoleBackend")
    sessions.link_remember(request)
    response = redirect("portal:home")
    response.delete_cookie(NONCE_COOKIE, path=reverse("portal:home"))
    return response


def _refused(request: HttpRequest, why: str, status: int) -> HttpResponse:
    return TemplateResponse(request, "portal/link_refused.html", page_context(request, why=why), status=status)


def _may_ask(request: HttpRequest, email: str) -> bool:
    by_address = attempts.attempt_allow(key=f"ask:{email}", limit=ASKED_MAX, window_seconds=WINDOW_SECONDS)
    by_network = attempts.attempt_allow(
        key=f"ask-network:{_network(request)}", limit=ASKED_BY_NETWORK_MAX, window_seconds=WINDOW_SECONDS
    )
    return by_address and by_network


def _network(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


@sensitive_variables()
def _link_send(*, email: str, nonce: str, tenant_name: str) -> None:
    token = identity_services.sign_in_link_issue(email=email, browser_nonce=nonce, at=clock.now())
    if token is None:
        return
    url = links.tenant_url(reverse("portal:open_link", args=[quote(token, safe="")]))
    body = render_to_string(
        "emails/sign_in_link.txt", {"tenant_name": tenant_name, "link": url, "minutes": LINK_MINUTES}
    )
    try:
        # Sent and not stored as a row: only the token's hash is kept, and a mail on file would undo that.
        EmailMessage(subject=f"Sign in to {tenant_name}", body=body, to=[email]).send()
    except OSError:
        # SMTP errors are OSErrors. The person sees the same page and asks again; we see why in the log.
        log.exception("sign-in mail not sent")
