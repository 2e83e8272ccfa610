"""How much of a meter may be used in a window, what became of that limit, and what was told of it."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.common.fields import QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, fixed_columns, undeletable
from apps.customers.models import Customer

THRESHOLDS_DEFAULT = (80, 100)
THRESHOLD_PERCENT_MAX = 1_000


class LimitOrigin(models.TextChoices):
    """Who drew the line."""

    PLAN = "plan", "Plan: a feature of the plan version that the period is on"
    CUSTOMER = "customer", "Customer: a cap that the customer set"


class OnExceed(models.TextChoices):
    """What happens to usage above the limit."""

    REJECT = "reject", "Reject: an event that would go above is refused"
    THROTTLE = "throttle", "Throttle: events count, and the check asks the caller to slow down"
    NOTIFY = "notify", "Notify: events count, and somebody is told"


def thresholds_default() -> list[int]:
    """Return the percents at which somebody is told when nobody chose others."""
    return list(THRESHOLDS_DEFAULT)


class UsageLimit(Entity):
    """
    How much one customer may use of one meter in one exact window, and what happens above.

    `counter_id` is the live counter of the very same window. A row is never moved to another window: where a period is
    cut, its rows are withdrawn and others made.
    """

    id_prefix = "ulm"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="usage_limits")
    subscription_id = models.UUIDField(null=True, blank=True, help_text="Empty: all of the customer's events count.")
    meter = models.ForeignKey("metering.Meter", on_delete=models.PROTECT, related_name="limits")
    feature_code = models.CharField(max_length=60, help_text="The plan's feature; of a cap, the meter's code.")
    origin = models.CharField(max_length=8, choices=LimitOrigin)
    source_id = models.UUIDField(help_text="The plan version, or the cap, that says so.")
    limit_units = QuantityField(validators=[MinValueValidator(0)])
    on_exceed = models.CharField(max_length=8, choices=OnExceed)
    thresholds = ArrayField(models.PositiveSmallIntegerField(), default=thresholds_default)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    counter_id = models.UUIDField(help_text="The live counter of this window.")
    withdrawn_at = models.DateTimeField(null=True, blank=True, help_text="It holds no more; the row stays.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="usage_limit_has_length", condition=Q(starts_at__lt=F("ends_at"))),
            models.CheckConstraint(name="usage_limit_not_negative", condition=Q(limit_units__gte=0)),
            models.CheckConstraint(name="usage_limit_origin_known", condition=Q(origin__in=LimitOrigin.values)),
            models.CheckConstraint(name="usage_limit_on_exceed_known", condition=Q(on_exceed__in=OnExceed.values)),
            models.UniqueConstraint(
                fields=["source_id", "subscription_id", "feature_code", "starts_at", "ends_at"],
                condition=Q(withdrawn_at__isnull=True),
                nulls_distinct=False,
                name="usage_limit_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["customer", "ends_at"], condition=Q(withdrawn_at__isnull=True), name="usage_limit_customer"
            ),
            models.Index(fields=["counter_id"], name="usage_limit_counter"),
        ]
        triggers = [
            *fixed_columns(
                name="usage_limit_window_fixed",
                columns=(
                    "customer_id",
                    "subscription_id",
                    "meter_id",
                    "feature_code",
                    "origin",
                    "source_id",
                    "starts_at",
                    "ends_at",
                ),
            ),
            *undeletable(name="usage_limit_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.feature_code}: {self.limit_units.normalize():f} from {self.starts_at:%Y-%m-%d %H:%M}"


class UsageLimitChange(Entity):
    """What became of a limit: made, changed, withdrawn; who, when, from what to what."""

    id_prefix = "ulc"

    limit = models.ForeignKey(UsageLimit, on_delete=models.PROTECT, related_name="changes")
    changed_at = models.DateTimeField()
    changed_by_name = models.CharField(max_length=200)
    from_units = QuantityField(null=True, help_text="Empty: the limit was made.")
    to_units = QuantityField(null=True, help_text="Empty: the limit was withdrawn.")
    from_on_exceed = models.CharField(max_length=8, blank=True)
    to_on_exceed = models.CharField(max_length=8, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                name="usage_limit_change_says_what",
                condition=Q(from_units__isnull=False) | Q(to_units__isnull=False),
            ),
        ]
        triggers = append_only(name="usage_limit_change_append_only")

    def __str__(self) -> str:
        return f"{self.from_units} to {self.to_units}"


class UsageThreshold(Entity):
    """A share of a limit that usage has come to; told once, because there is one row of it."""

    id_prefix = "uth"

    limit = models.ForeignKey(UsageLimit, on_delete=models.PROTECT, related_name="reached")
    percent = models.PositiveSmallIntegerField()
    used_units = QuantityField()
    limit_units = QuantityField()
    reached_at = models.DateTimeField(help_text="When it was seen.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["limit", "percent"], name="usage_threshold_once"),
            models.CheckConstraint(
                name="usage_threshold_percent_known", condition=Q(percent__gte=1, percent__lte=THRESHOLD_PERCENT_MAX)
            ),
        ]
        triggers = append_only(name="usage_threshold_append_only")

    def __str__(self) -> str:
        return f"{self.percent} %"
