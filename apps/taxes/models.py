"""Tax rates with validity dates; the static provider reads them."""

from django.db import models
from django.db.models import Q

from apps.common.models import Entity
from apps.common.triggers import append_only


class TaxRate(Entity):
    """
    A rate for one category in one jurisdiction from a day on; the next row for the same pair ends it.

    Append-only: a rate that was charged must stay readable.
    """

    id_prefix = "txr"

    country = models.CharField(max_length=2)
    region = models.CharField(max_length=100, blank=True)
    category = models.CharField(max_length=40)
    name = models.CharField(max_length=60, help_text="As printed, e.g. VAT.")
    rate_percent = models.DecimalField(max_digits=7, decimal_places=4)
    valid_from_date = models.DateField()

    class Meta:
        ordering = ["country", "region", "category", "-valid_from_date"]
        constraints = [
            models.UniqueConstraint(
                fields=["country", "region", "category", "valid_from_date"], name="tax_rate_once_per_day"
            ),
            models.CheckConstraint(name="tax_rate_is_percent", condition=Q(rate_percent__gte=0, rate_percent__lte=100)),
            models.CheckConstraint(name="tax_rate_country_is_code", condition=Q(country__regex="^[A-Z]{2}$")),
        ]
        triggers = append_only(name="tax_rate_append_only")

    def __str__(self) -> str:
        return f"{self.name} {self.country} {self.category} {self.rate_percent} %"
