"""Correct usage through the workflow, by people that can be told apart."""

from datetime import datetime
from typing import Any
from uuid import UUID

from apps.common.actors import Actor, ActorKind
from apps.metering.correction_documents import UsageCorrection
from apps.metering.corrections import CorrectionTerms
from apps.workflows import usage_corrections
from apps.workflows.usage_corrections import CorrectionOrder

ADA = Actor(kind=ActorKind.USER, id=UUID(int=1), label="ada@alpha.example")
BEN = Actor(kind=ActorKind.USER, id=UUID(int=2), label="ben@alpha.example")


def correction(
    *events: dict[str, Any],
    kind: str,
    at: datetime,
    actor: Actor = ADA,
    reason_code: str = "other",
    comment: str = "told by their engineer",
) -> UsageCorrection:
    """Ask for a correction as Ada, unless told otherwise."""
    terms = CorrectionTerms(kind=kind, reason_code=reason_code, comment=comment)
    return usage_corrections.correction_request(order=CorrectionOrder(terms=terms, events=events), actor=actor, at=at)


def counter(correction: UsageCorrection, *, at: datetime, actor: Actor = ADA) -> UsageCorrection:
    """Take a correction back."""
    return usage_corrections.correction_counter(
        correction_id=correction.id, reason_code="correction_wrong", comment="it was right", actor=actor, at=at
    )
