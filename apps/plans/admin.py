"""Plans and their versions in the back office."""

from unfold.decorators import display

from apps.common import formatting
from apps.common.admin import RecordAdmin, number_column, status_column
from apps.plans.models import Charge, Cohort, CohortMember, Coupon, Feature, Plan, PlanVersion


class PlanAdmin(RecordAdmin):
    """An offer."""

    purpose = "What you sell. The terms are in the plan's versions; a published version never changes."
    list_before_template = "backoffice/plan_list_head.html"
    list_display = ("code", "name")
    search_fields = ("code", "name")
    fact_fields = ("code", "name")


class PlanVersionAdmin(RecordAdmin):
    """Terms."""

    purpose = "The terms of each plan, version by version. Subscriptions stay on the version they began with."
    list_display = ("plan", "version", "status_badge", "currency", "interval", "cohort", "effective_at", "published_at")
    list_filter = ("status", "currency")
    search_fields = ("plan__code", "plan__name")
    list_select_related = ("plan", "cohort")
    ordering = ("-id",)
    fact_fields = (
        "plan",
        "version",
        "status_badge",
        "currency",
        "interval",
        "rounding",
        "effective_at",
        "cohort",
        "published_at",
        "retired_at",
        "document_hash",
        "document",
    )

    status_badge = status_column({"DRAFT": "warning", "PUBLISHED": "success", "RETIRED": "neutral"})

    @display(description="Billed every")
    def interval(self, version: PlanVersion) -> str:
        """Return the billing interval in words."""
        count = version.interval_count
        return f"{version.interval_unit}" if count == 1 else f"{count} {version.interval_unit}s"


class ChargeAdmin(RecordAdmin):
    """One price."""

    purpose = "How one meter, or a fixed fee, is priced in a version."
    list_display = ("plan_version", "position", "code", "model", "meter", "timing")
    list_filter = ("model", "timing")
    search_fields = ("code", "plan_version__plan__code")
    list_select_related = ("plan_version__plan", "meter")
    ordering = ("-plan_version_id", "position")
    fact_fields = ("plan_version", "position", "code", "model", "meter", "timing", "terms")


class FeatureAdmin(RecordAdmin):
    """One grant."""

    purpose = "What a version grants. A limit is a number or is said to be unlimited; silence is neither."
    list_display = ("plan_version", "code", "is_granted", "limit_money", "is_unlimited", "meter", "on_exceed")
    list_filter = ("is_granted", "is_unlimited")
    search_fields = ("code", "plan_version__plan__code")
    list_select_related = ("plan_version__plan", "meter")
    ordering = ("-plan_version_id", "code")
    fact_fields = ("plan_version", "code", "is_granted", "limit_money", "is_unlimited", "meter", "on_exceed")

    limit_money = number_column("limit_units", "Limit")


class CohortAdmin(RecordAdmin):
    """Some of the customers."""

    purpose = "For whom a plan version can be published before all: customers named, or a share of an experiment."
    list_display = ("code", "name", "experiment", "share")
    search_fields = ("code", "name", "experiment")
    fact_fields = ("code", "name", "experiment", "share")

    @display(description="Share")
    def share(self, cohort: Cohort) -> str:
        """Return the range of the experiment."""
        if cohort.from_percent is None or cohort.to_percent is None:
            return "named customers only"
        return f"{formatting.number_text(cohort.from_percent)} to {formatting.number_text(cohort.to_percent)} %"


class CohortMemberAdmin(RecordAdmin):
    """One customer named in a cohort."""

    purpose = "Customers that belong to a cohort because somebody named them."
    list_display = ("cohort", "customer")
    search_fields = ("cohort__code", "customer__external_id", "customer__name")
    list_select_related = ("cohort", "customer")
    ordering = ("-id",)
    fact_fields = ("cohort", "customer")


class CouponAdmin(RecordAdmin):
    """One offer of a discount."""

    purpose = "Discounts that customers redeem by a code. Terms never change; withdrawing ends redemption only."
    list_display = ("code", "name", "takes", "duration", "redemptions", "redeem_by_at", "withdrawn_at")
    list_filter = ("kind", "duration")
    search_fields = ("code", "name")
    fact_fields = (
        "code",
        "name",
        "takes",
        "duration",
        "periods_count",
        "charge_codes",
        "plan_codes",
        "redemptions",
        "redeem_by_at",
        "withdrawn_at",
    )

    @display(description="Takes off")
    def takes(self, coupon: Coupon) -> str:
        """Return the amount or the percentage."""
        if coupon.percent is not None:
            return f"{formatting.number_text(coupon.percent)} %"
        return formatting.money_text(coupon.amount_minor or 0, coupon.currency)

    @display(description="Redeemed")
    def redemptions(self, coupon: Coupon) -> str:
        """Return how often it was redeemed, and how often it may be."""
        most = "no limit" if coupon.redemptions_max is None else f"{coupon.redemptions_max} at most"
        return f"{coupon.redemptions_count}, {most}"


RECORDS = (
    (Plan, PlanAdmin),
    (PlanVersion, PlanVersionAdmin),
    (Charge, ChargeAdmin),
    (Feature, FeatureAdmin),
    (Cohort, CohortAdmin),
    (CohortMember, CohortMemberAdmin),
    (Coupon, CouponAdmin),
)
