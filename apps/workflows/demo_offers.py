"""What the demo tenants measure and sell: data only."""

from typing import Any

_REQUESTS = {
    "code": "requests",
    "name": "API requests",
    "event_type": "http.request",
    "aggregation": "count",
    "group_by": ["region"],
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
_PAYMENTS = {
    "code": "payments",
    "name": "Payments taken",
    "event_type": "payment.captured",
    "aggregation": "sum",
    "value_property": "amount",
    "unit_name": "USD",
}
_REPORTS = {
    "code": "reports",
    "name": "Credit reports",
    "event_type": "report.ordered",
    "aggregation": "count",
    "unit_name": "reports",
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

_REGIONS = [{"values": {"region": "eu"}, "units": "40"}, {"values": {"region": "us"}, "units": "20"}]
_FEATURES = {"*": True, "sso": False, "projects": {"limit": "25"}}

ACME_METERS: tuple[dict[str, Any], ...] = (_REQUESTS, _TRAFFIC, _PAYMENTS, _REPORTS)
GLOBEX_METERS: tuple[dict[str, Any], ...] = (_JOBS, _PEAK)

ACME_PLANS: tuple[dict[str, Any], ...] = (
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
                "prices_by": {"property": "region", "match": {"eu": {"unit_rate": "0.16"}}, "default": {}},
                "unit": "requests",
                "description": "API requests",
            }
        ],
        "features": {**_FEATURES, "api_requests": {"limit": "100", "meter": "requests", "on_exceed": "reject"}},
        # The 50 included ones are the 40 from Europe and 10 others; 10 others are left.
        "examples": [{"usage": {"requests": {"groups": _REGIONS}}, "total": "31.00"}],
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
        "features": {
            **_FEATURES,
            "sso": True,
            "api_requests": {"limit": "300", "meter": "requests", "on_exceed": "notify"},
        },
        "examples": [{"usage": {"requests": "300", "traffic_gb": "10"}, "total": "126.40"}],
    },
    {
        "plan": "commerce",
        "name": "Commerce",
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "base_fee": {"amount": "19.00", "timing": "advance"},
        "trial_days": 14,
        "rounding": "half_up",
        "charges": [
            {
                "code": "payments",
                "meter": "payments",
                "model": "percentage",
                "rate_percent": "2.9",
                "fixed_fee": "0.30",
                "unit": "USD",
                "description": "Payments taken",
            },
            {
                "code": "reports",
                "meter": "reports",
                "model": "per_unit",
                "unit_rate": "2.50",
                "timing": "advance",
                "unit": "reports",
                "description": "Credit reports, billed as they are ordered",
            },
        ],
        "features": _FEATURES,
        "examples": [{"usage": {"payments": {"events": ["100.00"]}, "reports": "2"}, "total": "27.20"}],
    },
    {
        "plan": "enterprise",
        "name": "Enterprise",
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "commitment": {"amount": "60.00", "discount_percent": "10", "overage_factor": "1.25"},
        "rounding": "half_up",
        "charges": [
            {
                "code": "requests",
                "meter": "requests",
                "model": "per_unit",
                "unit_rate": "0.25",
                "unit": "requests",
                "description": "API requests",
            },
        ],
        "features": {**_FEATURES, "sso": True},
        "examples": [{"usage": {"requests": "200"}, "total": "60.00"}],
    },
)

GLOBEX_PLANS: tuple[dict[str, Any], ...] = (
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
        "features": {
            **_FEATURES,
            "compute": {"limit": "6000", "meter": "compute_minutes", "on_exceed": "throttle"},
        },
        "examples": [{"usage": {"compute_minutes": "1200", "peak_seats": "5"}, "total": "110.00"}],
    },
)
