"""Pages that are not the list of one noun: pressing a button, explaining a line, the trial balance, the trail."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any, TypeVar
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django_fsm import ConcurrentTransition

from apps.audit import selectors as audit_selectors
from apps.audit.models import AuditEntry
from apps.backoffice import buttons, signing_in
from apps.common import clock, formatting
from apps.common.admin import record_url
from apps.common.errors import DomainError
from apps.engine.errors import EngineError
from apps.identity import actors as identity_actors
from apps.invoices import selectors as invoice_selectors
from apps.invoices.documents import events_csv, pdf
from apps.invoices.models import InvoiceLine
from apps.ledger import selectors as ledger_selectors
from apps.metering.errors import UsageMonthArchived
from apps.workflows import explanations

R = TypeVar("R")

TRAIL_SHOWN = 50


def press(request: HttpRequest, name: str, pk: UUID | None = None) -> HttpResponse:
    """Ask for confirmation of a button, then make its one call and say what came of it."""
    button = buttons.BUTTONS.get(name)
    if button is None or button.is_on_list != (pk is None):
        raise Http404(f"There is no button '{name}'.")
    if not request.user.has_perm(button.permission):
        raise PermissionDenied
    record = None
    if pk is not None:
        record = button.find(pk) if button.find else button.model._default_manager.filter(pk=pk).first()
        if record is None:
            raise Http404("There is no such row.")
        if not button.is_offered(record):
            messages.warning(request, f"'{button.title}' does not apply to this any more; somebody was faster.")
            return redirect(record_url(record))
    form = button.form(record=record, data=request.POST if request.method == "POST" else None)
    rehearsal = None
    if request.method == "POST" and "edit" not in request.POST and form.is_valid():
        press_made = _press_of(request, record, form.cleaned_data)
        if button.rehearse is not None and "confirmed" not in request.POST:
            rehearsal = _asked(request, button.rehearse, press_made)
            if rehearsal is not None:
                repeated = {**request.POST.dict(), "rehearsed_at": rehearsal.at.isoformat()}
                form = button.form(record=record, data=repeated)
        else:
            outcome = _asked(request, button.run, press_made)
            if outcome is not None:
                return _after(request, button, outcome)
    context = {
        "title": button.title,
        "button": button,
        "record": record,
        "subject": button.subject(record) if record is not None else "",
        "amount": button.amount(record) if record is not None else "",
        "form": form,
        "rehearsal": rehearsal,
        "back_url": record_url(record) if record is not None else _list_url(button),
    }
    return page_render(request, "backoffice/confirm.html", context)


def _press_of(request: HttpRequest, record: Any, data: dict[str, Any]) -> buttons.Press:
    actor = identity_actors.actor_of_user(signing_in.staff_of(request))
    return buttons.Press(record=record, data=data, actor=actor, wall_at=clock.now())


def _asked(request: HttpRequest, ask: Callable[[buttons.Press], R], press_made: buttons.Press) -> R | None:
    """Return what a press gives; a refusal becomes sentences, and nothing is returned."""
    try:
        return ask(press_made)
    except ConcurrentTransition:
        messages.error(request, "Somebody changed this at the same moment. Look at it again before you press.")
    except EngineError as error:
        messages.error(request, str(error))
    except DomainError as error:
        messages.error(request, error.detail)
        for problem in error.problems:
            if problem.detail != error.detail:
                messages.error(request, f"{problem.pointer}: {problem.detail}" if problem.pointer else problem.detail)
    return None


def _after(request: HttpRequest, button: buttons.Button, outcome: buttons.Outcome) -> HttpResponse:
    goes_to = record_url(outcome.record) if outcome.record is not None else _list_url(button)
    if outcome.secret:
        response = page_render(
            request,
            "backoffice/secret.html",
            {"title": outcome.message, "secret": outcome.secret, "back_url": goes_to},
        )
        response["Cache-Control"] = "no-store"
        return response
    messages.success(request, outcome.message)
    return redirect(goes_to)


def invoice_pdf(request: HttpRequest, reference: str) -> HttpResponse:
    """Return an invoice's PDF."""
    _require(request, "records.view")
    invoice = _found(lambda: invoice_selectors.invoice_by_reference(reference))
    response = HttpResponse(pdf.invoice_pdf(invoice_id=invoice.id), content_type="application/pdf")
    response["Content-Disposition"] = f'inline; filename="{invoice.number or "draft"}.pdf"'
    return response


def line_explain(request: HttpRequest, reference: str) -> HttpResponse:
    """Explain a line from the decision stored with it, checked against the events it had seen."""
    _require(request, "records.view")
    line = _line(reference)
    try:
        explained = explanations.line_explain(line=line)
    except UsageMonthArchived as archived:
        return _explained_without_events(request, line, archived)
    context = {
        "title": f"Why line {line.position} of {line.invoice} is what it is",
        "line": line,
        "invoice": line.invoice,
        "amount": formatting.money_text(line.net_minor, line.invoice.currency),
        "explained": explained,
        "explanation": explained.explanation,
        "period": formatting.period_text(line.service_starts_at, line.service_ends_at, line.invoice.customer.timezone),
        "events": [_event(event) for event in explained.sample],
        "evidence": formatting.json_text((line.decision.get("tax") or {}).get("evidence", {})),
        "events_url": reverse("admin:line_events", args=[line.public_id]),
        "invoice_url": record_url(line.invoice),
        "customer_url": record_url(line.invoice.customer),
    }
    return page_render(request, "backoffice/explain.html", context)


def _explained_without_events(request: HttpRequest, line: InvoiceLine, archived: UsageMonthArchived) -> HttpResponse:
    """Show the stored decision of a line whose raw events are in the archive, and how to have them back."""
    context = {
        "title": f"Why line {line.position} of {line.invoice} is what it is",
        "words": archived.detail,
        "amount": formatting.money_text(line.net_minor, line.invoice.currency),
        "decision": formatting.json_text(line.decision),
        "invoice_url": record_url(line.invoice),
    }
    return page_render(request, "backoffice/archived.html", context)


def line_events_csv(request: HttpRequest, reference: str) -> HttpResponse:
    """Return the raw events behind a line as a table for a spreadsheet."""
    _require(request, "records.view")
    line = _line(reference)
    events = _found(lambda: explanations.line_events(line=line, limit=events_csv.ROWS_MAX))
    response = HttpResponse(events_csv.events_csv(events=events), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{line.public_id}-events.csv"'
    return response


def trial_balance(request: HttpRequest) -> HttpResponse:
    """Show every account's turnover and balance, per currency, up to a day; the sum must be nothing."""
    _require(request, "records.view")
    asked = request.GET.get("as_of", "").strip()
    as_of, problem = None, ""
    if asked:
        try:
            as_of = datetime.combine(datetime.fromisoformat(asked).date(), time.max, tzinfo=UTC)
        except ValueError:
            problem = f"'{asked}' is not a date; write it like 2026-01-31. Shown is all that was ever booked."
    rows = ledger_selectors.trial_balance(as_of=as_of)
    currencies = []
    for currency in sorted({row.currency for row in rows}):
        own = [row for row in rows if row.currency == currency]
        debit, credit = sum(row.debit_minor for row in own), sum(row.credit_minor for row in own)
        currencies.append(
            {
                "currency": currency,
                "rows": [
                    {
                        "code": row.code,
                        "name": row.name,
                        "kind": row.kind,
                        "debit": formatting.money_text(row.debit_minor, currency),
                        "credit": formatting.money_text(row.credit_minor, currency),
                        "balance": formatting.money_text(row.balance_minor, currency),
                    }
                    for row in own
                ],
                "debit": formatting.money_text(debit, currency),
                "credit": formatting.money_text(credit, currency),
                "difference": formatting.money_text(debit - credit, currency),
                "is_balanced": debit == credit,
            }
        )
    context = {"title": "Trial balance", "currencies": currencies, "as_of": asked, "problem": problem}
    return page_render(request, "backoffice/trial_balance.html", context)


def audit_trail(request: HttpRequest) -> HttpResponse:
    """Show the end of the trail and how far it is sealed; on request, recompute the whole chain."""
    _require(request, "audit.view")
    at = clock.now()
    oldest_at = audit_selectors.oldest_unsealed_created_at()
    report = audit_selectors.chain_verify() if request.method == "POST" else None
    context = {
        "title": "Audit trail",
        "report": report,
        "unsealed_count": audit_selectors.unsealed_count(),
        "unsealed_age": formatting.age_text(oldest_at, at) if isinstance(oldest_at, datetime) else "",
        "entries": AuditEntry.objects.order_by("-id")[:TRAIL_SHOWN],
        "list_url": reverse("admin:audit_auditentry_changelist"),
    }
    return page_render(request, "backoffice/audit_trail.html", context)


def page_render(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    """Return a page inside the frame of the site that was asked."""
    # The wrapper that checked the sign-in names the site whose page this is.
    site: AdminSite = request.staff_site  # type: ignore[attr-defined]
    request.current_app = site.name  # the admin's own templates look for it here
    return TemplateResponse(request, template, {**site.each_context(request), **context})


def _line(reference: str) -> InvoiceLine:
    try:
        line_id = InvoiceLine.id_from_public(reference)
    except ValueError as error:
        raise Http404(str(error)) from error
    line = InvoiceLine.objects.select_related("invoice__customer").filter(id=line_id).first()
    if line is None:
        raise Http404(f"There is no line '{reference}'.")
    return line


def _found(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DomainError as error:
        raise Http404(error.detail) from error


def _event(event: dict[str, Any]) -> dict[str, Any]:
    occurred_at = formatting.instant_parse(event["occurred_at"])
    return {
        "occurred": formatting.instant_text(occurred_at, has_seconds=True),
        "id": event["id"],
        "source": event["source"],
        "type": event["type"],
        "quantity": "" if event["quantity"] is None else formatting.number_text(event["quantity"]),
    }


def _require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _list_url(button: buttons.Button) -> str:
    return reverse(f"admin:{button.model._meta.label_lower.replace('.', '_')}_changelist")
