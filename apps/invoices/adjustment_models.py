"""A difference to what issued documents billed, agreed before it becomes lines of a further document."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from apps.common.fields import CurrencyField, MinorUnitsField, QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, fixed_columns, undeletable
from apps.customers.models import Customer
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel
from apps.plans.models import PlanVersion
from apps.subscriptions.models import BillingPeriod, Subscription


class AdjustmentStatus(models.TextChoices):
    """How far a difference has come."""

    PENDING_APPROVAL = "PENDING_APPROVAL", "Pending approval: waits for somebody who did not make it"
    APPROVED = "APPROVED", "Approved: becomes lines of the next document"
    APPLIED = "APPLIED", "Applied: on a final document"
    REJECTED = "REJECTED", "Rejected: decided not to be billed or given back"
    CANCELED = "CANCELED", "Canceled: a later one has taken its place"


ADJUSTMENT_EDGES = (
    Edge("approve", (AdjustmentStatus.PENDING_APPROVAL,), AdjustmentStatus.APPROVED),
    Edge("reject", (AdjustmentStatus.PENDING_APPROVAL,), AdjustmentStatus.REJECTED),
    Edge("cancel", (AdjustmentStatus.PENDING_APPROVAL,), AdjustmentStatus.CANCELED),
    Edge("apply", (AdjustmentStatus.APPROVED,), AdjustmentStatus.APPLIED),
    Edge("give_back", (AdjustmentStatus.APPLIED,), AdjustmentStatus.APPROVED),
)


class AdjustmentReason(models.TextChoices):
    """Why what was billed is not what is owed."""

    LATE_USAGE = "late_usage", "Late usage: it came, or was corrected, after its period was billed"
    PRICING_RULE = "pricing_rule", "Pricing rule: the period was priced by a wrong rule"
    AGREEMENT = "agreement", "Agreement: agreed with the customer"


class Adjustment(LifecycleModel):
    """
    A debit or credit for the customer's next document, with the reason and who made it; its lines never change.

    `amount_minor` is the sum of its lines, before tax: above zero the customer owes it.
    """

    id_prefix = "adj"
    edges = ADJUSTMENT_EDGES
    initial_status = AdjustmentStatus.PENDING_APPROVAL

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="adjustments")
    subscription = models.ForeignKey(Subscription, null=True, on_delete=models.PROTECT, related_name="adjustments")
    billing_period = models.ForeignKey(
        BillingPeriod, null=True, on_delete=models.PROTECT, related_name="adjustments", help_text="What it is for."
    )
    plan_version = models.ForeignKey(
        PlanVersion, null=True, on_delete=models.PROTECT, related_name="+", help_text="Rated by it, not as agreed then."
    )
    currency = CurrencyField()
    amount_minor = MinorUnitsField(help_text="The sum of the lines, before tax.")
    reason_code = models.CharField(max_length=20, choices=AdjustmentReason)
    comment = models.CharField(max_length=500, blank=True)
    is_alone = models.BooleanField(default=False, help_text="Gets a document of its own at once.")
    # Who a person is does not change with the name; the name is kept beside it for reading.
    made_by = models.CharField(max_length=60, help_text="Kind and id of the actor.")
    made_by_name = models.CharField(max_length=200)
    made_at = models.DateTimeField()
    decided_by = models.CharField(max_length=60, blank=True, help_text="Kind and id of the actor.")
    decided_by_name = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_comment = models.CharField(max_length=500, blank=True)
    # The document it stands on, a draft while it is approved. Dead documents give it back.
    invoice = models.ForeignKey(
        "invoices.Invoice", null=True, blank=True, on_delete=models.PROTECT, related_name="adjustments"
    )
    applied_at = models.DateTimeField(null=True, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    status = FSMField(choices=AdjustmentStatus, default=AdjustmentStatus.PENDING_APPROVAL, protected=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="adjustment_status_known", condition=Q(status__in=AdjustmentStatus.values)),
            models.CheckConstraint(
                name="adjustment_reason_known", condition=Q(reason_code__in=AdjustmentReason.values)
            ),
            # The schedule may approve what its own rules made, up to the tenant's bound; people need another person.
            models.CheckConstraint(
                name="adjustment_four_eyes",
                condition=~Q(decided_by=F("made_by")) | Q(made_by__startswith="schedule"),
            ),
            models.CheckConstraint(
                name="adjustment_decision_whole",
                condition=Q(status__in=["PENDING_APPROVAL", "CANCELED"], decided_by="", decided_at__isnull=True)
                | (Q(status__in=["APPROVED", "APPLIED", "REJECTED"], decided_at__isnull=False) & ~Q(decided_by="")),
            ),
            models.CheckConstraint(
                name="adjustment_on_document_when_applied",
                condition=Q(status="APPLIED", invoice__isnull=False, applied_at__isnull=False)
                | Q(status="APPROVED")
                | Q(status__in=["PENDING_APPROVAL", "REJECTED", "CANCELED"], invoice__isnull=True),
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "currency"], name="adjustment_waits", condition=Q(status="APPROVED")),
            models.Index(fields=["billing_period"], name="adjustment_period"),
        ]
        triggers = [
            *status_triggers(
                name="adjustment_status_edges", initial=AdjustmentStatus.PENDING_APPROVAL, edges=ADJUSTMENT_EDGES
            ),
            *fixed_columns(
                name="adjustment_made_fixed",
                columns=(
                    "customer_id",
                    "subscription_id",
                    "billing_period_id",
                    "plan_version_id",
                    "currency",
                    "amount_minor",
                    "reason_code",
                    "comment",
                    "made_by",
                    "made_by_name",
                    "made_at",
                ),
            ),
            *undeletable(name="adjustment_kept"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @transition(field=status, source=AdjustmentStatus.PENDING_APPROVAL, target=AdjustmentStatus.APPROVED)
    def approve(self, *, at: datetime) -> None:
        """Let it become lines of the next document."""
        self.decided_at = at

    @transition(field=status, source=AdjustmentStatus.PENDING_APPROVAL, target=AdjustmentStatus.REJECTED)
    def reject(self, *, at: datetime) -> None:
        """Decide that it is neither billed nor given back."""
        self.decided_at = at

    @transition(field=status, source=AdjustmentStatus.PENDING_APPROVAL, target=AdjustmentStatus.CANCELED)
    def cancel(self, *, at: datetime) -> None:
        """Make room for a later one of the same period."""
        self.canceled_at = at

    @transition(field=status, source=AdjustmentStatus.APPROVED, target=AdjustmentStatus.APPLIED)
    def apply(self, *, at: datetime) -> None:
        """Record that it is on a final document."""
        self.applied_at = at

    @transition(field=status, source=AdjustmentStatus.APPLIED, target=AdjustmentStatus.APPROVED)
    def give_back(self, *, at: datetime) -> None:
        """Record that its document died; it waits for the next one."""


class AdjustmentLine(Entity):
    """One charge's part of an adjustment: what was billed, what is owed, and both rating decisions."""

    id_prefix = "adl"

    adjustment = models.ForeignKey(Adjustment, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=60)
    kind = models.CharField(max_length=12, help_text="Of the line that it adjusts; decides the account.")
    description = models.CharField(max_length=200)
    quantity = QuantityField(help_text="Units more or less than were billed.")
    unit_name = models.CharField(max_length=40, blank=True)
    service_starts_at = models.DateTimeField()
    service_ends_at = models.DateTimeField()
    amount_minor = MinorUnitsField(help_text="What is owed less what was billed, after discounts and before tax.")
    tax = models.JSONField(null=True, blank=True, help_text="How the adjusted line was taxed.")
    before = models.JSONField(help_text="What was billed so far: amounts, the line, its rating decision.")
    after = models.JSONField(help_text="What it comes to by now: amounts and the rating decision.")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["adjustment", "position"], name="adjustment_line_position_once"),
            models.CheckConstraint(name="adjustment_line_is_a_difference", condition=~Q(amount_minor=0)),
            models.CheckConstraint(
                name="adjustment_line_period_not_empty", condition=Q(service_ends_at__gt=F("service_starts_at"))
            ),
        ]
        triggers = append_only(name="adjustment_line_append_only")

    def __str__(self) -> str:
        return f"{self.position}. {self.description}"
