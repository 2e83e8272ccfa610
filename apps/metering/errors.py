"""Anticipated failures of meters, mappings, batches and quarantined events."""

from apps.common.errors import Conflict, DomainError, Forbidden, Invalid, NotFound


class MeterInvalid(Invalid):
    """The definition cannot be accepted; each field that is wrong is named with its remedy."""

    code = "meter_invalid"


class MeterUnknown(NotFound):
    """No meter has this id or code."""

    code = "meter_unknown"


class EventMappingInvalid(Invalid):
    """The mapping cannot be accepted; each entry that is wrong is named with its remedy."""

    code = "event_mapping_invalid"


class EventMappingUnknown(NotFound):
    """No mapping is defined for this source."""

    code = "event_mapping_unknown"


class BatchInvalid(Invalid):
    """The body is not a batch of events; nothing of it was stored."""

    code = "batch_invalid"


class BatchTooLarge(Invalid):
    """The batch has too many events or bytes; nothing of it was stored."""

    code = "batch_too_large"


class UsageQueryInvalid(Invalid):
    """The question about usage cannot be answered as it is put."""

    code = "usage_query_invalid"


class EventAmountInvalid(Invalid):
    """An event that a dynamic charge adds up carries no amount; its period is parked until it is priced otherwise."""

    code = "event_amount_invalid"


class EventDocumentsInvalid(Invalid):
    """Hand-written events that the meter could not count; each is named with its remedy."""

    code = "event_documents_invalid"


class QuarantinedEventUnknown(NotFound):
    """No quarantined event has this id."""

    code = "quarantined_event_unknown"


class ReplayRefused(Conflict):
    """The event was refused again, or contradicts what is stored; it stays in quarantine."""

    code = "replay_refused"


class HeartbeatInvalid(Invalid):
    """A heartbeat whose window or number makes no sense; each field is named."""

    code = "heartbeat_invalid"


class HeartbeatConflict(Conflict):
    """The source said something else about this window, or about one that overlaps it."""

    code = "heartbeat_conflict"


class UsageSettingsInvalid(Invalid):
    """Settings of the intake that cannot hold; each field is named."""

    code = "usage_settings_invalid"


class EventTypePolicyInvalid(Invalid):
    """A policy that cannot hold, or that withholds what a meter reads; each entry is named."""

    code = "event_type_policy_invalid"


class WatchPolicyInvalid(Invalid):
    """Limits of what is watched that cannot hold; each field is named."""

    code = "watch_policy_invalid"


class AnomalyRuleInvalid(Invalid):
    """A rule for unusual usage that cannot hold; each field is named."""

    code = "anomaly_rule_invalid"


class UsageMonthArchived(Conflict):
    """The raw events of a month are in the archive; restore it, then ask again."""

    code = "usage_month_archived"


class ArchiveRefused(Conflict):
    """The month cannot be archived, retired or restored now; the reason says what is in the way."""

    code = "usage_archive_refused"


class ArchiveBroken(DomainError):
    """A file of the archive does not hold what was written into it; nothing was changed."""

    code = "usage_archive_broken"


class QuarantineEditInvalid(Invalid):
    """The new version of a refused event cannot be kept; what is wrong is named with its remedy."""

    code = "quarantine_edit_invalid"


class CorrectionUnknown(NotFound):
    """No usage correction has this id."""

    code = "correction_unknown"


class CorrectionInvalid(Invalid):
    """The correction cannot be made; each event that is wrong is named with its remedy. Nothing was changed."""

    code = "correction_invalid"


class CorrectionConflict(Conflict):
    """Another correction was faster, or the events are being written just now. Nothing was changed."""

    code = "correction_conflict"


class CorrectionDecided(Conflict):
    """A correction is decided once."""

    code = "correction_decided"


class CorrectionNeedsAnother(Forbidden):
    """Whoever asked for a correction does not decide it."""

    code = "correction_needs_another"


class EventRefused(Exception):
    """One event of a batch cannot be accepted: a stable code, and what to do about it. The others go on."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class EventFileInvalid(Invalid):
    """The file is no file of events; or it cannot be read further, and what stands before is taken in."""

    code = "event_file_invalid"


class UsageImportTaken(Conflict):
    """Another process reads the same file in at this moment, and is ahead."""

    code = "usage_import_taken"


class LatePolicyInvalid(Invalid):
    """A policy for late usage cannot be accepted; every field is named."""

    code = "late_policy_invalid"


class LateUsageSettled(Conflict):
    """What became of late usage was said before."""

    code = "late_usage_settled"
