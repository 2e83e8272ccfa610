"""What is kept of an event's properties: the rest is dropped, or stored as a keyed hash, before anything is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apps.identity import secrets
from apps.metering import event_identity
from apps.metering.inputs import MeterInput
from apps.metering.models import Meter
from apps.tenancy import context as tenancy_context

_HASHES_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class PropertyPolicy:
    """Which properties are stored (nothing: all), and which of them as a keyed hash."""

    kept: frozenset[str] | None = None
    hashed: frozenset[str] = frozenset()
    _remembered: dict[tuple[str, bytes], str] = field(default_factory=dict, compare=False, repr=False)

    def stored(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is stored of properties."""
        kept, hashed = self.kept, self.hashed
        return {
            name: self._hash(name, value) if name in hashed and value is not None else value
            for name, value in properties.items()
            if kept is None or name in kept
        }

    def _hash(self, name: str, value: Any) -> str:
        # The canonical text tells 1 from "1"; equal values have equal hashes, in one tenant and property only.
        canonical = event_identity.CANONICAL.encode(value)
        known = self._remembered.get((name, canonical))
        if known is None:
            if len(self._remembered) >= _HASHES_REMEMBERED:
                self._remembered.clear()
            purpose = f"event-property:{tenancy_context.current_schema()}:{name}"
            known = secrets.keyed_hash(purpose=purpose, secret=canonical.decode())
            self._remembered[name, canonical] = known
        return known


@dataclass(frozen=True, slots=True)
class PolicyConflict:
    """A property that a meter reads and a policy withholds: where both name it, and what to do on either side."""

    pointer: str
    need: str
    list_name: str
    policy_remedy: str
    meter_remedy: str


def meter_conflicts(meter: Meter | MeterInput, policy: PropertyPolicy) -> Iterator[PolicyConflict]:
    """Yield what a meter reads of its events that the policy of their type does not store, or stores as a hash."""
    for pointer, name, reads_hashes in _properties_read(meter):
        if policy.kept is not None and name not in policy.kept:
            yield PolicyConflict(
                pointer,
                f"reads '{name}' ({pointer[1:]})",
                "kept_properties",
                f"add '{name}' to kept_properties, or change the meter first",
                f"the policy of the event type does not keep '{name}'; add it to its kept_properties first",
            )
        elif name in policy.hashed and not reads_hashes:
            yield PolicyConflict(
                pointer,
                f"must read the value of '{name}' ({pointer[1:]})",
                "hashed_properties",
                f"do not hash '{name}', or change the meter first",
                f"the policy of the event type stores '{name}' as a hash; take it out of its hashed_properties first",
            )


def _properties_read(meter: Meter | MeterInput) -> Iterator[tuple[str, str, bool]]:
    """Yield where a meter names a property, the property, and whether its hash would do."""
    # Different values have different hashes, so they can be counted and grouped by; a sum needs the number itself.
    if meter.value_property:
        yield "/value_property", meter.value_property, meter.aggregation == "unique_count"
    if meter.operation_property:
        yield "/operation_property", meter.operation_property, False
    if meter.weight_property:
        yield "/weight_property", meter.weight_property, False
    for name in meter.filters:
        yield f"/filters/{name}", name, False
    for name in meter.group_by:
        yield "/group_by", name, True
    for name in meter.rules.get("required", ()):
        yield "/rules/required", name, True
    for name in meter.rules.get("allowed", {}):
        yield "/rules/allowed", name, False
