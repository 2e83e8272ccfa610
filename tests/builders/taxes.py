"""Reach tax rates through the service."""

from datetime import UTC, date, datetime

from apps.common.actors import OPERATOR
from apps.taxes import services
from apps.taxes.models import TaxRate
from apps.taxes.services import TaxRateInput

ADDED = datetime(2026, 1, 1, tzinfo=UTC)


def tax_rate(*, at: datetime = ADDED, **overrides) -> TaxRate:
    """Add a rate; German VAT from 2021 on unless said otherwise."""
    rate = {"country": "DE", "name": "VAT", "rate_percent": "19", "valid_from_date": date(2021, 1, 1)}
    return services.tax_rate_add(data=TaxRateInput(**(rate | overrides)), actor=OPERATOR, at=at)
