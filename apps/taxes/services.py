"""Write tax rates."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from apps.audit import services as audit_services
from apps.common import locks
from apps.common.actors import Actor
from apps.common.db import unit_of_work
from apps.common.errors import FieldProblem
from apps.engine.errors import InvalidDecimal
from apps.engine.exact import decimal_text
from apps.engine.money import parse_decimal
from apps.messaging import services as messaging_services
from apps.taxes.errors import TaxRateExists, TaxRateInvalid
from apps.taxes.models import TaxRate
from apps.taxes.selectors import CATEGORY_DEFAULT

RATE_DECIMALS_MAX = 4
_COUNTRY = re.compile(r"[A-Z]{2}")
_CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRateInput:
    """A rate from a day on; `rate_percent` is a decimal string such as "19" or "8.875", percent of the net amount."""

    country: str
    rate_percent: str
    valid_from_date: date
    name: str
    category: str = CATEGORY_DEFAULT
    region: str = ""


@unit_of_work
def tax_rate_add(*, data: TaxRateInput, actor: Actor, at: datetime) -> TaxRate:
    """
    Add a rate, and return it; it ends the one before it for the same place and category on its first day.

    :raises TaxRateInvalid: naming every field that cannot be accepted
    :raises TaxRateExists: if that day has a rate already
    """
    rate_percent = _checked(data)
    region, name = data.region.strip(), data.name.strip()
    # Locked by name: region names that differ only in case mean the same place, which no constraint sees.
    locks.advisory_lock(f"tax-rate:{data.country}:{data.category}")
    taken = TaxRate.objects.filter(
        country=data.country, region__iexact=region, category=data.category, valid_from_date=data.valid_from_date
    ).first()
    if taken is not None:
        raise TaxRateExists(
            f"From {taken.valid_from_date.isoformat()} the rate is {decimal_text(taken.rate_percent)} % already "
            f"({taken.public_id}); a correction takes effect on a later day.",
            facts={"rate": taken.public_id},
        )
    rate = TaxRate.objects.create(
        country=data.country,
        region=region,
        category=data.category,
        name=name,
        rate_percent=rate_percent,
        valid_from_date=data.valid_from_date,
    )
    facts = {
        "country": rate.country,
        "region": rate.region,
        "category": rate.category,
        "name": rate.name,
        "rate_percent": decimal_text(rate_percent),
        "valid_from_date": rate.valid_from_date.isoformat(),
    }
    audit_services.entry_write(entity=rate, action="create", actor=actor, at=at, before={}, after=facts)
    messaging_services.event_publish(
        topic="taxes.tax_rate.added",
        aggregate_type=TaxRate._meta.label_lower,
        aggregate_id=rate.id,
        payload={"id": rate.public_id, **facts},
        actor=actor,
        at=at,
    )
    return rate


def _checked(data: TaxRateInput) -> Decimal:
    """Return the rate in percent when everything about it can be accepted."""
    problems: list[FieldProblem] = []
    if not isinstance(data.country, str) or _COUNTRY.fullmatch(data.country) is None:
        problems.append(_problem("country", 'must be a two-letter ISO 3166-1 code in capitals such as "DE"'))
    if not isinstance(data.category, str) or _CATEGORY.fullmatch(data.category) is None:
        problems.append(_problem("category", f'must be a code such as "{CATEGORY_DEFAULT}": a-z, 0-9 and _, up to 40'))
    for field, length_max, is_required in (("name", 60, True), ("region", 100, False)):
        value = getattr(data, field)
        if not isinstance(value, str) or not value.isprintable() or len(value) > length_max:
            problems.append(_problem(field, f"must be text of at most {length_max} characters on one line"))
        elif is_required and not value.strip():
            problems.append(_problem(field, 'is required; give the name as it is printed, such as "VAT"'))
    rate_percent = Decimal(0)
    try:
        rate_percent = parse_decimal(data.rate_percent, path="rate_percent", minimum=Decimal(0))
        if rate_percent > 100 or -int(rate_percent.as_tuple().exponent) > RATE_DECIMALS_MAX:
            detail = f"must lie from 0 to 100 with at most {RATE_DECIMALS_MAX} digits behind the point"
            problems.append(_problem("rate_percent", detail))
    except InvalidDecimal as error:
        problems.append(_problem("rate_percent", error.detail))
    if isinstance(data.valid_from_date, datetime) or not isinstance(data.valid_from_date, date):
        problems.append(_problem("valid_from_date", "must be a calendar day such as 2026-01-01"))
    if problems:
        listed = "; ".join(f"{problem.pointer[1:]} {problem.detail}" for problem in problems)
        raise TaxRateInvalid(f"The tax rate cannot be accepted: {listed}.", problems=tuple(problems))
    return rate_percent


def _problem(field: str, detail: str) -> FieldProblem:
    return FieldProblem(pointer=f"/{field}", code=f"{field}_invalid", detail=detail)
