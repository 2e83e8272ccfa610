"""Tax rates in the back office."""

from apps.common.admin import RecordAdmin, number_column
from apps.taxes.models import TaxRate


class TaxRateAdmin(RecordAdmin):
    """A rate from a day on."""

    purpose = "Rates by country, category and day. A rate stays readable for ever, because documents were taxed by it."
    list_display = ("country", "region", "category", "name", "rate_money", "valid_from_date")
    list_filter = ("country", "category")
    search_fields = ("country", "category", "name")
    fact_fields = ("country", "region", "category", "name", "rate_money", "valid_from_date")

    rate_money = number_column("rate_percent", "Percent")


RECORDS = ((TaxRate, TaxRateAdmin),)
