"""Anticipated failures of grants, caps and decisions."""

from apps.common.errors import Conflict, DomainError, Forbidden, Invalid, NotFound


class EntitlementInvalid(Invalid):
    """The grant cannot be given; each field that is wrong is named with its remedy."""

    code = "entitlement_invalid"


class EntitlementUnknown(NotFound):
    """No grant has this id."""

    code = "entitlement_unknown"


class EntitlementRevoked(Conflict):
    """The grant was revoked already."""

    code = "entitlement_revoked"


class GrantKeyTaken(Conflict):
    """The key names another grant; one key grants one thing, once."""

    code = "grant_key_taken"


class CapInvalid(Invalid):
    """The cap cannot be set; each field that is wrong is named with its remedy."""

    code = "cap_invalid"


class CapUnknown(NotFound):
    """No cap of this customer has this id."""

    code = "cap_unknown"


class CapWithdrawn(Conflict):
    """The cap was withdrawn already."""

    code = "cap_withdrawn"


class CapAgreementRefused(Forbidden):
    """Only the approver whom the cap names may agree, and never who set it."""

    code = "cap_agreement_refused"


class DecisionUnknown(NotFound):
    """No decision has this id; old ones are pruned."""

    code = "decision_unknown"


class QuotaExceeded(DomainError):
    """A limit that refuses does not take so many units more; `facts` say limit, used and when it begins anew."""

    code = "quota_exceeded"
    kind = "conflict"
