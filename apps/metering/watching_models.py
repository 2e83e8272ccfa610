"""What watching keeps: sources and their rhythm, alerts, proofs, archives. None of it decides about money."""

from datetime import datetime

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from apps.common.fields import QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, frozen_when, undeletable
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel


class WatchPolicy(Entity):
    """From when on a tenant is alerted, and how long it keeps raw events. One row, or none: then the defaults hold."""

    id_prefix = "wpo"

    loss_alert_bps = models.PositiveIntegerField(help_text="Missing events in basis points: 200 are two percent.")
    delay_alert_seconds = models.PositiveIntegerField(help_text="From occurrence to storage.")
    clock_alert_seconds = models.PositiveIntegerField(help_text="How far a source's clock may run ahead of ours.")
    retention_months = models.PositiveSmallIntegerField(help_text="Whole months that raw events are kept at hand.")
    is_only_row = models.BooleanField(default=True, editable=False)
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "watch policies"
        constraints = [
            models.UniqueConstraint(fields=["is_only_row"], name="watch_policy_once"),
            models.CheckConstraint(name="watch_policy_one_row", condition=Q(is_only_row=True)),
            models.CheckConstraint(
                name="watch_policy_in_range",
                condition=Q(loss_alert_bps__range=(1, 10_000))
                & Q(delay_alert_seconds__gte=1)
                & Q(clock_alert_seconds__gte=1)
                # Events may come 400 days late, so the month they belong to is still at hand then.
                & Q(retention_months__gte=15),
            ),
        ]
        triggers = undeletable(name="watch_policy_kept")

    def __str__(self) -> str:
        return f"loss {self.loss_alert_bps} bps, delay {self.delay_alert_seconds} s, {self.retention_months} months"


class UsageSource(Entity):
    """A source of events as the follower saw it: how far it is, how late it is, and what it has sent in all."""

    id_prefix = "src"

    source = models.TextField(unique=True)
    event_count = models.BigIntegerField(default=0, help_text="Accepted events, ever.")
    first_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    watermark_at = models.DateTimeField(help_text="The newest occurrence that it has told of.")
    # Over the events of customers that live by the wall clock: a test clock's time says nothing about a delay.
    timed_count = models.BigIntegerField(default=0)
    delay_counts = ArrayField(models.BigIntegerField(), help_text="Timed events by delay, one number per bound.")
    delay_ms_sum = models.BigIntegerField(default=0)
    clock_ahead_ms = models.BigIntegerField(
        default=0, help_text="By how much its clock ran ahead of ours at least, in the last batch of events."
    )
    judged_sequence = models.BigIntegerField(null=True, blank=True, help_text="Numbers up to here had time to arrive.")

    class Meta:
        ordering = ["-last_received_at"]

    def __str__(self) -> str:
        return self.source


class SourceHour(models.Model):
    """
    One source's events of one hour of occurrence.

    The table has one more column, `sequences`: the numbers that are there, as an int8multirange. Without a gap that is
    one range however many events there are. The ORM has no such type; `sources_sql.py` reads and writes it.
    """

    id = models.BigAutoField(primary_key=True)
    source = models.ForeignKey(UsageSource, on_delete=models.PROTECT, related_name="hours")
    hour_at = models.DateTimeField()
    event_count = models.BigIntegerField()
    timed_count = models.BigIntegerField()
    delay_counts = ArrayField(models.BigIntegerField())
    delay_ms_max = models.BigIntegerField(null=True)
    delay_ms_min = models.BigIntegerField(null=True, help_text="Below zero: it occurred after it was received.")
    sequence_count = models.BigIntegerField(default=0, help_text="Numbered events; with `sequences`, distinct ones.")
    sequence_first = models.BigIntegerField(null=True)
    sequence_last = models.BigIntegerField(null=True)
    last_received_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "hour_at"], name="source_hour_once")]
        # Late events touch old hours: what changed since it was proven is found by when it was received.
        indexes = [
            models.Index(fields=["last_received_at"], name="source_hour_received"),
            models.Index(fields=["hour_at"], name="source_hour_at"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.hour_at:%Y-%m-%d %H:00}"


class SourceHeartbeat(Entity):
    """A source's own word: I sent so many events that occurred in this window. Kept; what was found is filled in."""

    id_prefix = "hbt"

    source = models.TextField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    sent_count = models.BigIntegerField()
    received_at = models.DateTimeField()
    found_count = models.BigIntegerField(null=True, blank=True, help_text="Events that are here, when last counted.")
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["source", "starts_at"], name="heartbeat_once"),
            models.CheckConstraint(name="heartbeat_window_ahead", condition=Q(ends_at__gt=F("starts_at"))),
            models.CheckConstraint(name="heartbeat_sent_not_negative", condition=Q(sent_count__gte=0)),
        ]
        indexes = [models.Index(fields=["ends_at"], name="heartbeat_ends")]
        triggers = frozen_when(name="heartbeat_frozen", condition="true", mutable=("found_count", "counted_at"))

    def __str__(self) -> str:
        return f"{self.source}: {self.sent_count} sent"


class UnmatchedReason(models.TextChoices):
    """Why no meter counts an accepted event."""

    NO_METER = "no_meter", "No meter: nothing reads events of this type"
    DEFINED_LATER = "defined_later", "Defined later: the meter of this type was defined after the event was written"
    FILTERED = "filtered", "Filtered: meters read this type, and none takes these properties"
    LEFT_OUT = "left_out", "Left out: a retired meter cannot add up this value, and no other takes it"


class UnmatchedUsage(models.Model):
    """Accepted events that no meter counts, by type, day and reason: kept, never billed, shown."""

    pk = models.CompositePrimaryKey("event_type", "usage_date", "reason")
    event_type = models.TextField()
    usage_date = models.DateField()
    reason = models.CharField(max_length=16, choices=UnmatchedReason)
    event_count = models.BigIntegerField()
    first_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="unmatched_reason_known", condition=Q(reason__in=UnmatchedReason.values))
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.usage_date}: {self.event_count} {self.reason}"


class AnomalyRule(Entity):
    """When a customer's hour of one meter is told as unusual; without a row the defaults of the engine hold."""

    id_prefix = "anr"

    meter_code = models.CharField(max_length=60, unique=True)
    high_percent = models.PositiveIntegerField(help_text="Of the usual hour; 0 looks at no rise.")
    low_percent = models.PositiveIntegerField(help_text="Of the usual hour; 0 looks at no fall.")
    volume_min = QuantityField(help_text="Neither the hour nor the usual one below this is looked at.")
    is_active = models.BooleanField(default=True)
    changed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="anomaly_rule_in_range",
                condition=(Q(high_percent=0) | Q(high_percent__gt=100)) & Q(low_percent__lt=100) & Q(volume_min__gte=0),
            )
        ]

    def __str__(self) -> str:
        return self.meter_code


class AlertKind(models.TextChoices):
    """What an alert is about."""

    LOSS = "loss", "Loss: events that a source sent are not here"
    SILENCE = "silence", "Silence: a source that sends all the time has stopped"
    DELAY = "delay", "Delay: events arrive long after they occurred"
    CLOCK = "clock", "Clock: a source's clock runs ahead of ours"
    ANOMALY = "anomaly", "Unusual usage: a customer's hour is far from its usual one"
    BACKLOG = "backlog", "Backlog: the follower is behind the events"
    PROOF = "proof", "Proof: running totals are not what the events add up to"


class AlertStatus(models.TextChoices):
    """Whether the cause is still there, and whether somebody has seen it."""

    OPEN = "OPEN", "Open: the cause is there and nobody has looked"
    ACKNOWLEDGED = "ACKNOWLEDGED", "Acknowledged: somebody looks after it"
    CLOSED = "CLOSED", "Closed: the cause is gone"


ALERT_EDGES = (
    Edge("acknowledge", (AlertStatus.OPEN,), AlertStatus.ACKNOWLEDGED),
    Edge("close", (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED), AlertStatus.CLOSED),
)


class UsageAlert(LifecycleModel):
    """Something about usage that a person should look at; it closes by itself when the cause is gone."""

    id_prefix = "alr"
    edges = ALERT_EDGES
    initial_status = AlertStatus.OPEN

    kind = models.CharField(max_length=12, choices=AlertKind)
    subject = models.CharField(max_length=300, help_text="A source, a day, or a customer and a meter.")
    sentence = models.TextField(help_text="What is wrong, with the numbers.")
    facts = models.JSONField(default=dict, blank=True)
    at_risk = models.JSONField(default=dict, blank=True, help_text="Estimated minor units per currency.")
    opened_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    comment = models.CharField(max_length=500, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    status = FSMField(choices=AlertStatus, default=AlertStatus.OPEN, protected=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="usage_alert_kind_known", condition=Q(kind__in=AlertKind.values)),
            models.CheckConstraint(name="usage_alert_status_known", condition=Q(status__in=AlertStatus.values)),
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=~Q(status="CLOSED"), name="usage_alert_one_live"
            ),
        ]
        triggers = [
            *status_triggers(name="usage_alert_status_edges", initial=AlertStatus.OPEN, edges=ALERT_EDGES),
            *undeletable(name="usage_alert_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display().split(':', maxsplit=1)[0]}: {self.subject}"

    @transition(field=status, source=AlertStatus.OPEN, target=AlertStatus.ACKNOWLEDGED)
    def acknowledge(self, *, at: datetime) -> None:
        """Mark that somebody looks after it."""
        self.acknowledged_at = at

    @transition(field=status, source=[AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED], target=AlertStatus.CLOSED)
    def close(self, *, at: datetime) -> None:
        """Mark that the cause is gone."""
        self.closed_at = at


class UsageProof(Entity):
    """One day rebuilt from its raw events and compared with everything derived from them; its totals are kept."""

    id_prefix = "prf"

    usage_date = models.DateField(help_text="The day of occurrence, in UTC.")
    proven_at = models.DateTimeField()
    snapshot = models.TextField(help_text="The database snapshot that everything was read under.")
    event_count = models.BigIntegerField()
    events_digest = models.CharField(max_length=64)
    aggregate_count = models.BigIntegerField(help_text="Running totals of the day.")
    aggregates_digest = models.CharField(max_length=64)
    totals = models.JSONField(help_text="What the day came to, per meter version.")
    difference_count = models.PositiveIntegerField()
    differences = models.JSONField(default=list, blank=True, help_text="The first of them.")
    duration_ms = models.PositiveIntegerField()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["usage_date", "-id"], name="usage_proof_day")]
        triggers = append_only(name="usage_proof_append_only")

    def __str__(self) -> str:
        return f"Proof of {self.usage_date}"


class UsageMending(Entity):
    """
    The order to rebuild one customer's hour from its raw events, with the reason.

    The row itself is what the database acts on: its trigger rebuilds, so nothing is rebuilt without a row.
    """

    id_prefix = "mnd"

    customer_id = models.UUIDField()
    hour_at = models.DateTimeField()
    reason = models.CharField(max_length=500)
    actor_label = models.CharField(max_length=200)
    mended_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [models.CheckConstraint(name="usage_mending_has_reason", condition=~Q(reason=""))]
        triggers = [
            *append_only(name="usage_mending_append_only"),
            pgtrigger.Trigger(
                name="usage_mending_rebuilds",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                func="PERFORM metering_rebuild_hour(ARRAY[NEW.customer_id], NEW.hour_at); RETURN NULL;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour_at:%Y-%m-%d %H:00}: {self.reason}"


class ArchiveStatus(models.TextChoices):
    """Where a month's raw events are."""

    WRITTEN = "WRITTEN", "Written: in a file, not read back yet, and in the database"
    VERIFIED = "VERIFIED", "Verified: the file was read back and holds the same, and in the database"
    RETIRED = "RETIRED", "Retired: in the file only"
    RESTORED = "RESTORED", "Restored: in the file, and in the database again"
    ABANDONED = "ABANDONED", "Abandoned: the month has changed since; the file is not used"


ARCHIVE_EDGES = (
    Edge("verify", (ArchiveStatus.WRITTEN,), ArchiveStatus.VERIFIED),
    Edge("retire", (ArchiveStatus.VERIFIED, ArchiveStatus.RESTORED), ArchiveStatus.RETIRED),
    Edge("restore", (ArchiveStatus.RETIRED,), ArchiveStatus.RESTORED),
    Edge("abandon", (ArchiveStatus.WRITTEN, ArchiveStatus.VERIFIED, ArchiveStatus.RESTORED), ArchiveStatus.ABANDONED),
)


class UsageArchive(LifecycleModel):
    """A month of raw events in a file: where it is, what is in it, and whether the database holds the month, too."""

    id_prefix = "arc"
    edges = ARCHIVE_EDGES
    initial_status = ArchiveStatus.WRITTEN

    month_date = models.DateField(help_text="The first day of the month of occurrence, in UTC.")
    location = models.TextField(help_text="The file, below the archive folder of the installation.")
    row_count = models.BigIntegerField()
    events_digest = models.CharField(max_length=64)
    file_sha256 = models.CharField(max_length=64)
    file_bytes = models.BigIntegerField()
    manifest = models.JSONField()
    written_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    restored_at = models.DateTimeField(null=True, blank=True)
    abandoned_at = models.DateTimeField(null=True, blank=True)
    status = FSMField(choices=ArchiveStatus, default=ArchiveStatus.WRITTEN, protected=True)

    class Meta:
        ordering = ["-month_date", "-id"]
        constraints = [
            models.CheckConstraint(name="usage_archive_status_known", condition=Q(status__in=ArchiveStatus.values)),
            models.CheckConstraint(name="usage_archive_month_begins", condition=Q(month_date__day=1)),
            models.UniqueConstraint(
                fields=["month_date"], condition=~Q(status="ABANDONED"), name="usage_archive_one_live"
            ),
        ]
        triggers = [
            *status_triggers(name="usage_archive_status_edges", initial=ArchiveStatus.WRITTEN, edges=ARCHIVE_EDGES),
            *undeletable(name="usage_archive_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.month_date:%B %Y}"

    @transition(field=status, source=ArchiveStatus.WRITTEN, target=ArchiveStatus.VERIFIED)
    def verify(self, *, at: datetime) -> None:
        """Mark that the file was read back and holds the same."""
        self.verified_at = at

    @transition(field=status, source=[ArchiveStatus.VERIFIED, ArchiveStatus.RESTORED], target=ArchiveStatus.RETIRED)
    def retire(self, *, at: datetime) -> None:
        """Mark that the month is in the file only."""
        self.retired_at = at

    @transition(field=status, source=ArchiveStatus.RETIRED, target=ArchiveStatus.RESTORED)
    def restore(self, *, at: datetime) -> None:
        """Mark that the month is in the database again."""
        self.restored_at = at

    @transition(
        field=status,
        source=[ArchiveStatus.WRITTEN, ArchiveStatus.VERIFIED, ArchiveStatus.RESTORED],
        target=ArchiveStatus.ABANDONED,
    )
    def abandon(self, *, at: datetime) -> None:
        """Mark that the file is not used any more."""
        self.abandoned_at = at
