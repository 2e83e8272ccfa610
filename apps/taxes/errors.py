"""Anticipated failures of taxes."""

from apps.common.errors import Conflict, Invalid


class TaxRateInvalid(Invalid):
    """The rate cannot be accepted; each field that is wrong is named with its remedy."""

    code = "tax_rate_invalid"


class TaxRateExists(Conflict):
    """There is a rate for this place, category and day already, and rates are never edited."""

    code = "tax_rate_exists"


class TaxRegimeUnknown(Invalid):
    """The issuing entity names a regime that this house does not have."""

    code = "tax_regime_unknown"
