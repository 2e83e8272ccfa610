"""Customers and their clocks in the back office."""

from apps.common.admin import RecordAdmin
from apps.customers.models import Customer, TestClock


class CustomerAdmin(RecordAdmin):
    """Whom the tenant bills."""

    purpose = "Whom you bill. Documents copy what they print, so a change here never alters an issued invoice."
    list_display = ("name", "external_id", "email", "country", "currency", "test_clock")
    list_filter = ("currency", "country", "is_auto_collected")
    search_fields = ("name", "external_id", "email", "tax_id")
    list_select_related = ("test_clock",)
    fact_fields = (
        "name",
        "external_id",
        "email",
        "address_line1",
        "address_line2",
        "postal_code",
        "city",
        "region",
        "country",
        "tax_id",
        "currency",
        "timezone",
        "locale",
        "payment_terms_days",
        "is_auto_collected",
        "test_clock",
    )


class TestClockAdmin(RecordAdmin):
    """Movable time."""

    view_permissions = ("records.view", "clock.advance")
    purpose = "Customers on a test clock live at its time: move it, and everything that falls due on the way happens."
    list_display = ("name", "now_at")
    search_fields = ("name",)
    fact_fields = ("name", "now_at")


RECORDS = ((Customer, CustomerAdmin), (TestClock, TestClockAdmin))
