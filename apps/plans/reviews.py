"""What a person reads before a version is published: its examples, its cliffs, and what it changes."""

from dataclasses import dataclass
from typing import Any

from apps.engine.money import minor_to_text
from apps.plans import cliffs, documents, pricing
from apps.plans.models import PlanVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleResult:
    """A golden example as it comes out; totals as decimal text in the version's currency, before tax."""

    name: str
    usage: str
    expected: str
    actual: str

    @property
    def is_met(self) -> bool:
        """Whether the terms make the total that the example names."""
        return self.expected == self.actual


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReview:
    """A version under the eyes of who decides about it; `before` is what it is compared with, if there is one."""

    examples: tuple[ExampleResult, ...]
    cliffs: tuple[str, ...]
    before: PlanVersion | None
    difference: tuple[str, ...]


def version_review(*, version: PlanVersion, against: PlanVersion | None = None) -> VersionReview:
    """
    Return what there is to know of a version; read again from its stored document, nothing is written.

    :param against: the version it is compared with; without it the one it follows
    """
    plan = documents.validate(document=version.document)
    failed = {mismatch.position: mismatch.actual_minor for mismatch in pricing.examples_mismatched(plan=plan)}
    before = against or (
        PlanVersion.objects.filter(plan=version.plan, version__lt=version.version)
        .select_related("plan")
        .order_by("-version")
        .first()
    )
    return VersionReview(
        examples=tuple(
            ExampleResult(
                name=example.name or f"Example {position + 1}",
                usage=_usage_text(example),
                expected=minor_to_text(example.total_minor, plan.currency),
                actual=minor_to_text(failed.get(position, example.total_minor), plan.currency),
            )
            for position, example in enumerate(plan.examples)
        ),
        cliffs=tuple(map(str, cliffs.cliffs_of(charges=plan.charges, currency=plan.currency))),
        before=before,
        difference=() if before is None else documents.differences(before=before.document, after=version.document),
    )


def _usage_text(example: documents.PlanExample) -> str:
    parts = [f"{meter}: {_used_text(usage.to_document())}" for meter, usage in sorted(example.usage.items())]
    if example.quantity != 1:
        parts.append(f"quantity: {example.quantity:f}")
    return "; ".join(parts) or "nothing"


def _used_text(used: str | dict[str, Any]) -> str:
    if isinstance(used, str):
        return used
    if "groups" in used:
        return ", ".join(f"{_values_text(group['values'])} {group['units']}" for group in used["groups"])
    if "events" in used:
        return f"events of {', '.join(used['events'])}"
    return ", ".join(f"{name} {value}" for name, value in used.items())


def _values_text(values: dict[str, str | None]) -> str:
    return " ".join(f"{name} {'none' if value is None else value}" for name, value in values.items()) or "all others"
