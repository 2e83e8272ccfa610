"""Ways to pay, tries to collect, and the sandbox processor's own book."""

from datetime import datetime

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from apps.common.fields import CurrencyField, MinorUnitsField
from apps.common.models import Entity
from apps.common.triggers import frozen_when, undeletable
from apps.customers.models import Customer
from apps.invoices.models import Invoice
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel


class PaymentMethod(Entity):
    """A vendor token we may charge; no card number ever comes here."""

    id_prefix = "pmt"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="payment_methods")
    gateway = models.CharField(max_length=20)
    token = models.CharField(max_length=120)
    label = models.CharField(max_length=60, help_text="As the customer knows it, e.g. Visa ending 4242.")
    is_default = models.BooleanField(default=False)
    attached_at = models.DateTimeField()
    detached_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer"],
                condition=Q(is_default=True, detached_at__isnull=True),
                name="payment_method_one_default",
            )
        ]
        triggers = undeletable(name="payment_method_kept")

    def __str__(self) -> str:
        return self.label


class AttemptStatus(models.TextChoices):
    """What we know of one try; unknown is a state, not a failure."""

    CREATED = "CREATED", "Created: recorded, the gateway has not been called"
    SUBMITTED = "SUBMITTED", "Submitted: the gateway is being called, or answered that it will take time"
    SUCCEEDED = "SUCCEEDED", "Succeeded: the money is ours"
    FAILED = "FAILED", "Failed: nothing was taken"
    UNKNOWN = "UNKNOWN", "Unknown: no answer was heard; it is looked up and never repeated"


OPEN_ATTEMPT_STATUSES = (AttemptStatus.CREATED, AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN)

PAYMENT_ATTEMPT_EDGES = (
    Edge("submit", (AttemptStatus.CREATED,), AttemptStatus.SUBMITTED),
    Edge("succeed", (AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN), AttemptStatus.SUCCEEDED),
    Edge("fail", (AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN), AttemptStatus.FAILED),
    Edge("lose_track", (AttemptStatus.SUBMITTED,), AttemptStatus.UNKNOWN),
)


class PaymentAttempt(LifecycleModel):
    """One try to collect one invoice; its key is derived from what it is, so a repeat is the same request."""

    id_prefix = "pay"
    edges = PAYMENT_ATTEMPT_EDGES
    initial_status = AttemptStatus.CREATED

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="attempts")
    sequence = models.PositiveIntegerField()
    method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, related_name="attempts")
    gateway = models.CharField(max_length=20)
    amount_minor = MinorUnitsField()
    currency = CurrencyField()
    idempotency_key = models.CharField(max_length=80, unique=True)
    status = FSMField(choices=AttemptStatus, default=AttemptStatus.CREATED, protected=True)
    gateway_reference = models.CharField(max_length=120, blank=True)
    failure_code = models.CharField(max_length=60, blank=True)
    failure_kind = models.CharField(max_length=10, blank=True, help_text="soft: may be tried again; hard: may not.")
    opened_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    lookups = models.PositiveSmallIntegerField(default=0)
    next_lookup_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "sequence"], name="payment_attempt_sequence_once"),
            models.UniqueConstraint(
                fields=["invoice"],
                condition=Q(status__in=["CREATED", "SUBMITTED", "UNKNOWN"]),
                name="payment_attempt_one_open",
            ),
            models.CheckConstraint(name="payment_attempt_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(name="payment_attempt_status_known", condition=Q(status__in=AttemptStatus.values)),
            models.CheckConstraint(
                name="payment_attempt_failure_is_classified",
                condition=(Q(status="FAILED", failure_kind__in=["soft", "hard"]) & ~Q(failure_code=""))
                | (~Q(status="FAILED") & Q(failure_kind="", failure_code="")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_lookup_at"],
                name="payment_attempt_lookup",
                condition=Q(status__in=["SUBMITTED", "UNKNOWN"]),
            )
        ]
        triggers = [
            *status_triggers(
                name="payment_attempt_status_edges", initial=AttemptStatus.CREATED, edges=PAYMENT_ATTEMPT_EDGES
            ),
            *frozen_when(
                name="payment_attempt_frozen",
                condition="OLD.status IN ('SUCCEEDED', 'FAILED')",
                mutable=(),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice} try {self.sequence}"

    @transition(field=status, source=AttemptStatus.CREATED, target=AttemptStatus.SUBMITTED)
    def submit(self, *, at: datetime) -> None:
        """Record that the gateway is about to be called."""
        self.submitted_at = at

    @transition(field=status, source=[AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN], target=AttemptStatus.SUCCEEDED)
    def succeed(self, *, at: datetime) -> None:
        """Record that the money was taken."""
        self.resolved_at = at

    @transition(field=status, source=[AttemptStatus.SUBMITTED, AttemptStatus.UNKNOWN], target=AttemptStatus.FAILED)
    def fail(self, *, at: datetime) -> None:
        """Record that nothing was taken; code and kind are set by the service."""
        self.resolved_at = at

    @transition(field=status, source=AttemptStatus.SUBMITTED, target=AttemptStatus.UNKNOWN)
    def lose_track(self, *, at: datetime) -> None:
        """Record that no answer was heard."""


class SandboxCharge(Entity):
    """
    The sandbox processor's book: what *it* did, whether or not we heard of it.

    It stands for the vendor's database and is written only by `gateways/sandbox.py`, in transactions of its own.
    """

    id_prefix = "sbx"

    idempotency_key = models.CharField(max_length=80, unique=True)
    request_hash = models.CharField(max_length=64)
    token = models.CharField(max_length=120)
    amount_minor = MinorUnitsField()
    currency = CurrencyField()
    outcome = models.CharField(max_length=12)
    failure_code = models.CharField(max_length=60, blank=True)
    reference = models.CharField(max_length=60, unique=True)
    received_at = models.DateTimeField()
    settles_at = models.DateTimeField(null=True, help_text="Until then the answer is: still processing.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="sandbox_charge_outcome_known", condition=Q(outcome__in=["captured", "declined"])
            )
        ]

    def __str__(self) -> str:
        return f"{self.reference} {self.outcome}"
