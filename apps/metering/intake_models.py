"""What a tenant asks of events at the door: how old, how new, how long an id is known, and what is kept of them."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from apps.common.models import Entity
from apps.common.triggers import append_only, undeletable

# Raw events are at hand for 15 months at least, so older ones come by a correction only.
BEHIND_DAYS_MAX = 400
AHEAD_SECONDS_MAX = 24 * 3600
DEDUP_WINDOW_HOURS_MIN = 24
WINDOW_HOURS_MAX = 10 * 366 * 24


class UsageSettings(Entity):
    """How events are taken in. One row, or none: then the defaults hold."""

    id_prefix = "uss"

    behind_days_max = models.PositiveSmallIntegerField(help_text="Events that happened longer ago are refused.")
    ahead_seconds_max = models.PositiveIntegerField(help_text="How far a producer's clock may run ahead.")
    dedup_window_hours = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="After it, an id that comes again is a new event. Empty: an id names one event for ever.",
    )
    retry_window_hours = models.PositiveIntegerField(
        help_text="The longest time after which a producer still sends an event again."
    )
    keys_forgotten_until = models.DateTimeField(
        null=True, editable=False, help_text="Ids received until then may be taken away: as far as the purge has gone."
    )
    is_only_row = models.BooleanField(default=True, editable=False)
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "usage settings"
        constraints = [
            models.UniqueConstraint(fields=["is_only_row"], name="usage_settings_once"),
            models.CheckConstraint(name="usage_settings_one_row", condition=Q(is_only_row=True)),
            models.CheckConstraint(
                name="usage_settings_in_range",
                condition=Q(behind_days_max__range=(1, BEHIND_DAYS_MAX))
                & Q(ahead_seconds_max__range=(0, AHEAD_SECONDS_MAX))
                & Q(retry_window_hours__range=(1, WINDOW_HOURS_MAX)),
            ),
            models.CheckConstraint(
                name="usage_settings_window_covers_retries",
                condition=Q(dedup_window_hours__isnull=True)
                | (
                    Q(dedup_window_hours__range=(DEDUP_WINDOW_HOURS_MIN, WINDOW_HOURS_MAX))
                    & Q(dedup_window_hours__gte=F("retry_window_hours"))
                ),
            ),
            models.CheckConstraint(
                name="usage_settings_forget_by_window",
                condition=Q(keys_forgotten_until__isnull=True) | Q(dedup_window_hours__isnull=False),
            ),
        ]
        triggers: list[pgtrigger.Trigger] = undeletable(name="usage_settings_kept")

    def __str__(self) -> str:
        window = "for ever" if self.dedup_window_hours is None else f"{self.dedup_window_hours} h"
        return f"{self.behind_days_max} days back, {self.ahead_seconds_max} s ahead, ids known {window}"


class EventTypePolicy(Entity):
    """
    What is kept of the properties of one type's events; a row is one version, the highest is in force.

    What the policy leaves out never reaches the database outside of quarantine; what it hashes is stored as a keyed
    hash, which stays the same for the same value, so that values can still be counted and grouped by.
    """

    id_prefix = "etp"

    event_type = models.CharField(max_length=120)
    version = models.PositiveSmallIntegerField()
    is_limited = models.BooleanField(help_text="Keep the listed properties only; otherwise all are kept.")
    kept_properties = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    hashed_properties = ArrayField(
        models.CharField(max_length=60), default=list, blank=True, help_text="Stored as a keyed hash."
    )
    defined_at = models.DateTimeField()

    class Meta:
        ordering = ["event_type", "-version"]
        verbose_name_plural = "event type policies"
        constraints = [
            models.UniqueConstraint(fields=["event_type", "version"], name="event_type_policy_version_once"),
            models.CheckConstraint(
                name="event_type_policy_lists_when_limited", condition=Q(is_limited=True) | Q(kept_properties=[])
            ),
            models.CheckConstraint(
                name="event_type_policy_hashes_what_it_keeps",
                condition=Q(is_limited=False) | Q(hashed_properties__contained_by=F("kept_properties")),
            ),
        ]
        triggers = append_only(name="event_type_policy_append_only")

    def __str__(self) -> str:
        return f"{self.event_type} v{self.version}"
