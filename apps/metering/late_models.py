"""What is kept about usage that came late: how far the follower is, what was billed as seen when, what came after."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from apps.common.fields import CurrencyField, MinorUnitsField
from apps.common.models import Entity
from apps.common.triggers import fixed_columns, undeletable
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel


class UsageFollower(Entity):
    """
    How far the follower is; one row.

    Everything visible in `done_snapshot` was processed; what became visible up to `reached_snapshot` is next, as soon
    as all transactions that ran at that moment have ended.
    """

    id_prefix = "fol"

    done_snapshot = models.TextField(help_text="A pg_snapshot: what it shows was processed.")
    reached_snapshot = models.TextField(help_text="A pg_snapshot: what it shows is processed next.")
    moved_at = models.DateTimeField(null=True, blank=True)
    is_only_row = models.BooleanField(default=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["is_only_row"], name="usage_follower_once"),
            models.CheckConstraint(name="usage_follower_one_row", condition=Q(is_only_row=True)),
        ]
        triggers = undeletable(name="usage_follower_kept")

    def __str__(self) -> str:
        return f"{self.done_snapshot} -> {self.reached_snapshot}"


class UsageNews(models.Model):
    """A customer of whom there is new usage, until whoever bills usage event by event has looked at it."""

    customer_id = models.UUIDField(primary_key=True)
    # Rises with every piece of news: whoever looked takes away what it saw, and nothing that came meanwhile.
    number = models.BigIntegerField(default=1)
    received_at = models.DateTimeField(help_text="Of the newest event.")

    class Meta:
        verbose_name_plural = "usage news"

    def __str__(self) -> str:
        return str(self.customer_id)


class LatePolicy(models.TextChoices):
    """What becomes of usage that comes after its document was final."""

    NEXT_INVOICE = "next_invoice", "Next invoice: the difference is a line on the customer's next document"
    OWN_DOCUMENT = "own_document", "Own document: the difference is billed at once, on a document of its own"
    HOLD = "hold", "Hold: the document waits until its sources have told of the whole period"


class LateUsagePolicy(Entity):
    """How long documents wait for usage, and what becomes of what comes later: of the tenant, or of one meter."""

    id_prefix = "lup"

    meter_code = models.CharField(max_length=60, blank=True, unique=True, help_text="Empty: the tenant's own.")
    policy = models.CharField(max_length=16, choices=LatePolicy)
    grace_hours = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Hours a draft waits for late usage; empty takes the seller's."
    )
    hold_hours_max = models.PositiveSmallIntegerField(
        default=72, help_text="With hold: the document is final so many hours after its period, whatever is missing."
    )
    approved_up_to = models.DecimalField(
        max_digits=18,
        decimal_places=3,
        default=100,
        help_text="In whole units of the document's currency, either way; above it, a person approves the difference.",
    )
    alone_after_hours = models.PositiveSmallIntegerField(
        default=72, help_text="What no further document takes up gets one of its own after so many hours."
    )
    is_settled_automatically = models.BooleanField(
        default=True, help_text="Without it, late usage waits in the inbox until somebody settles it."
    )
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "late usage policies"
        constraints = [
            models.CheckConstraint(name="late_policy_known", condition=Q(policy__in=LatePolicy.values)),
            models.CheckConstraint(
                name="late_policy_in_range",
                condition=Q(hold_hours_max__range=(1, 744))
                & Q(alone_after_hours__range=(0, 8_784))
                & Q(approved_up_to__gte=0)
                & (Q(grace_hours__isnull=True) | Q(grace_hours__lte=744)),
            ),
        ]
        triggers = undeletable(name="late_policy_kept")

    def __str__(self) -> str:
        return f"{self.meter_code or 'all meters'}: {self.policy}"


class UsageWindow(Entity):
    """
    The usage of one meter and subscription in one period, billed as `snapshot` saw it.

    What the snapshot does not show came late. When late usage is settled, the snapshot moves on to what was read then.
    """

    id_prefix = "uwi"

    customer_id = models.UUIDField()
    subscription_id = models.UUIDField()
    meter = models.ForeignKey("metering.Meter", on_delete=models.PROTECT, related_name="windows")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    snapshot = models.TextField(help_text="A pg_snapshot: the events and cancellations that are accounted for.")
    # The billing period, which is above this app.
    source_type = models.CharField(max_length=60)
    source_id = models.UUIDField()
    closed_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["subscription_id", "meter", "starts_at"], name="usage_window_once"),
            models.CheckConstraint(name="usage_window_ahead", condition=Q(ends_at__gt=F("starts_at"))),
        ]
        indexes = [
            models.Index(fields=["customer_id", "ends_at"], name="usage_window_customer"),
            models.Index(fields=["source_id"], name="usage_window_source"),
        ]
        triggers = [
            *fixed_columns(
                name="usage_window_fixed",
                columns=("customer_id", "subscription_id", "meter_id", "starts_at", "source_type", "source_id"),
            ),
            *undeletable(name="usage_window_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.meter_id} from {self.starts_at.isoformat()}"


class LateUsageStatus(models.TextChoices):
    """What became of usage that came late."""

    FOUND = "FOUND", "Found: counted and kept, on no document yet"
    ADJUSTED = "ADJUSTED", "Adjusted: the difference is an adjustment"
    NOTHING_DUE = "NOTHING_DUE", "Nothing due: it changes no amount"
    WAIVED = "WAIVED", "Waived: somebody decided not to bill it, with a reason"


LATE_USAGE_EDGES = (
    Edge("adjust", (LateUsageStatus.FOUND,), LateUsageStatus.ADJUSTED),
    Edge("settle", (LateUsageStatus.FOUND,), LateUsageStatus.NOTHING_DUE),
    Edge("waive", (LateUsageStatus.FOUND, LateUsageStatus.ADJUSTED), LateUsageStatus.WAIVED),
)


class LateUsage(LifecycleModel):
    """Events and cancellations that came after their window was billed, one row per window until it is settled."""

    id_prefix = "lat"
    edges = LATE_USAGE_EDGES
    initial_status = LateUsageStatus.FOUND

    window = models.ForeignKey(UsageWindow, on_delete=models.PROTECT, related_name="late_usage")
    event_count = models.BigIntegerField(default=0)
    cancelled_count = models.BigIntegerField(default=0)
    first_occurred_at = models.DateTimeField()
    last_occurred_at = models.DateTimeField()
    first_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    # Estimated by the real re-rating, rolled back; kept when it is settled.
    quantity_before = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    quantity_after = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    effect_minor = MinorUnitsField(null=True, blank=True, help_text="Of all late usage of the period, before tax.")
    currency = CurrencyField(blank=True)
    estimated_at = models.DateTimeField(null=True, blank=True)
    waits_because = models.TextField(blank=True, help_text="Why it is not settled by itself, and what to do.")
    adjustment_id = models.UUIDField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.TextField(blank=True, help_text="What became of it, in words.")
    status = FSMField(choices=LateUsageStatus, default=LateUsageStatus.FOUND, protected=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "late usage"
        constraints = [
            models.CheckConstraint(name="late_usage_status_known", condition=Q(status__in=LateUsageStatus.values)),
            models.UniqueConstraint(fields=["window"], condition=Q(status="FOUND"), name="late_usage_one_open"),
            models.CheckConstraint(
                name="late_usage_counts_something",
                condition=Q(event_count__gte=0, cancelled_count__gte=0)
                & (Q(event_count__gt=0) | Q(cancelled_count__gt=0)),
            ),
            models.CheckConstraint(
                name="late_usage_adjusted_has_adjustment",
                condition=~Q(status="ADJUSTED") | Q(adjustment_id__isnull=False),
            ),
        ]
        indexes = [models.Index(fields=["-id"], name="late_usage_open", condition=Q(status="FOUND"))]
        triggers = [
            *status_triggers(name="late_usage_status_edges", initial=LateUsageStatus.FOUND, edges=LATE_USAGE_EDGES),
            *undeletable(name="late_usage_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.event_count} events late"

    @transition(field=status, source=LateUsageStatus.FOUND, target=LateUsageStatus.ADJUSTED)
    def adjust(self, *, at: datetime) -> None:
        """Mark that the difference is an adjustment."""
        self.resolved_at = at

    @transition(field=status, source=LateUsageStatus.FOUND, target=LateUsageStatus.NOTHING_DUE)
    def settle(self, *, at: datetime) -> None:
        """Mark that nothing is due for it."""
        self.resolved_at = at

    @transition(field=status, source=[LateUsageStatus.FOUND, LateUsageStatus.ADJUSTED], target=LateUsageStatus.WAIVED)
    def waive(self, *, at: datetime) -> None:
        """Mark that it is not billed, on purpose."""
        self.resolved_at = at
