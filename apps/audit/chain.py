"""How an audit entry becomes a hash. Versioned: a later algorithm gets a new number and the old one stays.

Version 1: SHA-256 over the previous hash, a newline, and the canonical JSON of the entry's facts and position.
"""

import hashlib

from apps.audit.models import AuditEntry
from apps.engine import hashing

VERSION = 1
# The hash before the first entry, so that position 1 is not a special case.
GENESIS = "0" * 64


def entry_hash(*, entry: AuditEntry, previous_hash: str) -> str:
    """
    Return the chain hash of an entry as 64 hexadecimal digits.

    :raises ValueError: if the entry was sealed by an algorithm this release does not know
    """
    if entry.hash_version != 1:
        raise ValueError(f"Audit entry {entry.position} was sealed by the unknown hash version {entry.hash_version}.")
    facts = {
        "position": entry.position,
        "id": str(entry.id),
        "entity_type": entry.entity_type,
        "entity_id": str(entry.entity_id),
        "action": entry.action,
        "actor_kind": entry.actor_kind,
        "actor_id": str(entry.actor_id) if entry.actor_id else None,
        "actor_label": entry.actor_label,
        "reason_code": entry.reason_code,
        "comment": entry.comment,
        "before": entry.before,
        "after": entry.after,
        "at": entry.at,
        "request_id": entry.request_id,
    }
    return hashlib.sha256(f"{previous_hash}\n{hashing.canonical_json(facts)}".encode()).hexdigest()
