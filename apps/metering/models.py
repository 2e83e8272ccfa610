"""What is measured, the raw events, and their running totals.

`UsageEvent`, its key table and `UsageAggregate` are made by hand-written SQL (`migrations/0002_usage_tables.py`):
partitions, a statement trigger and COPY need more than the ORM can say. The ORM reads them.
"""

from datetime import datetime
from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from apps.common.fields import QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, fixed_columns, frozen_when, undeletable
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel
from apps.metering import (  # Django finds models through this module
    correction_documents,  # noqa: F401
    import_models,  # noqa: F401
    limit_models,  # noqa: F401
)


class MeterAggregation(models.TextChoices):
    """How the events of a window become a quantity."""

    COUNT = "count", "Count: the number of events"
    SUM = "sum", "Sum: the total of the value property"
    MAX = "max", "Max: the largest value, 0 without events"
    MIN = "min", "Min: the smallest value, 0 without events"
    LATEST = "latest", "Latest: the value of the last event, by time and then by arrival"
    UNIQUE_COUNT = "unique_count", "Unique count: how many different values, or how many are there at the end"
    WEIGHTED_SUM = "weighted_sum", "Weighted sum: the running total of changes, weighted by the time it lasted"
    AVERAGE = "average", "Average: the total of the value property by the number of events"


_REFUSABLE = ("count", "sum", "max", "unique_count")


class Meter(Entity):
    """
    What is measured: which events, which value, how they add up. One row is one immutable version.

    An event names a type, not a meter; several meters may read one type. A version counts the events that were written
    after it was defined, and goes on counting when it is retired, because plans were sold with it; `retired_at` keeps
    it out of new plans.
    """

    id_prefix = "mtr"

    code = models.CharField(max_length=60)
    version = models.PositiveSmallIntegerField(default=1)
    name = models.CharField(max_length=120)
    event_type = models.CharField(max_length=120)
    aggregation = models.CharField(max_length=12, choices=MeterAggregation)
    value_property = models.CharField(max_length=60, blank=True, help_text="Empty for count.")
    operation_property = models.CharField(
        max_length=60, blank=True, help_text="For unique count: the property that says add or remove."
    )
    has_carry_over = models.BooleanField(
        default=False, help_text="A window begins with the level, or the values, that the time before it left."
    )
    weight_property = models.CharField(
        max_length=60,
        blank=True,
        default="",
        help_text="For count and sum: the property that says how many events one event stands for.",
    )
    unit_name = models.CharField(max_length=40, blank=True, help_text="As printed on the invoice, e.g. GB.")
    filters = models.JSONField(default=dict, blank=True, help_text="Properties an event must carry: {'area': 'x'}.")
    group_by = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    rounding = models.JSONField(null=True, blank=True, help_text="{'mode', 'precision', 'divide_by'}, applied once.")
    rules = models.JSONField(default=dict, blank=True, help_text="Business rules an event must keep.")
    defined_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["code", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["code", "version"], name="meter_version_once"),
            models.UniqueConstraint(fields=["code"], condition=Q(retired_at__isnull=True), name="meter_one_current"),
            models.CheckConstraint(
                name="meter_aggregation_known", condition=Q(aggregation__in=MeterAggregation.values)
            ),
            models.CheckConstraint(
                name="meter_value_when_needed",
                condition=Q(aggregation="count", value_property="") | (~Q(aggregation="count") & ~Q(value_property="")),
            ),
            models.CheckConstraint(
                name="meter_operation_for_unique_count",
                condition=Q(operation_property="") | Q(aggregation="unique_count"),
            ),
            # An average or a largest value of many events is not in the one that stands for them.
            models.CheckConstraint(
                name="meter_weight_for_sums",
                condition=Q(weight_property="") | Q(aggregation__in=["count", "sum"]),
            ),
            # Only what has a state at the end of a window can hand it to the next one.
            models.CheckConstraint(
                name="meter_carries_over_a_state",
                condition=Q(has_carry_over=False)
                | Q(aggregation="weighted_sum")
                | (Q(aggregation="unique_count") & ~Q(operation_property="")),
            ),
        ]
        triggers = frozen_when(name="meter_frozen", condition="true", mutable=("retired_at", "name"))

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @property
    def counted_unit(self) -> str:
        """Return what is added up before the rounding divides it: bytes, where gigabytes are billed."""
        divide_by = Decimal((self.rounding or {}).get("divide_by", "1"))
        return self.unit_name if divide_by == 1 else self.value_property

    @property
    def is_refusable(self) -> bool:
        """Tell whether a limit on it may refuse events: it is exact within the accepting transaction."""
        return self.aggregation in _REFUSABLE and not self.operation_property


class EventMapping(Entity):
    """How one source's own event shape is read: a versioned table from our field to its path."""

    id_prefix = "emp"

    source = models.CharField(max_length=120)
    version = models.PositiveSmallIntegerField()
    fields = models.JSONField(help_text="{'id': 'request.id', 'customer': 'account', ...}; paths with dots.")
    defined_at = models.DateTimeField()

    class Meta:
        ordering = ["source", "-version"]
        constraints = [models.UniqueConstraint(fields=["source", "version"], name="event_mapping_version_once")]
        triggers = append_only(name="event_mapping_append_only")

    def __str__(self) -> str:
        return f"{self.source} v{self.version}"


class UsageEventKey(models.Model):
    """The identity of an event for ever: one narrow row per (source, event id) ever accepted."""

    event_key = models.UUIDField(primary_key=True)
    payload_hash = models.BinaryField()
    received_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "metering_usageeventkey"

    def __str__(self) -> str:
        return str(self.event_key)


class UsageEvent(models.Model):
    """One immutable fact of consumption, as it was sent; partitioned by the month in which it occurred."""

    event_key = models.UUIDField(primary_key=True)
    source = models.TextField()
    event_id = models.TextField()
    type = models.TextField()
    customer_id = models.UUIDField()
    subscription_id = models.UUIDField(null=True)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    quantity = QuantityField(null=True)
    properties = models.JSONField()
    source_sequence = models.BigIntegerField(null=True)

    class Meta:
        managed = False
        db_table = "metering_usageevent"

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class UsageAggregate(models.Model):
    """The running totals of one meter, customer, hour and group; derived, rebuildable, kept by a trigger."""

    pk = models.CompositePrimaryKey("customer_id", "meter_id", "hour", "subscription_id", "dimensions")
    customer_id = models.UUIDField()
    meter_id = models.UUIDField()
    hour = models.DateTimeField()
    subscription_id = models.UUIDField()
    dimensions = models.JSONField()
    event_count = models.BigIntegerField()
    value_sum = models.DecimalField(max_digits=60, decimal_places=12)
    value_max = models.DecimalField(max_digits=38, decimal_places=12)
    value_min = models.DecimalField(max_digits=38, decimal_places=12)
    value_area = models.DecimalField(max_digits=80, decimal_places=12)

    class Meta:
        managed = False
        db_table = "metering_usageaggregate"

    def __str__(self) -> str:
        return f"{self.meter_id} {self.hour}"


class UsageCounter(models.Model):
    """Live usage of one exact window, kept by the trigger for count, sum and max; what a limit is judged by."""

    counter_id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField()
    meter_id = models.UUIDField()
    subscription_id = models.UUIDField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    used_units = models.DecimalField(max_digits=60, decimal_places=12)
    event_count = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "metering_usagecounter"

    def __str__(self) -> str:
        return f"{self.meter_id} {self.starts_at} to {self.ends_at}"


class UsageCancellation(models.Model):
    """An event that counts no more from here on; the event itself stays, and its id stays taken."""

    event_key = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField()
    type = models.TextField()
    occurred_at = models.DateTimeField()
    correction_id = models.UUIDField()
    cancelled_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "metering_usagecancellation"

    def __str__(self) -> str:
        return str(self.event_key)


class QuarantineStatus(models.TextChoices):
    """What became of a refused event."""

    HELD = "HELD", "Held: refused with a reason, waits to be replayed"
    REPLAYED = "REPLAYED", "Replayed: accepted later under its own id"
    EDITED = "EDITED", "Edited: another version of it waits or went in instead"
    DISCARDED = "DISCARDED", "Discarded: somebody decided that it is no usage; it is kept"


QUARANTINE_EDGES = (
    Edge("replay", (QuarantineStatus.HELD,), QuarantineStatus.REPLAYED),
    Edge("edit", (QuarantineStatus.HELD,), QuarantineStatus.EDITED),
    Edge("discard", (QuarantineStatus.HELD,), QuarantineStatus.DISCARDED),
)


class QuarantinedEvent(LifecycleModel):
    """
    An event that was refused, kept as it came, with the reason. Refused is not lost.

    What a person changes is a row of its own that names the one before in `edits`.
    """

    id_prefix = "qev"
    edges = QUARANTINE_EDGES
    initial_status = QuarantineStatus.HELD

    source = models.TextField(blank=True)
    event_id = models.TextField(blank=True)
    raw = models.TextField(help_text="The event as it was sent.")
    raw_hash = models.CharField(max_length=64, help_text="SHA-256 of the event as it was sent.")
    mapping_source = models.CharField(max_length=120, blank=True, help_text="The mapping it was to be read with.")
    customer_reference = models.CharField(max_length=255, blank=True, help_text="The customer as the event names it.")
    code = models.CharField(max_length=40)
    detail = models.TextField()
    received_at = models.DateTimeField()
    replayed_at = models.DateTimeField(null=True, blank=True)
    edits = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="edited_as")
    edited_by_name = models.CharField(max_length=200, blank=True, help_text="Who wrote this version.")
    edit_comment = models.CharField(max_length=500, blank=True, help_text="Why this version was written.")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was edited or discarded.")
    closed_by_name = models.CharField(max_length=200, blank=True)
    close_reason = models.CharField(max_length=60, blank=True)
    close_comment = models.CharField(max_length=500, blank=True)
    status = FSMField(choices=QuarantineStatus, default=QuarantineStatus.HELD, protected=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="quarantine_status_known", condition=Q(status__in=QuarantineStatus.values)),
            # A producer that retries for ever what is refused for ever must not fill the table.
            models.UniqueConstraint(
                fields=["raw_hash", "code", "mapping_source"], condition=Q(status="HELD"), name="quarantine_held_once"
            ),
            models.CheckConstraint(
                name="quarantine_edit_explained",
                condition=Q(edits__isnull=True) | (~Q(edited_by_name="") & ~Q(edit_comment="")),
            ),
            models.CheckConstraint(
                name="quarantine_closed_explained",
                condition=~Q(status__in=("EDITED", "DISCARDED"))
                | (Q(closed_at__isnull=False) & ~Q(closed_by_name="") & ~Q(close_comment="")),
            ),
        ]
        indexes = [
            models.Index(fields=["code", "-id"], name="quarantine_code"),
            models.Index(
                fields=["customer_reference", "code"], condition=Q(status="HELD"), name="quarantine_held_customer"
            ),
        ]
        triggers = [
            *fixed_columns(
                name="quarantine_as_it_came",
                columns=(
                    "source",
                    "event_id",
                    "raw",
                    "raw_hash",
                    "mapping_source",
                    "customer_reference",
                    "code",
                    "detail",
                    "received_at",
                    "edits_id",
                    "edited_by_name",
                    "edit_comment",
                ),
            ),
            *status_triggers(name="quarantine_status_edges", initial=QuarantineStatus.HELD, edges=QUARANTINE_EDGES),
            *undeletable(name="quarantine_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.source} {self.event_id}"

    @transition(field=status, source=QuarantineStatus.HELD, target=QuarantineStatus.REPLAYED)
    def replay(self, *, at: datetime) -> None:
        """Mark that the event was accepted under its own id."""
        self.replayed_at = at

    @transition(field=status, source=QuarantineStatus.HELD, target=QuarantineStatus.EDITED)
    def edit(self, *, at: datetime) -> None:
        """Mark that another version stands for it."""
        self.closed_at = at

    @transition(field=status, source=QuarantineStatus.HELD, target=QuarantineStatus.DISCARDED)
    def discard(self, *, at: datetime) -> None:
        """Mark that it is no usage."""
        self.closed_at = at


# Tables of late usage and of what is watched have modules of their own; Django finds them from here.
from apps.metering.intake_models import EventTypePolicy, UsageSettings  # noqa: E402
from apps.metering.late_models import (  # noqa: E402
    LatePolicy,
    LateUsage,
    LateUsagePolicy,
    LateUsageStatus,
    UsageFollower,
    UsageNews,
    UsageWindow,
)
from apps.metering.watching_models import (  # noqa: E402
    AnomalyRule,
    SourceHeartbeat,
    SourceHour,
    UnmatchedUsage,
    UsageAlert,
    UsageArchive,
    UsageMending,
    UsageProof,
    UsageSource,
    WatchPolicy,
)

__all__ = [
    "AnomalyRule",
    "EventMapping",
    "EventTypePolicy",
    "LatePolicy",
    "LateUsage",
    "LateUsagePolicy",
    "LateUsageStatus",
    "Meter",
    "MeterAggregation",
    "QuarantineStatus",
    "QuarantinedEvent",
    "SourceHeartbeat",
    "SourceHour",
    "UnmatchedUsage",
    "UsageAggregate",
    "UsageAlert",
    "UsageArchive",
    "UsageEvent",
    "UsageEventKey",
    "UsageFollower",
    "UsageMending",
    "UsageNews",
    "UsageProof",
    "UsageSettings",
    "UsageSource",
    "UsageWindow",
    "WatchPolicy",
]
