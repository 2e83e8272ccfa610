"""
Corrections of usage as documents: what was wrong, who says so, who agreed, and what counts instead.

Events are never changed. A correction cancels events, brings events, or both; every one of its rows says what was and
what is to be.
"""

from datetime import datetime

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from apps.common.fields import QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, fixed_columns, frozen_when
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel

EVENTS_MAX = 10_000


class CorrectionKind(models.TextChoices):
    """What a correction does to usage."""

    CANCEL = "cancel", "Cancel: events count no more"
    AMEND = "amend", "Amend: events count no more, and others stand in their place"
    BACKFILL = "backfill", "Back-fill: events count that came too late for the door, or before their meter"


class CorrectionReason(models.TextChoices):
    """Why usage is corrected."""

    DUPLICATE = "duplicate", "Duplicate: one fact was sent under two ids"
    WRONG_VALUE = "wrong_value", "Wrong value: quantity or properties were wrong"
    WRONG_CUSTOMER = "wrong_customer", "Wrong customer: somebody else's usage"
    WRONG_TIME = "wrong_time", "Wrong time: it happened at another time"
    MISSING = "missing", "Missing: usage was not sent in time"
    METER_LATER = "meter_later", "Meter defined later: usage before its definition is to count"
    TEST_DATA = "test_data", "Test data: it was no usage at all"
    AGREEMENT = "agreement", "Agreement: settled with the customer"
    CORRECTION_WRONG = "correction_wrong", "Correction wrong: an earlier correction is taken back"
    OTHER = "other", "Other: the comment says"


class CorrectionStatus(models.TextChoices):
    """How far a correction has come."""

    PENDING_APPROVAL = "PENDING_APPROVAL", "Pending approval: waits for somebody else; nothing counts differently"
    APPROVED = "APPROVED", "Approved: agreed; it is applied in the same moment"
    APPLIED = "APPLIED", "Applied: usage counts as it says"
    REJECTED = "REJECTED", "Rejected: somebody else decided against it"
    CANCELED = "CANCELED", "Canceled: withdrawn before it was decided"


CORRECTION_EDGES = (
    Edge("approve", (CorrectionStatus.PENDING_APPROVAL,), CorrectionStatus.APPROVED),
    Edge("apply", (CorrectionStatus.APPROVED,), CorrectionStatus.APPLIED),
    Edge("reject", (CorrectionStatus.PENDING_APPROVAL,), CorrectionStatus.REJECTED),
    Edge("withdraw", (CorrectionStatus.PENDING_APPROVAL,), CorrectionStatus.CANCELED),
)

_ASKED = (
    "kind",
    "reason_code",
    "comment",
    "evidence_url",
    "is_for_newer_meters",
    "counters_id",
    "event_count",
    "is_within_bound",
    "requested_by",
    "requested_by_name",
    "requested_at",
)


class UsageCorrection(LifecycleModel):
    """
    One correction: asked for by one person, applied at once up to the tenant's bound, else decided by another.

    Its money effect on final documents comes of itself: what is cancelled or brought is late usage of their windows.
    """

    id_prefix = "uco"
    edges = CORRECTION_EDGES
    initial_status = CorrectionStatus.PENDING_APPROVAL

    kind = models.CharField(max_length=8, choices=CorrectionKind)
    reason_code = models.CharField(max_length=20, choices=CorrectionReason)
    comment = models.CharField(max_length=500, help_text="Why; who decides reads it.")
    evidence_url = models.URLField(
        max_length=500, blank=True, help_text="Where the evidence is kept: a ticket, a letter, a log."
    )
    is_for_newer_meters = models.BooleanField(
        default=False, help_text="On purpose: what it brings counts for meters defined after the events were written."
    )
    counters = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="counter_corrections"
    )
    event_count = models.PositiveIntegerField()
    is_within_bound = models.BooleanField(help_text="Small enough for one person alone, by the bound of that time.")
    effect = models.JSONField(
        default=list, encoder=DjangoJSONEncoder, help_text="Units and events by meter and customer, as last measured."
    )
    document_effect = models.JSONField(
        null=True, blank=True, help_text="What final documents would come to instead; empty: not measured."
    )
    # Who a person is does not change with the name; the name is kept beside it for reading.
    requested_by = models.CharField(max_length=60, help_text="Kind and id of the actor.")
    requested_by_name = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    decided_by = models.CharField(max_length=60, blank=True, help_text="Kind and id of the actor.")
    decided_by_name = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_comment = models.CharField(max_length=500, blank=True, help_text="What who decided said.")
    applied_at = models.DateTimeField(null=True, blank=True)
    status = FSMField(choices=CorrectionStatus, default=CorrectionStatus.PENDING_APPROVAL, protected=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="usage_correction_status_known", condition=Q(status__in=CorrectionStatus.values)
            ),
            models.CheckConstraint(name="usage_correction_kind_known", condition=Q(kind__in=CorrectionKind.values)),
            models.CheckConstraint(
                name="usage_correction_reason_given",
                condition=Q(reason_code__in=CorrectionReason.values) & ~Q(comment=""),
            ),
            models.CheckConstraint(
                name="usage_correction_bounded", condition=Q(event_count__gte=1, event_count__lte=EVENTS_MAX)
            ),
            # Who asks is never who decides; only within the bound does nobody have to.
            models.CheckConstraint(name="usage_correction_four_eyes", condition=~Q(decided_by=F("requested_by"))),
            models.CheckConstraint(
                name="usage_correction_decision_whole",
                condition=Q(decided_by="", status__in=("PENDING_APPROVAL", "CANCELED"))
                | Q(decided_by="", is_within_bound=True, status__in=("APPROVED", "APPLIED"))
                | (Q(decided_at__isnull=False, status__in=("APPROVED", "APPLIED", "REJECTED")) & ~Q(decided_by="")),
            ),
            models.CheckConstraint(
                name="usage_correction_applied_when",
                condition=Q(status="APPLIED", applied_at__isnull=False)
                | (~Q(status="APPLIED") & Q(applied_at__isnull=True)),
            ),
            # Taken back once; one that was rejected or withdrawn took nothing back.
            models.UniqueConstraint(
                fields=["counters"],
                condition=~Q(status__in=("REJECTED", "CANCELED")),
                name="usage_correction_countered_once",
            ),
            models.CheckConstraint(name="usage_correction_not_of_itself", condition=~Q(counters=F("id"))),
        ]
        indexes = [
            models.Index(
                fields=["requested_at"], condition=Q(status="PENDING_APPROVAL"), name="usage_correction_waiting"
            )
        ]
        triggers = [
            *status_triggers(
                name="usage_correction_status_edges", initial=CorrectionStatus.PENDING_APPROVAL, edges=CORRECTION_EDGES
            ),
            *fixed_columns(name="usage_correction_asked_fixed", columns=_ASKED),
            *frozen_when(
                name="usage_correction_ended",
                condition="OLD.status IN ('APPLIED', 'REJECTED', 'CANCELED')",
                mutable=(),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display().split(':')[0]} {self.public_id}"

    @transition(field=status, source=CorrectionStatus.PENDING_APPROVAL, target=CorrectionStatus.APPROVED)
    def approve(self, *, at: datetime) -> None:
        """Mark as agreed."""

    @transition(field=status, source=CorrectionStatus.APPROVED, target=CorrectionStatus.APPLIED)
    def apply(self, *, at: datetime) -> None:
        """Mark that usage counts as it says."""
        self.applied_at = at

    @transition(field=status, source=CorrectionStatus.PENDING_APPROVAL, target=CorrectionStatus.REJECTED)
    def reject(self, *, at: datetime) -> None:
        """Mark as decided against."""

    @transition(field=status, source=CorrectionStatus.PENDING_APPROVAL, target=CorrectionStatus.CANCELED)
    def withdraw(self, *, at: datetime) -> None:
        """Mark as withdrawn."""


class CorrectedEvent(Entity):
    """
    One event of a correction: what was, what is to be, and the links between.

    `event_key` is the event that counts no more; `after` is the event that is brought, under `after_source` and
    `after_event_id`; `stands_for_key` is the event whose fact it restates, and whose meters it counts for.
    """

    id_prefix = "uce"

    correction = models.ForeignKey(UsageCorrection, on_delete=models.PROTECT, related_name="events")
    position = models.PositiveIntegerField()
    source = models.TextField(help_text="Of the event that is corrected, or of the one that is brought.")
    event_id = models.TextField()
    event_key = models.UUIDField(null=True, blank=True)
    # Texts, as the door takes them: a number with a point stays the number that was sent.
    before = models.TextField(null=True, blank=True, help_text="The event that counts no more, as it was stored.")
    after_event_id = models.TextField(blank=True, help_text="Under this id of the same source it counts instead.")
    after_key = models.UUIDField(null=True, blank=True)
    after = models.TextField(null=True, blank=True, help_text="The event that is brought, as it is sent to the door.")
    stands_for_key = models.UUIDField(null=True, blank=True)

    class Meta:
        ordering = ["correction_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["correction", "position"], name="corrected_event_position_once"),
            models.UniqueConstraint(fields=["correction", "event_key"], name="corrected_event_once"),
            models.CheckConstraint(
                name="corrected_event_says_something",
                condition=Q(event_key__isnull=False, before__isnull=False) | Q(after__isnull=False),
            ),
            models.CheckConstraint(
                name="corrected_event_before_whole",
                condition=Q(event_key__isnull=True, before__isnull=True)
                | Q(event_key__isnull=False, before__isnull=False),
            ),
            models.CheckConstraint(
                name="corrected_event_after_whole",
                condition=Q(after__isnull=True, after_key__isnull=True, after_event_id="")
                | (Q(after__isnull=False, after_key__isnull=False) & ~Q(after_event_id="")),
            ),
        ]
        indexes = [
            models.Index(fields=["event_key"], condition=Q(event_key__isnull=False), name="corrected_event_before"),
            models.Index(fields=["after_key"], condition=Q(after_key__isnull=False), name="corrected_event_after"),
        ]
        triggers = append_only(name="corrected_event_append_only")

    def __str__(self) -> str:
        return f"{self.source} {self.event_id}"


class CorrectionBound(Entity):
    """How much one person may correct alone; the newest row counts. A tenant without one has the defaults."""

    id_prefix = "ucb"

    events_max = models.PositiveIntegerField(help_text="Events in one correction.")
    units_max = QuantityField(help_text="Units, up or down, of any one meter and customer.")
    comment = models.CharField(max_length=500)
    set_by = models.CharField(max_length=60, help_text="Kind and id of the actor.")
    set_by_name = models.CharField(max_length=200)
    set_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="correction_bound_reason_given", condition=~Q(comment="")),
            models.CheckConstraint(
                name="correction_bound_not_negative", condition=Q(units_max__gte=0, events_max__lte=EVENTS_MAX)
            ),
        ]
        triggers = append_only(name="correction_bound_append_only")

    def __str__(self) -> str:
        return f"{self.events_max} events, {self.units_max} units"
