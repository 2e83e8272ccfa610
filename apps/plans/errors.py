"""Anticipated failures of plans."""

from apps.common.errors import Conflict, DomainError, Invalid, NotFound


class PlanDocumentInvalid(Invalid):
    """The pricing document cannot be accepted; every problem is named with its place and remedy."""

    code = "plan_document_invalid"


class PlanUnknown(NotFound):
    """No such plan, or no version of it is on sale at the moment asked for."""

    code = "plan_unknown"


class PlanVersionUnknown(NotFound):
    """The plan has no version of this number."""

    code = "plan_version_unknown"


class PlanVersionNotDraft(Conflict):
    """Only a draft can be published; published terms are frozen."""

    code = "plan_version_not_draft"


class PlanVersionNotReady(DomainError):
    """Something stands against publishing; every reason is named with its remedy."""

    code = "plan_version_not_ready"


class PlanExamplesFailed(DomainError):
    """The plan's own examples do not come out as they say; expected and actual totals are named."""

    code = "plan_examples_failed"


class EstimateInvalid(Invalid):
    """What was asked to be priced cannot be priced; every problem is named with its place and remedy."""

    code = "estimate_invalid"


class CohortUnknown(NotFound):
    """No cohort has this id or code."""

    code = "cohort_unknown"


class CohortInvalid(Invalid):
    """The cohort cannot be made; every field is named with the remedy."""

    code = "cohort_invalid"


class CohortExists(Conflict):
    """The code is taken."""

    code = "cohort_exists"


class CouponUnknown(NotFound):
    """No coupon has this id or code."""

    code = "coupon_unknown"


class CouponInvalid(Invalid):
    """The coupon cannot be offered; every field is named with the remedy."""

    code = "coupon_invalid"


class CouponExists(Conflict):
    """The code is taken."""

    code = "coupon_exists"


class CouponNotRedeemable(Conflict):
    """The coupon is withdrawn, too old or redeemed as often as it may be."""

    code = "coupon_not_redeemable"
