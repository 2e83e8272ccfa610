"""A customer on a plan version, and the stored periods to be billed."""

from datetime import datetime

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django_fsm import FSMField, transition

from apps.common.triggers import undeletable
from apps.customers.models import Customer
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel
from apps.plans.models import PlanVersion


class SubscriptionStatus(models.TextChoices):
    """What is; plans for the future are rows of their own."""

    PENDING = "PENDING", "Pending: agreed, not begun"
    ACTIVE = "ACTIVE", "Active: used and billed"
    ENDED = "ENDED", "Ended: no further period begins"


SUBSCRIPTION_EDGES = (
    Edge("activate", (SubscriptionStatus.PENDING,), SubscriptionStatus.ACTIVE),
    Edge("end", (SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE), SubscriptionStatus.ENDED),
)


class AnchorKind(models.TextChoices):
    """Where period boundaries come from."""

    ANNIVERSARY = "anniversary", "Anniversary: counted from the subscription's own day and time"
    CALENDAR = "calendar", "Calendar: the first of the month, Monday, midnight"


class Subscription(LifecycleModel):
    """A customer pinned to one plan version, with the anchor from which all its periods are computed."""

    id_prefix = "sub"
    edges = SUBSCRIPTION_EDGES
    initial_status = SubscriptionStatus.PENDING

    external_id = models.CharField(max_length=120, unique=True, null=True, blank=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="subscriptions")
    status = FSMField(choices=SubscriptionStatus, default=SubscriptionStatus.PENDING, protected=True)
    starts_at = models.DateTimeField()
    anchor_kind = models.CharField(max_length=12, choices=AnchorKind)
    # Wall-clock time in `timezone`: a boundary is a local hour, not a number of seconds.
    anchor_wall = models.DateTimeField(help_text="Local date and time of the anchor, stored as if it were UTC.")
    timezone = models.CharField(max_length=64)
    activated_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="subscription_status_known", condition=Q(status__in=SubscriptionStatus.values)),
            models.CheckConstraint(name="subscription_anchor_known", condition=Q(anchor_kind__in=AnchorKind.values)),
            models.CheckConstraint(
                name="subscription_external_id_given", condition=Q(external_id__isnull=True) | ~Q(external_id="")
            ),
        ]
        triggers = [
            *status_triggers(
                name="subscription_status_edges", initial=SubscriptionStatus.PENDING, edges=SUBSCRIPTION_EDGES
            ),
            *undeletable(name="subscription_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.customer} on {self.plan_version}"

    @transition(field=status, source=SubscriptionStatus.PENDING, target=SubscriptionStatus.ACTIVE)
    def activate(self, *, at: datetime) -> None:
        """Begin."""
        self.activated_at = at

    @transition(
        field=status,
        source=[SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE],
        target=SubscriptionStatus.ENDED,
    )
    def end(self, *, at: datetime) -> None:
        """Stop for good; the running period is the last."""
        self.ended_at = at


class BillingPeriodStatus(models.TextChoices):
    """How far the closing of a period has come."""

    OPEN = "OPEN", "Open: usage counts here"
    CLOSING = "CLOSING", "Closing: claimed by a billing run; a claim that stays is an alarm"
    CLOSED = "CLOSED", "Closed: its invoice exists, or nothing was due"


BILLING_PERIOD_EDGES = (
    Edge("claim", (BillingPeriodStatus.OPEN,), BillingPeriodStatus.CLOSING),
    Edge("close", (BillingPeriodStatus.CLOSING,), BillingPeriodStatus.CLOSED),
)


class BillingPeriod(LifecycleModel):
    """
    A stored half-open interval to be billed.

    Periods tile by construction: every one but the first starts where another of the same subscription ends, which
    is a foreign key (`billing_period_continues`, migration 0002), so neither gap nor overlap can be written.
    """

    id_prefix = "per"
    edges = BILLING_PERIOD_EDGES
    initial_status = BillingPeriodStatus.OPEN

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="periods")
    sequence = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    # The whole interval of which a first period may be a part; proration divides by it.
    full_starts_at = models.DateTimeField()
    full_ends_at = models.DateTimeField()
    continues_at = models.GeneratedField(
        expression=Case(When(sequence=1, then=Value(None)), default=F("starts_at")),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
    )
    status = FSMField(choices=BillingPeriodStatus, default=BillingPeriodStatus.OPEN, protected=True)
    claim_token = models.UUIDField(null=True, help_text="Fences off a worker that was thought dead and wakes up.")
    claimed_until = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    parked_at = models.DateTimeField(null=True, blank=True)
    park_reason = models.TextField(blank=True, help_text="Why it could not be closed, and what to do.")

    class Meta:
        ordering = ["subscription", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["subscription", "sequence"], name="billing_period_sequence_once"),
            models.UniqueConstraint(fields=["subscription", "starts_at"], name="billing_period_starts_once"),
            models.UniqueConstraint(fields=["subscription", "ends_at"], name="billing_period_ends_once"),
            models.CheckConstraint(name="billing_period_not_empty", condition=Q(ends_at__gt=F("starts_at"))),
            models.CheckConstraint(
                name="billing_period_inside_full",
                condition=Q(full_starts_at__lte=F("starts_at"), full_ends_at__gte=F("ends_at")),
            ),
            models.CheckConstraint(
                name="billing_period_status_known", condition=Q(status__in=BillingPeriodStatus.values)
            ),
            models.CheckConstraint(
                name="billing_period_claim_whole",
                condition=~Q(status="CLOSING") | Q(claim_token__isnull=False, claimed_until__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["ends_at"], name="billing_period_due", condition=~Q(status="CLOSED")),
        ]
        triggers = [
            *status_triggers(
                name="billing_period_status_edges", initial=BillingPeriodStatus.OPEN, edges=BILLING_PERIOD_EDGES
            ),
            *undeletable(name="billing_period_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} #{self.sequence}"

    @transition(field=status, source=BillingPeriodStatus.OPEN, target=BillingPeriodStatus.CLOSING)
    def claim(self, *, at: datetime) -> None:
        """Take the period for closing; token and lease are set by the claiming service."""

    @transition(field=status, source=BillingPeriodStatus.CLOSING, target=BillingPeriodStatus.CLOSED)
    def close(self, *, at: datetime) -> None:
        """Record that the period has its invoice, or owes none."""
        self.closed_at = at
