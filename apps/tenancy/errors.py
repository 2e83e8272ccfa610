"""Anticipated failures of provisioning."""


class ProvisioningError(Exception):
    """Provisioning could not go on; the message says what to do."""


class TenantSlugInvalid(ProvisioningError):
    """The slug cannot be a host name."""


class TenantSlugTaken(ProvisioningError):
    """Another tenant has the slug."""


class TenantDomainForeign(ProvisioningError):
    """The host name lies outside the base domain, so requests to it would be refused."""


class TenantProbeFailed(ProvisioningError):
    """The finished tenant does not answer as it should."""
