"""How values look outside: strict in, exact out."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.engine.errors import EngineError
from apps.engine.exact import decimal_text
from apps.engine.money import minor_to_text, parse_decimal

_MONEY_SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "string", "example": "12.34", "description": "decimal string at the currency's precision"},
        "currency": {"type": "string", "example": "USD"},
    },
    "required": ["amount", "currency"],
}


class StrictSerializer(serializers.Serializer):
    """Refuse fields that nobody knows: a misspelt amount must not be a missing one."""

    def to_internal_value(self, data: Any) -> Any:
        """
        Return the validated fields.

        :raises ValidationError: naming every field that is wrong, unknown or missing
        """
        problems: dict[str, Any] = {}
        if isinstance(data, dict):
            known = ", ".join(name for name, field in self.fields.items() if not field.read_only)
            problems = {
                str(name)[:60]: [serializers.ErrorDetail(f"is not known here; use {known}", code="unknown_field")]
                for name in data
                if name not in self.fields
            }
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            detail = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
            raise serializers.ValidationError({**detail, **problems}) from error
        if problems:
            raise serializers.ValidationError(problems)
        return value


class EmptySerializer(StrictSerializer):
    """A command without arguments."""


class InstantField(serializers.DateTimeField):
    """RFC 3339 with an offset in, UTC with `Z` out."""

    def to_internal_value(self, value: Any) -> datetime:
        """Refuse times that name no offset: nobody knows when they are."""
        if not isinstance(value, str):
            self.fail("invalid", format="2026-01-31T00:00:00Z")
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail("invalid", format="2026-01-31T00:00:00Z")
        if at.tzinfo is None:
            raise serializers.ValidationError(
                f'needs an offset; write "{value[:30]}Z" for UTC', code="time_without_offset"
            )
        try:
            return at.astimezone(UTC)
        except OverflowError:
            # The first and last hours that can be written lie outside of what can be reckoned in UTC.
            self.fail("invalid", format="2026-01-31T00:00:00Z")

    def to_representation(self, value: Any) -> Any:
        """Return the instant in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@extend_schema_field(_MONEY_SCHEMA)
class MoneyField(serializers.Field):
    """An amount with its currency, read from a `_minor` attribute of the row."""

    def __init__(self, minor: str, currency: Callable[[Any], str] | None = None) -> None:
        self.minor = minor
        self.currency = currency or (lambda row: str(row.currency))
        super().__init__(source="*", read_only=True)

    def to_representation(self, value: Any) -> dict[str, str]:
        """Return the amount as a decimal string."""
        return money_document(getattr(value, self.minor), self.currency(value))


@extend_schema_field({"type": "string", "example": "12.5"})
class ExactField(serializers.Field):
    """A rate or a quantity: a decimal string, never a number."""

    def to_representation(self, value: Decimal) -> str:
        """Return the shortest exact text."""
        return decimal_text(value)


@extend_schema_field({"type": "string", "example": "3"})
class DecimalTextField(serializers.Field):
    """A number of zero or more in, as a decimal string."""

    def to_internal_value(self, data: Any) -> Decimal:
        """Return the exact number; a JSON number is refused, because nobody knows what became of its digits."""
        try:
            return parse_decimal(data, path=self.field_name or "", minimum=Decimal(0))
        except EngineError as error:
            raise serializers.ValidationError(error.detail, code=error.code) from error


@extend_schema_field({"type": "string"})
class PublicIdField(serializers.Field):
    """The TypeID of a row, its own or a related one's."""

    def __init__(self, source: str = "public_id", **options: Any) -> None:
        super().__init__(source=source, read_only=True, **options)

    def bind(self, field_name: str, parent: Any) -> None:
        """Allow a field named like its source."""
        self.field_name, self.parent = field_name, parent
        self.label = field_name
        self.source_attrs = str(self.source).split(".")

    def to_representation(self, value: Any) -> str:
        """Return the id as it is."""
        return str(value)


def money_document(minor: int, currency: str) -> dict[str, str]:
    """Return an amount in minor units as the API shows money."""
    return {"amount": minor_to_text(minor, currency), "currency": currency}


class ReferenceField(serializers.CharField):
    """A public id or the caller's own code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=120, **options)
