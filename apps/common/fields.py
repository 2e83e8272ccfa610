"""Column types that say their unit."""

from typing import Any

from django.db import models


class MinorUnitsField(models.BigIntegerField):
    """An amount of money in the currency's smallest unit; the currency stands on the owning row."""

    description = "Integer minor units"


class CurrencyField(models.CharField):
    """An ISO 4217 code in capitals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 3
        super().__init__(*args, **kwargs)


class QuantityField(models.DecimalField):
    """A quantity of units; numeric without a float anywhere on its way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_digits"] = 38
        kwargs["decimal_places"] = 12
        super().__init__(*args, **kwargs)
