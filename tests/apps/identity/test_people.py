"""People: taken in once, trusted by role, let into the portal by a link that works once."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.common.actors import OPERATOR
from apps.identity import actors, selectors, services
from apps.identity.errors import RoleHeld, RoleNotHeld, SignInLinkRefused, UserExists, UserInvalid
from apps.identity.models import Role, SignInLink, User
from apps.identity.roles import PERMISSIONS, ROLE_PERMISSIONS, permissions_of
from apps.tenancy.context import tenant_context
from tests.builders import customers, identity

pytestmark = pytest.mark.django_db
JOINED = datetime(2026, 1, 1, tzinfo=UTC)


def _portal_user(**overrides) -> User:
    person = identity.user(is_staff=False, password=None, **overrides)
    customer = customers.customer()
    services.portal_membership_grant(user=person, customer_id=customer.id, actor=OPERATOR, at=JOINED)
    return person


def test_an_address_is_one_person_whatever_its_capitals(tenant):
    """Stored in lower case; a second person with it is refused."""
    person = identity.user(email=" Ada@House.Example ")
    assert person.email == "ada@house.example"
    with pytest.raises(UserExists):
        identity.user(email="ADA@house.example")
    assert User.objects.count() == 1


def test_bad_address_and_easy_password_are_told_together(tenant):
    """Both pointers in one answer; nobody is taken in."""
    with pytest.raises(UserInvalid) as refused:
        identity.user(email="nobody", password="password")
    assert {problem.pointer for problem in refused.value.problems} == {"/email", "/password"}
    assert not User.objects.exists()


def test_a_person_without_password_cannot_sign_in_by_one(tenant):
    """No text is their password, the empty one included."""
    person = identity.user(is_staff=False, password=None)
    assert not person.has_usable_password()
    assert not person.check_password("")


def test_roles_are_given_and_taken_once(tenant, at):
    """A repeated grant and a needless withdrawal are told, not swallowed."""
    person = identity.user(roles=(Role.BILLER,))
    with pytest.raises(RoleHeld):
        services.role_grant(user=person, role=Role.BILLER, actor=OPERATOR, at=at)
    assert selectors.user_is_allowed(user=User.objects.get(id=person.id), permission="invoices.finalize")
    services.role_withdraw(user=person, role=Role.BILLER, actor=OPERATOR, at=at)
    assert not selectors.user_is_allowed(user=User.objects.get(id=person.id), permission="invoices.finalize")
    with pytest.raises(RoleNotHeld):
        services.role_withdraw(user=person, role=Role.BILLER, actor=OPERATOR, at=at)


def test_roles_of_who_is_not_staff_allow_nothing(tenant):
    """A portal user with a role by mistake stays a portal user."""
    person = identity.user(is_staff=False, roles=(Role.BILLER,))
    assert selectors.user_permissions(user=person) == frozenset()
    assert not person.has_perm("records.view")


def test_nobody_makes_and_approves(tenant):
    """Who prepares corrections is never who approves them; who keeps keys has no say in money."""
    for role, allowed in ROLE_PERMISSIONS.items():
        assert not {"corrections.prepare", "corrections.approve"} <= allowed, role
        assert allowed <= set(PERMISSIONS), role
    operator = ROLE_PERMISSIONS[Role.OPERATOR]
    assert not {name for name in operator if name.startswith(("invoices.", "payments.", "corrections."))}
    assert set(ROLE_PERMISSIONS) == set(Role)
    assert permissions_of({"owner"}) == frozenset()


def test_staff_and_customers_people_are_different_actors(tenant):
    """The trail tells them apart."""
    staff, guest = identity.user(), identity.user(is_staff=False)
    assert actors.actor_of_user(staff).kind == "user"
    assert actors.actor_of_user(guest).kind == "customer"
    assert actors.actor_of_user(staff).label == staff.email


def test_a_link_works_once_in_the_browser_that_asked(tenant, at):
    """Then it is used up."""
    person = _portal_user()
    token = services.sign_in_link_issue(email=person.email.upper(), browser_nonce="mine", at=at)
    assert services.sign_in_link_redeem(token=token, browser_nonce="mine", at=at + timedelta(minutes=1)) == person
    with pytest.raises(SignInLinkRefused):
        services.sign_in_link_redeem(token=token, browser_nonce="mine", at=at + timedelta(minutes=2))


def test_a_link_in_a_strange_browser_stays_good_for_its_own(tenant, at):
    """A stolen mail opens nothing, and does not lock the rightful reader out either."""
    token = services.sign_in_link_issue(email=_portal_user().email, browser_nonce="mine", at=at)
    with pytest.raises(SignInLinkRefused):
        services.sign_in_link_redeem(token=token, browser_nonce="thief", at=at)
    assert services.sign_in_link_redeem(token=token, browser_nonce="mine", at=at)


def test_a_link_ends_after_its_lifetime(tenant, at):
    """At the fifteenth minute it is over."""
    token = services.sign_in_link_issue(email=_portal_user().email, browser_nonce="mine", at=at)
    with pytest.raises(SignInLinkRefused):
        services.sign_in_link_redeem(token=token, browser_nonce="mine", at=at + services.LINK_LIFETIME)


def test_who_may_not_enter_gets_no_link(tenant, at):
    """Unknown, blocked, and without a customer: no token and no row, and the caller cannot tell which."""
    lonely = identity.user(is_staff=False, password=None)
    blocked = _portal_user()
    User.objects.filter(id=blocked.id).update(is_active=False)
    for email in ("stranger@else.example", lonely.email, blocked.email, "", "a\x00b@c.example"):
        assert services.sign_in_link_issue(email=email, browser_nonce="mine", at=at) is None
    assert not SignInLink.objects.exists()


def test_the_table_of_links_opens_nothing(tenant, at):
    """Only keyed hashes of token and browser are kept."""
    token = services.sign_in_link_issue(email=_portal_user().email, browser_nonce="my-browser", at=at)
    row = repr(SignInLink.objects.values().get())
    assert token not in row
    assert "my-browser" not in row


def test_people_and_links_stay_in_their_tenant(tenant, other_tenant, at):
    """The same address may be somebody else next door; alpha's link is unknown there."""
    person = _portal_user(email="ada@shared.example")
    token = services.sign_in_link_issue(email=person.email, browser_nonce="mine", at=at)
    with tenant_context(schema_name=other_tenant):
        assert services.sign_in_link_issue(email=person.email, browser_nonce="mine", at=at) is None
        with pytest.raises(SignInLinkRefused):
            services.sign_in_link_redeem(token=token, browser_nonce="mine", at=at)
        assert identity.user(email="ada@shared.example").id != person.id
