"""Who may sign in to the demo, and with what. Kept in a private file of this machine, never in the code.

Passwords and keys are made when the tenants are; the file is what lets a second start print them again.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

from apps.common.actors import OPERATOR
from apps.customers.models import Customer
from apps.identity import services as identity_services
from apps.identity.models import Role, Scope, User
from apps.tenancy import context as tenancy_context
from apps.tenancy.models import Tenant
from apps.workflows import links


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAccess:
    """How to get into one demo tenant."""

    name: str
    slug: str
    backoffice_url: str
    portal_url: str
    api_url: str
    staff: dict[str, str]  # e-mail -> what the person may do
    password: str
    portal_email: str
    api_key: str


def access_path() -> Path:
    """Return where this machine keeps the demo's secrets."""
    return Path(settings.LOCAL_DIR) / "demo-access.json"


def access_read() -> list[TenantAccess]:
    """Return what was kept, or nothing before the demo was made."""
    path = access_path()
    return [TenantAccess(**entry) for entry in json.loads(path.read_text(), parse_float=str)] if path.exists() else []


def access_ensure(*, tenants: list[Tenant], at: datetime, say: Callable[[str], None]) -> None:
    """Make staff, a portal user and an API key for each demo tenant that has none yet, and keep how to use them."""
    known = {access.slug: access for access in access_read()}
    for tenant in tenants:
        if tenant.slug in known:
            continue
        with tenancy_context.tenant_context(schema_name=str(tenant.schema_name)):
            known[tenant.slug] = _tenant_access(tenant, at=at)
        say(f"{tenant.name}: people and keys")
    path = access_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps([asdict(access) for access in known.values()], indent=2))


STAFF: dict[str, tuple[Role, ...]] = {
    "finance": (Role.BILLER, Role.COLLECTOR, Role.CATALOG, Role.TAX),
    "approver": (Role.APPROVER,),
    "auditor": (Role.AUDITOR,),
    "operator": (Role.OPERATOR,),
}


def _tenant_access(tenant: Tenant, *, at: datetime) -> TenantAccess:
    password = secrets.token_urlsafe(12)
    staff: dict[str, str] = {}
    for name, roles in STAFF.items():
        email = f"{name}@{tenant.slug}.example"
        user = User.objects.filter(email=email).first() or identity_services.user_create(
            email=email, name=name.title(), password=password, is_staff=True, actor=OPERATOR, at=at
        )
        identity_services.user_password_set(user=user, password=password, actor=OPERATOR, at=at)
        held = set(user.role_grants.values_list("role", flat=True))
        for role in roles:
            if role not in held:
                identity_services.role_grant(user=user, role=role, actor=OPERATOR, at=at)
        staff[email] = ", ".join(role.value for role in roles)
    portal_email = _portal_user(at=at)
    _key, secret = identity_services.api_key_issue(
        name="demo", scopes=[Scope.ADMIN], is_live=False, expires_at=None, actor=OPERATOR, at=at
    )
    return TenantAccess(
        name=tenant.name,
        slug=tenant.slug,
        backoffice_url=links.tenant_url("/backoffice/"),
        portal_url=links.tenant_url("/portal/"),
        api_url=links.tenant_url("/api/v1/"),
        staff=staff,
        password=password,
        portal_email=portal_email,
        api_key=secret,
    )


def _portal_user(*, at: datetime) -> str:
    customer = Customer.objects.order_by("id")[0]
    user = User.objects.filter(email=customer.email).first() or identity_services.user_create(
        email=customer.email, name=customer.name, password=None, is_staff=False, actor=OPERATOR, at=at
    )
    identity_services.portal_membership_grant(user=user, customer_id=customer.id, actor=OPERATOR, at=at)
    return str(customer.email)
