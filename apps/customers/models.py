"""The parties a tenant bills, and the clocks some of them live by."""

import zoneinfo

from django.core.exceptions import ValidationError
from django.db import models

from apps.common.fields import CurrencyField
from apps.common.models import Entity
from apps.common.triggers import fixed_columns, forward_only, undeletable


def validate_timezone(value: str) -> None:
    """Refuse a zone that the IANA database does not know."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError(f"'{value}' is not an IANA time zone such as Europe/Berlin.") from error


class TestClock(Entity):
    """A movable clock: customers on it live at its time, for events, billing and books alike."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    id_prefix = "clk"

    name = models.CharField(max_length=100)
    now_at = models.DateTimeField(help_text="The instant at which its customers live; moves forward only.")

    class Meta:
        ordering = ["-id"]
        triggers = [
            *forward_only(name="test_clock_forward", column="now_at"),
            *undeletable(name="test_clock_kept"),
        ]

    def __str__(self) -> str:
        return self.name


class Customer(Entity):
    """The party a tenant bills, with its billing profile as of now; documents copy what they print."""

    id_prefix = "cus"

    external_id = models.CharField(max_length=120, unique=True, help_text="The caller's own code for the customer.")
    name = models.CharField(max_length=200)
    email = models.EmailField(max_length=254, blank=True)
    currency = CurrencyField(default="USD")
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    locale = models.CharField(max_length=20, default="en")
    address_line1 = models.CharField(max_length=200, blank=True)
    address_line2 = models.CharField(max_length=200, blank=True)
    city = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    region = models.CharField(max_length=100, blank=True)
    country = models.CharField(max_length=2, blank=True, help_text="ISO 3166-1 alpha-2; decides taxes.")
    tax_id = models.CharField(max_length=40, blank=True)
    payment_terms_days = models.PositiveSmallIntegerField(default=14)
    is_auto_collected = models.BooleanField(
        default=True, help_text="Charge the default method when an invoice is final."
    )
    test_clock = models.ForeignKey(TestClock, null=True, blank=True, on_delete=models.PROTECT, related_name="customers")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="customer_external_id_given", condition=~models.Q(external_id="")),
            models.CheckConstraint(name="customer_currency_is_code", condition=models.Q(currency__regex="^[A-Z]{3}$")),
            models.CheckConstraint(
                name="customer_country_is_code",
                condition=models.Q(country="") | models.Q(country__regex="^[A-Z]{2}$"),
            ),
            models.CheckConstraint(name="customer_terms_bounded", condition=models.Q(payment_terms_days__lte=365)),
        ]
        indexes = [models.Index(fields=["name"], name="customer_name")]
        triggers = [
            *fixed_columns(name="customer_fixed", columns=("external_id", "currency", "test_clock_id")),
            *undeletable(name="customer_kept"),
        ]

    def __str__(self) -> str:
        return self.name
