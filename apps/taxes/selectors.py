"""Decide taxes from what is known, and say so when nothing is."""

from datetime import date
from decimal import Decimal

from django.db.models import Q, QuerySet
from django.db.models.functions import Length

from apps.engine.exact import decimal_text
from apps.engine.tax import TaxDecision
from apps.taxes.errors import TaxRegimeUnknown
from apps.taxes.models import TaxRate

# What a charge without a category of its own falls under.
CATEGORY_DEFAULT = "standard"

NOT_REGISTERED, STATIC = "NOT_REGISTERED", "STATIC"
_ZERO = Decimal(0)


def tax_rates_queryset() -> QuerySet[TaxRate]:
    """Return all rates by place and category, the latest first."""
    return TaxRate.objects.order_by("country", "region", "category", "-valid_from_date")


def tax_decide(
    *,
    regime: str,
    seller_country: str,
    buyer_country: str,
    buyer_region: str,
    category: str | None,
    on_date: date,
) -> TaxDecision | None:
    """
    Return how a supply is taxed on a day, with the evidence, or None when that is not known.

    None is an answer of its own: unknown is not zero, and what holds such a line cannot be finalised.

    :raises TaxRegimeUnknown: if there is no such regime
    """
    named = category or CATEGORY_DEFAULT
    evidence = {"regime": regime, "seller_country": seller_country, "on_date": on_date.isoformat()}
    if regime == NOT_REGISTERED:
        return TaxDecision(
            category=named,
            jurisdiction=seller_country,
            rate_percent=_ZERO,
            treatment="not_registered",
            evidence=evidence,
        )
    if regime != STATIC:
        raise TaxRegimeUnknown(f"There is no tax regime '{regime}'; use {NOT_REGISTERED} or {STATIC}.")
    rate = tax_rate_valid(country=buyer_country, region=buyer_region, category=named, on_date=on_date)
    if rate is None:
        return None
    return TaxDecision(
        category=named,
        jurisdiction=f"{rate.country}-{rate.region}" if rate.region else rate.country,
        rate_percent=rate.rate_percent,
        treatment="taxed" if rate.rate_percent else "zero_rated",
        evidence={
            **evidence,
            "buyer_country": buyer_country,
            "buyer_region": buyer_region,
            "rate": rate.public_id,
            "rate_name": rate.name,
            "rate_percent": decimal_text(rate.rate_percent),
            "valid_from_date": rate.valid_from_date.isoformat(),
        },
    )


def tax_rate_valid(*, country: str, region: str, category: str, on_date: date) -> TaxRate | None:
    """Return the rate in force on a day: the region's own if it has one, else the whole country's."""
    return (
        TaxRate.objects.filter(Q(region__iexact=region) | Q(region=""), country=country, category=category)
        .filter(valid_from_date__lte=on_date)
        .annotate(region_length=Length("region"))
        .order_by("-region_length", "-valid_from_date")
        .first()
    )
