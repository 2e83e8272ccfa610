"""How far the import of a file of events is."""

from django.db import models
from django.db.models import F, Q

from apps.common.models import Entity
from apps.common.triggers import fixed_columns, undeletable


class FileFormat(models.TextChoices):
    """How a file of events is written."""

    JSONL = "jsonl", "JSON lines: one event a line"
    CSV = "csv", "CSV: a header, then one event a row"


class UsageImport(Entity):
    """
    A file of events that is, or was, read in.

    Position and counts change in the transaction that takes the events in, so they are never ahead of them or behind.
    What was read is known by its hash: whoever gives the same content again goes on behind it, whatever its name is.
    """

    id_prefix = "imp"

    file_name = models.TextField(help_text="As it was given.")
    format = models.CharField(max_length=5, choices=FileFormat)
    encoding = models.CharField(max_length=40)
    mapping_source = models.CharField(max_length=120, blank=True, help_text="The mapping that reads the events.")
    columns = models.JSONField(default=dict, blank=True, help_text="Fields of an event and the columns they are in.")
    read_bytes = models.BigIntegerField(help_text="Of the text, unpacked.")
    read_lines = models.BigIntegerField()
    read_sha256 = models.CharField(max_length=64, help_text="Of the text up to here.")
    accepted_count = models.BigIntegerField(default=0)
    duplicate_count = models.BigIntegerField(default=0)
    conflict_count = models.BigIntegerField(default=0)
    rejected_count = models.BigIntegerField(default=0)
    begun_at = models.DateTimeField()
    begun_by_name = models.CharField(max_length=200)
    read_at = models.DateTimeField(help_text="When the last batch went in.")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="Empty: not to its end yet.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="usage_import_format_known", condition=Q(format__in=FileFormat.values)),
            models.CheckConstraint(
                name="usage_import_counts_read_lines",
                # Empty lines and headers are read, and are no events.
                condition=Q(
                    read_lines__gte=F("accepted_count")
                    + F("duplicate_count")
                    + F("conflict_count")
                    + F("rejected_count")
                )
                & Q(accepted_count__gte=0, duplicate_count__gte=0, conflict_count__gte=0, rejected_count__gte=0),
            ),
            models.CheckConstraint(name="usage_import_read_something", condition=Q(read_bytes__gt=0)),
        ]
        triggers = [
            *fixed_columns(
                name="usage_import_reading_fixed",
                columns=("file_name", "format", "encoding", "mapping_source", "columns", "begun_at", "begun_by_name"),
            ),
            *undeletable(name="usage_import_kept"),
        ]

    def __str__(self) -> str:
        return self.file_name
