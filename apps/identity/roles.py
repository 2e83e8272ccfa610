"""Roles of staff and what each may do: one table, read by people and by the permission backend.

A permission is `<area>.<verb>`. Segregation of duties starts here: who makes documents is not who approves them.
"""

from django.db import models


class Role(models.TextChoices):
    """What a staff member is trusted with."""

    VIEWER = "viewer", "Viewer: sees everything of the tenant, changes nothing"
    BILLER = "biller", "Biller: runs billing, finalises invoices, prepares corrections"
    APPROVER = "approver", "Approver: approves what others prepared"
    COLLECTOR = "collector", "Collector: collects payments and chases"
    TAX = "tax", "Tax: keeps tax rates and categories"
    CATALOG = "catalog", "Catalog: keeps meters and plans"
    AUDITOR = "auditor", "Auditor: sees everything and the audit trail, changes nothing"
    OPERATOR = "operator", "Platform operator: keeps tenants, staff and keys; no say in money"


PERMISSIONS: dict[str, str] = {
    "records.view": "See customers, plans, usage, invoices, payments and the books",
    "audit.view": "See the audit trail and its verification",
    "customers.write": "Create and change customers and their subscriptions",
    "catalog.write": "Create meters and plan drafts",
    "catalog.publish": "Publish a plan version",
    "invoices.run": "Start a billing run",
    "invoices.finalize": "Finalise a draft",
    "invoices.void": "Void an open invoice",
    "corrections.prepare": "Prepare usage corrections, adjustments and credit notes",
    "corrections.approve": "Approve what somebody else prepared",
    "payments.collect": "Collect a payment and look up unknown ones",
    "messages.requeue": "Requeue a dead message",
    "usage.replay": "Replay quarantined usage",
    "usage.watch": "Take up alerts about usage and set their limits",
    "tax.write": "Keep tax rates",
    "staff.write": "Grant and withdraw roles, issue and revoke API keys",
    "clock.advance": "Move a test clock",
}

_VIEW = {"records.view"}
ROLE_PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.VIEWER: frozenset(_VIEW),
    Role.BILLER: frozenset(
        _VIEW
        | {
            "customers.write",
            "invoices.run",
            "invoices.finalize",
            "invoices.void",
            "corrections.prepare",
            "usage.replay",
            "usage.watch",
            "clock.advance",
        }
    ),
    Role.APPROVER: frozenset(_VIEW | {"corrections.approve", "catalog.publish"}),
    Role.COLLECTOR: frozenset(_VIEW | {"payments.collect"}),
    Role.TAX: frozenset(_VIEW | {"tax.write"}),
    Role.CATALOG: frozenset(_VIEW | {"catalog.write"}),
    Role.AUDITOR: frozenset(_VIEW | {"audit.view"}),
    Role.OPERATOR: frozenset({"staff.write", "messages.requeue", "audit.view"}),
}


def permissions_of(roles: set[str]) -> frozenset[str]:
    """Return everything that a set of role codes allows; unknown codes allow nothing."""
    known = (ROLE_PERMISSIONS[Role(code)] for code in roles if code in Role.values)
    return frozenset().union(*known)
