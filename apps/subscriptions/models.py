"""A customer on a plan version, and the stored periods to be billed."""

from datetime import datetime

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django_fsm import FSMField, transition

from apps.common.fields import QuantityField
from apps.common.models import Entity
from apps.common.triggers import fixed_columns, frozen_when, undeletable
from apps.customers.models import Customer
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel
from apps.plans.models import PlanVersion
from apps.subscriptions import special_terms  # noqa: F401  Django finds models through this module


class SubscriptionStatus(models.TextChoices):
    """What is; plans for the future are rows of their own."""

    PENDING = "PENDING", "Pending: agreed, not begun"
    TRIALING = "TRIALING", "Trialing: used, and not yet billed"
    ACTIVE = "ACTIVE", "Active: used and billed"
    PAUSED = "PAUSED", "Paused: agreed to rest for a while"
    ENDED = "ENDED", "Ended: no further period begins"


_S = SubscriptionStatus
SUBSCRIPTION_EDGES = (
    Edge("begin_trial", (_S.PENDING,), _S.TRIALING),
    Edge("activate", (_S.PENDING, _S.TRIALING), _S.ACTIVE),
    Edge("pause", (_S.ACTIVE,), _S.PAUSED),
    Edge("resume", (_S.PAUSED,), _S.ACTIVE),
    Edge("end", (_S.PENDING, _S.TRIALING, _S.ACTIVE, _S.PAUSED), _S.ENDED),
)


class AnchorKind(models.TextChoices):
    """Where period boundaries come from."""

    ANNIVERSARY = "anniversary", "Anniversary: counted from the subscription's own day and time"
    CALENDAR = "calendar", "Calendar: the first of the month, Monday, midnight"


class PauseMode(models.TextChoices):
    """What a pause does to the clock and to the fees."""

    FREEZE = "freeze", "Freeze: time stands still, nothing is billed, and what is left of the period is served later"
    KEEP_FIXED = "keep_fixed", "Keep fixed: periods and fixed fees go on, usage is not billed"


class ProrationMode(models.TextChoices):
    """How a change in mid-period divides the fixed fees."""

    BY_SECOND = "by_second", "By second: elapsed time, exact"
    BY_DAY = "by_day", "By day: calendar days in the subscription's zone"
    NONE = "none", "None: the fees of the running period stay as they are; new ones begin with the next period"


class Subscription(LifecycleModel):
    """A customer pinned to one plan version, with the anchor from which all its periods are computed."""

    id_prefix = "sub"
    edges = SUBSCRIPTION_EDGES
    initial_status = SubscriptionStatus.PENDING

    external_id = models.CharField(max_length=120, unique=True, null=True, blank=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="subscriptions")
    status = FSMField(choices=SubscriptionStatus, default=SubscriptionStatus.PENDING, protected=True)
    quantity = QuantityField(default=1, help_text="How many of what a plan sells by the piece, such as seats.")
    starts_at = models.DateTimeField()
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    anchor_kind = models.CharField(max_length=12, choices=AnchorKind)
    # Wall-clock time in `timezone`: a boundary is a local hour, not a number of seconds.
    anchor_wall = models.DateTimeField(help_text="Local date and time of the anchor, stored as if it were UTC.")
    timezone = models.CharField(max_length=64)
    activated_at = models.DateTimeField(null=True, blank=True)
    pause_mode = models.CharField(max_length=10, choices=PauseMode, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="subscription_status_known", condition=Q(status__in=SubscriptionStatus.values)),
            models.CheckConstraint(name="subscription_quantity_not_negative", condition=Q(quantity__gte=0)),
            models.CheckConstraint(
                name="subscription_trial_after_start",
                condition=Q(trial_ends_at__isnull=True) | Q(trial_ends_at__gt=F("starts_at")),
            ),
            models.CheckConstraint(
                name="subscription_paused_says_how",
                condition=~Q(status="PAUSED") | (Q(pause_mode__in=PauseMode.values, paused_at__isnull=False)),
            ),
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

    @property
    def is_clock_stopped(self) -> bool:
        """Tell whether a pause stops the clock, so that no period runs."""
        return self.status == SubscriptionStatus.PAUSED and self.pause_mode == PauseMode.FREEZE

    @transition(field=status, source=_S.PENDING, target=_S.TRIALING)
    def begin_trial(self, *, at: datetime) -> None:
        """Begin to be used without being billed."""

    @transition(field=status, source=[_S.PENDING, _S.TRIALING], target=_S.ACTIVE)
    def activate(self, *, at: datetime) -> None:
        """Begin to be used and billed."""
        self.activated_at = at

    @transition(field=status, source=_S.ACTIVE, target=_S.PAUSED)
    def pause(self, *, at: datetime) -> None:
        """Rest; the mode is set by the service in the same unit."""
        self.paused_at = at

    @transition(field=status, source=_S.PAUSED, target=_S.ACTIVE)
    def resume(self, *, at: datetime) -> None:
        """Go on."""
        self.paused_at, self.pause_mode = None, ""

    @transition(
        field=status,
        source=[_S.PENDING, _S.TRIALING, _S.ACTIVE, _S.PAUSED],
        target=_S.ENDED,
    )
    def end(self, *, at: datetime) -> None:
        """Stop for good; the period that holds this instant is the last."""
        self.ended_at = at


class ChangeKind(models.TextChoices):
    """What a change does to a subscription."""

    PLAN = "plan", "Plan: other terms, another quantity, or both"
    QUANTITY = "quantity", "Quantity: more or fewer pieces on the same terms"
    PAUSE = "pause", "Pause: rest, with or without fixed fees"
    RESUME = "resume", "Resume: go on"
    CANCEL = "cancel", "Cancel: end for good"


class SubscriptionChange(Entity):
    """
    One change of a subscription, agreed for an instant; a row, because a status never tells of the future.

    It is scheduled until it is applied or withdrawn, each once; what was agreed never changes.
    """

    id_prefix = "sch"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="changes")
    kind = models.CharField(max_length=10, choices=ChangeKind)
    effective_at = models.DateTimeField()
    plan_version = models.ForeignKey(PlanVersion, null=True, on_delete=models.PROTECT, related_name="changes_to")
    quantity = QuantityField(null=True)
    pause_mode = models.CharField(max_length=10, choices=PauseMode, blank=True)
    proration_mode = models.CharField(max_length=10, choices=ProrationMode)
    reason_code = models.CharField(max_length=60, blank=True)
    comment = models.CharField(max_length=500, blank=True)
    requested_by = models.CharField(max_length=120)
    requested_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["effective_at", "id"]
        constraints = [
            models.CheckConstraint(name="subscription_change_kind_known", condition=Q(kind__in=ChangeKind.values)),
            models.CheckConstraint(
                name="subscription_change_proration_known", condition=Q(proration_mode__in=ProrationMode.values)
            ),
            models.CheckConstraint(
                name="subscription_change_says_what",
                condition=Q(kind="plan", plan_version__isnull=False, pause_mode="")
                | Q(kind="quantity", plan_version__isnull=True, quantity__isnull=False, pause_mode="")
                | Q(kind="pause", plan_version__isnull=True, quantity__isnull=True, pause_mode__in=PauseMode.values)
                | Q(kind__in=["resume", "cancel"], plan_version__isnull=True, quantity__isnull=True, pause_mode=""),
            ),
            models.CheckConstraint(
                name="subscription_change_quantity_not_negative",
                condition=Q(quantity__isnull=True) | Q(quantity__gte=0),
            ),
            models.CheckConstraint(
                name="subscription_change_one_outcome",
                condition=Q(applied_at__isnull=True) | Q(withdrawn_at__isnull=True),
            ),
            # Two changes for one instant would need an order that nobody agreed.
            models.UniqueConstraint(
                fields=["subscription", "effective_at"],
                condition=Q(withdrawn_at__isnull=True),
                name="subscription_change_one_per_instant",
            ),
        ]
        indexes = [
            models.Index(
                fields=["effective_at"],
                name="subscription_change_due",
                condition=Q(applied_at__isnull=True, withdrawn_at__isnull=True),
            ),
        ]
        triggers = [
            *fixed_columns(
                name="subscription_change_agreed",
                columns=(
                    "subscription_id",
                    "kind",
                    "effective_at",
                    "plan_version_id",
                    "quantity",
                    "pause_mode",
                    "proration_mode",
                    "requested_by",
                    "requested_at",
                ),
            ),
            *frozen_when(
                name="subscription_change_frozen",
                condition="OLD.applied_at IS NOT NULL OR OLD.withdrawn_at IS NOT NULL",
                mutable=(),
            ),
            *undeletable(name="subscription_change_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.effective_at.isoformat()}"

    @property
    def is_scheduled(self) -> bool:
        """Tell whether the change still waits for its instant."""
        return self.applied_at is None and self.withdrawn_at is None


class BillingPeriodStatus(models.TextChoices):
    """How far the closing of a period has come."""

    OPEN = "OPEN", "Open: usage counts here"
    CLOSING = "CLOSING", "Closing: claimed by a billing run; a claim that stays is an alarm"
    CLOSED = "CLOSED", "Closed: its invoice exists, or nothing was due"


BILLING_PERIOD_EDGES = (
    Edge("claim", (BillingPeriodStatus.OPEN,), BillingPeriodStatus.CLOSING),
    Edge("close", (BillingPeriodStatus.CLOSING,), BillingPeriodStatus.CLOSED),
)


class BillingPeriodKind(models.TextChoices):
    """What is billed for the time of a period."""

    REGULAR = "REGULAR", "Regular: fixed fees and usage"
    TRIAL = "TRIAL", "Trial: usage and fees are shown, and cost nothing"
    FIXED_ONLY = "FIXED_ONLY", "Fixed only: a pause that keeps the fixed fees; usage is not billed"
    FROZEN = "FROZEN", "Frozen: a pause that stops the clock; nothing is billed"


class BillingPeriod(LifecycleModel):
    """
    A stored half-open interval to be billed, on terms that are the same for all of it.

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
    # The whole interval of which a first or divided period may be a part; proration divides by it.
    full_starts_at = models.DateTimeField()
    full_ends_at = models.DateTimeField()
    kind = models.CharField(max_length=10, choices=BillingPeriodKind, default=BillingPeriodKind.REGULAR)
    # The terms of this time: rating goes by the period, so a change never reaches back into what was agreed.
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="periods")
    quantity = QuantityField(default=1)
    timezone = models.CharField(max_length=64, help_text="Whose calendar days are counted, as it was agreed then.")
    # by_second or by_day; the same for all parts of a whole, or they would not sum to it.
    proration_mode = models.CharField(max_length=10, choices=ProrationMode, default=ProrationMode.BY_SECOND)
    is_whole_settled = models.BooleanField(
        default=False, help_text="A change without proration ended it: its fixed fees stand for the whole."
    )
    cut_from_at = models.DateTimeField(null=True, help_text="Where the period would have ended without a change.")
    is_credit_due = models.BooleanField(
        default=False, help_text="Fees billed in advance for the time from the end to cut_from_at are given back."
    )
    prepaid_by = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="prepays",
        help_text="The period whose fees cover this one, too.",
    )
    is_fixed_covered = models.BooleanField(
        default=False, help_text="No fixed fee is billed for this time: the period before it bears them whole."
    )
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
            models.CheckConstraint(name="billing_period_kind_known", condition=Q(kind__in=BillingPeriodKind.values)),
            models.CheckConstraint(
                name="billing_period_proration_known",
                condition=Q(proration_mode__in=[ProrationMode.BY_SECOND, ProrationMode.BY_DAY]),
            ),
            models.CheckConstraint(
                name="billing_period_covered_by_another",
                condition=Q(is_fixed_covered=False) | (Q(prepaid_by__isnull=False) & ~Q(kind="FROZEN")),
            ),
            models.CheckConstraint(
                name="billing_period_settled_when_cut",
                condition=Q(is_whole_settled=False) | Q(cut_from_at__isnull=False, is_credit_due=False),
            ),
            models.CheckConstraint(
                name="billing_period_cut_short",
                condition=Q(cut_from_at__isnull=True, is_credit_due=False) | Q(cut_from_at__gt=F("ends_at")),
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
            *frozen_when(
                name="billing_period_terms_fixed",
                condition="OLD.status <> 'OPEN'",
                # What closing writes; and the generated column, which has no value yet when this looks.
                mutable=(
                    "status",
                    "claim_token",
                    "claimed_until",
                    "closed_at",
                    "parked_at",
                    "park_reason",
                    "continues_at",
                ),
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
