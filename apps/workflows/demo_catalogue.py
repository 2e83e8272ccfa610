"""Who the demo tenants and their customers are, and what is agreed with whom: data only."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from apps.workflows import demo_offers


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoChange:
    """Something agreed with a customer in the demo year; what is empty is not part of it."""

    month: int  # months after the demo year began
    day: int
    to_plan: str = ""
    is_at_period_end: bool = False
    freeze_days: int = 0
    price: dict[str, Any] | None = None  # asked for by one person and approved by another
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCustomer:
    """One customer of a demo tenant and how it behaves."""

    external_id: str
    name: str
    plan: str
    country: str
    city: str
    joins_month: int = 0  # months after the demo year began
    join_day: int = 1
    events_a_day: int = 3
    token: str = "tok_approve"
    method_label: str = "Visa ending 4242"
    timezone: str = "UTC"
    coupon: str = ""
    changes: tuple[DemoChange, ...] = ()

    @property
    def subscription_id(self) -> str:
        """Return the tenant's own code for the subscription; it stays whatever plan it moves to."""
        return f"{self.external_id}-{self.plan}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTenant:
    """One demo tenant."""

    slug: str
    name: str
    timezone: str
    currency: str
    country: str
    address: str
    tax_id: str = ""
    tax_rates: tuple[tuple[str, str, str], ...] = ()  # country, name, percent
    meters: tuple[dict[str, Any], ...] = ()
    plans: tuple[dict[str, Any], ...] = ()
    coupons: tuple[dict[str, Any], ...] = ()
    customers: tuple[DemoCustomer, ...] = field(default=())


ACME = DemoTenant(
    slug="acme",
    name="Acme Analytics Inc.",
    timezone="America/New_York",
    currency="USD",
    country="US",
    address="200 Example Street\nNew York, NY 10001\nUnited States",
    meters=demo_offers.ACME_METERS,
    coupons=(
        {
            "code": "WELCOME20",
            "name": "Welcome: a fifth off three invoices",
            "kind": "percent",
            "percent": Decimal(20),
            "duration": "periods",
            "periods_count": 3,
        },
    ),
    plans=demo_offers.ACME_PLANS,
    customers=(
        DemoCustomer(
            external_id="northwind",
            name="Northwind Traders",
            plan="growth",
            country="US",
            city="Seattle",
            events_a_day=9,
            timezone="America/Los_Angeles",
            changes=(
                DemoChange(
                    month=3,
                    day=9,
                    price={"code": "traffic", "model": "per_unit", "unit_rate": "0.07"},
                    reason="Signed for two years",
                ),
            ),
        ),
        DemoCustomer(
            external_id="contoso",
            name="Contoso Ltd.",
            plan="growth",
            country="GB",
            city="London",
            join_day=31,
            events_a_day=6,
            timezone="Europe/London",
            method_label="Mastercard ending 4444",
            coupon="WELCOME20",
            changes=(
                DemoChange(
                    month=12, day=1, to_plan="enterprise", is_at_period_end=True, reason="Commits for the next year"
                ),
            ),
        ),
        DemoCustomer(
            external_id="fabrikam",
            name="Fabrikam Inc.",
            plan="starter",
            country="US",
            city="Chicago",
            joins_month=1,
            join_day=15,
            changes=(DemoChange(month=11, day=27, to_plan="growth", reason="Needs single sign-on"),),
        ),
        DemoCustomer(
            external_id="tailspin",
            name="Tailspin Toys",
            plan="starter",
            country="US",
            city="Denver",
            joins_month=2,
            token="tok_decline_soft",
            method_label="Visa ending 0341 (declines)",
        ),
        DemoCustomer(
            external_id="wingtip",
            name="Wingtip Toys",
            plan="growth",
            country="CA",
            city="Toronto",
            joins_month=3,
            join_day=20,
            token="tok_timeout_after",
            method_label="Visa ending 9995 (answers get lost)",
            changes=(
                DemoChange(month=6, day=7, to_plan="starter", is_at_period_end=True, reason="Uses less than planned"),
            ),
        ),
        DemoCustomer(
            external_id="litware",
            name="Litware Inc.",
            plan="starter",
            country="AU",
            city="Sydney",
            joins_month=4,
            token="tok_delayed",
            method_label="Bank debit ending 6789",
            timezone="Australia/Sydney",
            changes=(DemoChange(month=6, day=11, freeze_days=24, reason="Closed over the holidays"),),
        ),
        DemoCustomer(
            external_id="proseware",
            name="Proseware Inc.",
            plan="growth",
            country="US",
            city="Austin",
            joins_month=6,
            join_day=5,
            token="",
            events_a_day=4,
        ),
        DemoCustomer(
            external_id="adatum",
            name="Adatum Corp.",
            plan="starter",
            country="US",
            city="Boston",
            joins_month=8,
            join_day=12,
            token="tok_decline_hard",
            method_label="Visa ending 9979 (reported stolen)",
        ),
        DemoCustomer(
            external_id="relecloud",
            name="Relecloud Market",
            plan="commerce",
            country="US",
            city="Portland",
            joins_month=2,
            join_day=3,
            events_a_day=1,
        ),
        DemoCustomer(
            external_id="woodgrove",
            name="Woodgrove Bank",
            plan="enterprise",
            country="US",
            city="Charlotte",
            joins_month=1,
            events_a_day=8,
        ),
    ),
)

GLOBEX = DemoTenant(
    slug="globex",
    name="Globex Cloud GmbH",
    timezone="Europe/Berlin",
    currency="EUR",
    country="DE",
    address="Beispielweg 7\n10115 Berlin\nGermany",
    tax_id="DE123456789",
    tax_rates=(("DE", "MwSt.", "19"), ("FR", "TVA", "20"), ("NL", "BTW", "21")),
    meters=demo_offers.GLOBEX_METERS,
    plans=demo_offers.GLOBEX_PLANS,
    customers=(
        DemoCustomer(
            external_id="alpenblick",
            name="Alpenblick Software GmbH",
            plan="team",
            country="DE",
            city="Berlin",
            timezone="Europe/Berlin",
            events_a_day=5,
        ),
        DemoCustomer(
            external_id="lumiere",
            name="Atelier Lumiere SARL",
            plan="team",
            country="FR",
            city="Lyon",
            timezone="Europe/Paris",
            joins_month=2,
            join_day=31,
            events_a_day=3,
        ),
        DemoCustomer(
            external_id="molenaar",
            name="Molenaar en Zonen B.V.",
            plan="team",
            country="NL",
            city="Utrecht",
            timezone="Europe/Amsterdam",
            joins_month=5,
            join_day=10,
            token="tok_decline_soft",
            method_label="Visa ending 0341 (declines)",
        ),
        DemoCustomer(
            external_id="nordlys",
            name="Nordlys AS",
            plan="team",
            country="NO",
            city="Bergen",
            timezone="Europe/Oslo",
            joins_month=9,
            events_a_day=2,
        ),
    ),
)

TENANTS = (ACME, GLOBEX)
