"""
What a customer's profile may say, field by field.

Each check returns the value as it is stored, or raises `ValueError` with the remedy; `profile_check` runs them all, so
that one answer names every field that is wrong. Nothing is cut to fit: a shortened name on an invoice is a wrong name.
"""

import functools
import unicodedata
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any, Final

from babel import Locale, UnknownLocaleError
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.db.models import CharField

from apps.common import ids
from apps.common.errors import FieldProblem
from apps.customers.models import Customer
from apps.engine import currencies

PAYMENT_TERMS_DAYS_MAX: Final = 365
# Links of the time zone database to whatever the machine is set to: the same name, another zone elsewhere.
_MACHINE_ZONES: Final = frozenset({"localtime", "Factory"})
# Two-letter codes of the territory list that are not countries of ISO 3166-1: groupings, exceptional reservations,
# the unknown territory and two pseudo-locales.
_NOT_COUNTRIES: Final = frozenset(["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"])

# Control characters, halves of surrogate pairs, line and paragraph separators: no column or document can hold them.
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})

Check = Callable[[object], Any]


def profile_check(*, values: Mapping[str, object]) -> tuple[dict[str, Any], tuple[FieldProblem, ...]]:
    """Return the values as they are stored, and a problem for each field that cannot be accepted."""
    accepted: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for name, value in values.items():
        try:
            accepted[name] = CHECKS[name](value)
        except ValueError as error:
            problems.append(FieldProblem(pointer=f"/{name}", code=_code_of(name, value), detail=str(error)))
    return accepted, tuple(problems)


def text_check(value: object, *, length_max: int, is_required: bool = False) -> str:
    """Return text that fits, without control characters and without space at its ends."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {type(value).__name__}; put it in quotes")
    if any(unicodedata.category(character) in _UNPRINTABLE for character in value):
        raise ValueError("holds a control character or a line break; remove it")
    text = value.strip()
    if is_required and not text:
        raise ValueError("is required; give it as text")
    if len(text) > length_max:
        raise ValueError(f"has {len(text)} characters; at most {length_max} are possible")
    return text


def _text(name: str, *, is_required: bool = False) -> Check:
    field = Customer._meta.get_field(name)
    assert isinstance(field, CharField)  # noqa: S101  # named below, from the table; this line is for the type checker
    return functools.partial(text_check, length_max=field.max_length or 0, is_required=is_required)


def _external_id(value: object) -> str:
    text = text_check(value, length_max=120, is_required=True)
    if ids.looks_public(text):
        raise ValueError("reads like an id of ours, and would be taken for one; choose another code")
    return text


def _email(value: object) -> str:
    text = text_check(value, length_max=254)
    if text:
        try:
            EmailValidator()(text)
        except ValidationError as error:
            raise ValueError("is not an email address; write it like name@example.com") from error
    return text


def _currency(value: object) -> str:
    if not isinstance(value, str) or not currencies.is_known(value):
        raise ValueError('is not a currency; use a three-letter ISO 4217 code in capitals such as "USD"')
    return value


def _timezone(value: object) -> str:
    if not isinstance(value, str) or value not in _timezones():
        raise ValueError('is not an IANA time zone; use a name such as "Europe/Berlin" or "UTC"')
    return value


@functools.cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - _MACHINE_ZONES


def _locale(value: object) -> str:
    """Return the locale in the one spelling that formatting reads, e.g. `de_AT` for `de-AT`."""
    text = text_check(value, length_max=20, is_required=True)
    try:
        return str(Locale.parse(text.replace("-", "_")))
    except (UnknownLocaleError, ValueError) as error:
        raise ValueError('is not a known locale; use a language such as "en" or "de-AT"') from error


def _country(value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or value not in _countries():
        raise ValueError('is not a country; use a two-letter ISO 3166-1 code in capitals such as "DE"')
    return value


@functools.cache
def _countries() -> frozenset[str]:
    codes = (str(code) for code in Locale("en").territories)
    return frozenset(code for code in codes if len(code) == 2 and code.isalpha()) - _NOT_COUNTRIES


def _payment_terms_days(value: object) -> int:
    if type(value) is not int or not 0 <= value <= PAYMENT_TERMS_DAYS_MAX:  # True is an int to Python, not a term
        raise ValueError(f"must be a whole number of days from 0 to {PAYMENT_TERMS_DAYS_MAX}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _code_of(name: str, value: object) -> str:
    if value in ("", None):
        return "required"
    return f"{name}_unknown" if name in ("currency", "timezone", "locale", "country") else f"{name}_invalid"


CHECKS: Final[Mapping[str, Check]] = {
    "external_id": _external_id,
    "name": _text("name", is_required=True),
    "email": _email,
    "currency": _currency,
    "timezone": _timezone,
    "locale": _locale,
    "address_line1": _text("address_line1"),
    "address_line2": _text("address_line2"),
    "city": _text("city"),
    "postal_code": _text("postal_code"),
    "region": _text("region"),
    "country": _country,
    "tax_id": _text("tax_id"),
    "payment_terms_days": _payment_terms_days,
    "is_auto_collected": _flag,
}
