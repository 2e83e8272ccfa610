"""The gateway is chosen by name here, so that no import goes round the port (`apps/payments/gateways/base.py`)."""

from billing_site.settings.components.environment import ENV

PAYMENT_GATEWAYS = {"sandbox": "apps.payments.gateways.sandbox.SandboxGateway"}
PAYMENT_GATEWAY_DEFAULT = ENV.payment_gateway
