"""Money, numbers and times the way people of a locale write them, digits always the currency's own."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache

from apps.common import attempts, formatting

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "text"),
    [
        (123_450, "USD", "en", "$1,234.50"),
        (-500, "USD", "en", "-$5.00"),
        (123_450, "EUR", "de", "1.234,50\xa0€"),
        (1_200, "JPY", "en", "¥1,200"),
        (12_345, "KWD", "en", "KWD12.345"),
        # CLDR drops the digits of currencies that have no coins for them; ISO 4217 has two, and so do the books.
        (1_250, "AFN", "en", "AFN12.50"),
        (123_450, "USD", "xx-nowhere", "$1,234.50"),
        (10**15, "USD", "en", "$10,000,000,000,000.00"),
    ],
)
def test_money_has_the_digits_of_its_currency(minor, currency, locale, text):
    """S250: no division by a hundred; each currency has its own number of digits."""
    assert formatting.money_text(minor, currency, locale) == text


def test_document_amounts_are_read_exactly():
    assert formatting.decimal_amount_text("1234.50", "USD") == "$1,234.50"
    assert formatting.decimal_amount_text("0.1", "KWD") == "KWD0.100"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1234567.125000"), "1,234,567.125"),
        (Decimal("4E+3"), "4,000"),
        (Decimal("0.000000000001"), "0.000000000001"),
        (0, "0"),
        ("12.50", "12.5"),
    ],
)
def test_numbers_keep_all_their_digits(value, text):
    assert formatting.number_text(value) == text


def test_whole_days_are_named_by_first_and_last():
    assert formatting.period_text(JANUARY, FEBRUARY) == "Jan 1, 2026 \N{EN DASH} Jan 31, 2026"
    assert formatting.period_text(JANUARY, JANUARY + timedelta(days=1)) == "Jan 1, 2026"
    assert formatting.period_text(JANUARY, FEBRUARY, "UTC", "de") == "01.01.2026 \N{EN DASH} 31.01.2026"


def test_other_periods_show_both_instants_with_their_zone():
    text = formatting.period_text(JANUARY, FEBRUARY, "Europe/Berlin")
    assert text == "Jan 1, 2026, 01:00 CET \N{EN DASH} Feb 1, 2026, 01:00 CET"


def test_dates_and_instants():
    assert formatting.date_text(date(2026, 1, 15)) == "Jan 15, 2026"
    at = datetime(2026, 7, 1, 12, 5, 9, tzinfo=UTC)
    assert formatting.instant_text(at, "Europe/London") == "Jul 1, 2026, 13:05 BST"
    assert formatting.instant_text(at, has_seconds=True) == "Jul 1, 2026, 12:05:09 UTC"
    assert formatting.instant_parse("2026-07-01T12:05:09Z") == at


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=59), "under a minute"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(hours=23, minutes=59), "23 hours"),
        (timedelta(days=3), "3 days"),
    ],
)
def test_ages(age, text):
    assert formatting.age_text(JANUARY, JANUARY + age) == text


def test_unknown_locales_are_english():
    assert formatting.locale_is_known("de-AT")
    assert not formatting.locale_is_known("xx-nowhere")
    assert str(formatting.locale_of("nonsense!")) == "en"


def test_tries_are_counted_by_key_and_forgotten_after_success():
    cache.clear()
    allowed = [attempts.attempt_allow(key="a", limit=2, window_seconds=60) for _ in range(3)]
    assert allowed == [True, True, False]
    assert attempts.attempt_allow(key="b", limit=2, window_seconds=60)
    attempts.attempts_forget(key="a")
    assert attempts.attempt_allow(key="a", limit=2, window_seconds=60)
