"""
Money, numbers and times as people of a locale write them; for pages, mails and papers, never for machines.

Patterns come from CLDR through Babel. The number of digits behind the point is the currency's by ISO 4217, as in the
engine: CLDR drops the digits that are rarely used in cash, and an invoice must not.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import NumberPattern, format_decimal, parse_pattern

from apps.engine import currencies

DEFAULT_LOCALE = "en"


def locale_of(text: str) -> Locale:
    """Return the locale named like `de-AT` or `de_AT`; what CLDR does not know is read as English."""
    return _locale_named(text) or Locale.parse(DEFAULT_LOCALE)


def locale_is_known(text: str) -> bool:
    """Return whether CLDR has this locale."""
    return _locale_named(text) is not None


@lru_cache(maxsize=256)
def _locale_named(text: str) -> Locale | None:
    try:
        return Locale.parse(text.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None


def money_text(minor: int, currency: str, locale: Locale | str = DEFAULT_LOCALE) -> str:
    """Return minor units as an amount with its currency, e.g. `$1,234.50` or `1.234,50 €`."""
    chosen = _locale(locale)
    digits = currencies.exponent(currency)
    pattern = _money_pattern(chosen, digits)
    text: str = pattern.apply(
        Decimal(minor).scaleb(-digits), chosen, currency=currency, currency_digits=False, decimal_quantization=True
    )
    return text


def decimal_amount_text(text: str, currency: str, locale: Locale | str = DEFAULT_LOCALE) -> str:
    """Return an amount given as decimal text of the currency (as documents keep it) the way people write it."""
    digits = currencies.exponent(currency)
    return money_text(int(Decimal(text).scaleb(digits)), currency, locale)


def number_text(value: Decimal | int | str, locale: Locale | str = DEFAULT_LOCALE) -> str:
    """Return an exact number with all its digits, grouped."""
    text: str = format_decimal(_plain(Decimal(value)), locale=_locale(locale), decimal_quantization=False)
    return text


def date_text(value: date, locale: Locale | str = DEFAULT_LOCALE, *, style: str = "medium") -> str:
    """Return a calendar date, e.g. `15 Jan 2026`."""
    text: str = format_date(value, format=style, locale=_locale(locale))
    return text


def instant_text(
    at: datetime, timezone: str = "UTC", locale: Locale | str = DEFAULT_LOCALE, *, has_seconds: bool = False
) -> str:
    """Return an instant as date, time and zone of a place, e.g. `Jan 15, 2026, 14:05 UTC`."""
    place = at.astimezone(ZoneInfo(timezone))
    # The zone's own abbreviation (CEST, EST): CLDR spells most of them as an offset.
    clock = f"{place:%H:%M:%S}" if has_seconds else f"{place:%H:%M}"
    return f"{date_text(place.date(), locale)}, {clock} {place.tzname()}"


def period_text(
    starts_at: datetime, ends_at: datetime, timezone: str = "UTC", locale: Locale | str = DEFAULT_LOCALE
) -> str:
    """Return a half-open period: by its first and last day when it consists of whole days, else by both instants."""
    zone = ZoneInfo(timezone)
    first, end = starts_at.astimezone(zone), ends_at.astimezone(zone)
    if first.time() == time() and end.time() == time():
        last_date = end.date() - timedelta(days=1)
        if last_date == first.date():
            return date_text(last_date, locale)
        return f"{date_text(first.date(), locale)} \N{EN DASH} {date_text(last_date, locale)}"
    return f"{instant_text(starts_at, timezone, locale)} \N{EN DASH} {instant_text(ends_at, timezone, locale)}"


def instant_parse(text: str) -> datetime:
    """Return the instant that a document holds as RFC 3339 text."""
    return datetime.fromisoformat(text).astimezone(UTC)


def age_text(since: datetime, at: datetime) -> str:
    """Return how long ago something was in its largest whole unit, e.g. `3 days`."""
    age = at - since
    for unit, span in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        count = age // span
        if count >= 1:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "under a minute"


def json_text(value: Any) -> str:
    """Return a stored JSON value for reading: indented, keys in order, letters unescaped."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)


@lru_cache(maxsize=1024)
def _money_pattern(locale: Locale, digits: int) -> NumberPattern:
    known = locale.currency_formats["standard"]
    # A copy: CLDR's own pattern is shared by all currencies of the locale, and digits differ by currency.
    pattern = parse_pattern(known.pattern)
    pattern.frac_prec = (digits, digits)
    return pattern


def _plain(value: Decimal) -> Decimal:
    # 4E+3 is how Decimal normalises 4000; people write it out.
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()


def _locale(locale: Locale | str) -> Locale:
    return locale if isinstance(locale, Locale) else locale_of(locale)
