"""What a caller hands over to make a customer."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerInput:
    """
    The profile of a new customer; the defaults are those of the table.

    `country` is ISO 3166-1 alpha-2 and decides taxes; `payment_terms_days` counts from the invoice date.
    """

    external_id: str
    name: str
    email: str = ""
    currency: str = "USD"
    timezone: str = "UTC"
    locale: str = "en"
    address_line1: str = ""
    address_line2: str = ""
    city: str = ""
    postal_code: str = ""
    region: str = ""
    country: str = ""
    tax_id: str = ""
    payment_terms_days: int = 14
    is_auto_collected: bool = True
    test_clock_id: UUID | None = None
