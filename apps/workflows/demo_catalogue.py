"""Who the demo tenants are and what they sell: data only."""

from dataclasses import dataclass, field
from typing import Any


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
    customers: tuple[DemoCustomer, ...] = field(default=())


_REQUESTS = {
    "code": "requests",
    "name": "API requests",
    "event_type": "http.request",
    "aggregation": "count",
    "unit_name": "requests",
}
_TRAFFIC = {
    "code": "traffic_gb",
    "name": "Traffic out",
    "event_type": "http.request",
    "aggregation": "sum",
    "value_property": "bytes",
    "unit_name": "GB",
    "rounding": {"mode": "ceil", "precision": 0, "divide_by": "1000000000"},
}
_JOBS = {
    "code": "compute_minutes",
    "name": "Compute minutes",
    "event_type": "job.finished",
    "aggregation": "sum",
    "value_property": "minutes",
    "unit_name": "minutes",
}
_PEAK = {
    "code": "peak_seats",
    "name": "Most seats at once",
    "event_type": "seats.changed",
    "aggregation": "max",
    "value_property": "seats",
    "unit_name": "seats",
}

_FEATURES = {"*": True, "sso": False, "projects": {"limit": "25"}}

ACME = DemoTenant(
    slug="acme",
    name="Acme Analytics Inc.",
    timezone="America/New_York",
    currency="USD",
    country="US",
    address="200 Example Street\nNew York, NY 10001\nUnited States",
    meters=(_REQUESTS, _TRAFFIC),
    plans=(
        {
            "plan": "starter",
            "name": "Starter",
            "currency": "USD",
            "interval": {"unit": "month", "count": 1},
            "base_fee": {"amount": "29.00", "timing": "advance"},
            "rounding": "half_up",
            "charges": [
                {
                    "code": "requests",
                    "meter": "requests",
                    "model": "per_unit",
                    "included_units": "50",
                    "unit_rate": "0.20",
                    "unit": "requests",
                    "description": "API requests",
                }
            ],
            "features": _FEATURES,
            "examples": [{"usage": {"requests": "60"}, "total": "31.00"}],
        },
        {
            "plan": "growth",
            "name": "Growth",
            "currency": "USD",
            "interval": {"unit": "month", "count": 1},
            "base_fee": {"amount": "99.00", "timing": "advance"},
            "rounding": "half_up",
            "charges": [
                {
                    "code": "requests",
                    "meter": "requests",
                    "model": "graduated",
                    "tiers": [
                        {"up_to": "100", "unit_rate": "0.00"},
                        {"up_to": "250", "unit_rate": "0.15"},
                        {"up_to": None, "unit_rate": "0.08"},
                    ],
                    "unit": "requests",
                    "description": "API requests",
                },
                {
                    "code": "traffic",
                    "meter": "traffic_gb",
                    "model": "per_unit",
                    "unit_rate": "0.09",
                    "unit": "GB",
                    "description": "Traffic out",
                },
            ],
            "features": {**_FEATURES, "sso": True},
            "examples": [{"usage": {"requests": "300", "traffic_gb": "10"}, "total": "126.40"}],
        },
    ),
    customers=(
        DemoCustomer(
            external_id="northwind",
            name="Northwind Traders",
            plan="growth",
            country="US",
            city="Seattle",
            events_a_day=9,
            timezone="America/Los_Angeles",
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
        ),
        DemoCustomer(
            external_id="fabrikam",
            name="Fabrikam Inc.",
            plan="starter",
            country="US",
            city="Chicago",
            joins_month=1,
            join_day=15,
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
    meters=(_JOBS, _PEAK),
    plans=(
        {
            "plan": "team",
            "name": "Team",
            "currency": "EUR",
            "interval": {"unit": "month", "count": 1},
            "base_fee": {"amount": "49.00", "timing": "advance"},
            "rounding": "half_even",
            "charges": [
                {
                    "code": "compute",
                    "meter": "compute_minutes",
                    "model": "graduated",
                    "tiers": [{"up_to": "1000", "unit_rate": "0.04"}, {"up_to": None, "unit_rate": "0.025"}],
                    "unit": "minutes",
                    "description": "Compute minutes",
                },
                {
                    "code": "seats",
                    "meter": "peak_seats",
                    "model": "per_unit",
                    "included_units": "3",
                    "unit_rate": "8.00",
                    "unit": "seats",
                    "description": "Seats above three",
                },
            ],
            "features": _FEATURES,
            "examples": [{"usage": {"compute_minutes": "1200", "peak_seats": "5"}, "total": "110.00"}],
        },
    ),
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
