"""How the OpenAPI document is made: each operation from its view, every failure in the one form, pages as pages."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from apps.api.errors import CONTENT_TYPE

_PAGE = "Page"


class FieldProblemSerializer(serializers.Serializer[Any]):
    """One thing wrong with one field."""

    pointer = serializers.CharField(help_text="JSON pointer into the body, ?name for a parameter, or a header's name.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Why a request was not done (RFC 9457); kinds of problems add facts of their own."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable; programs decide by it.")
    errors = FieldProblemSerializer(many=True)  # type: ignore[assignment]
    request_id = serializers.CharField()


class ApiSchema(AutoSchema):
    """The generator's view of a route of ours."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """Return the operation with the form of its failures."""
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            problem = self.resolve_serializer(ProblemSerializer, "response").ref
            operation["responses"]["default"] = {
                "description": "A problem: what is wrong, where, and what to do.",
                "content": {CONTENT_TYPE: {"schema": problem}},
            }
        return operation

    def get_operation_id(self) -> str:
        """Return a name that tells lists from single rows."""
        name: str = super().get_operation_id().replace(".", "_")
        is_page = type(self.get_response_serializers()).__name__.endswith(_PAGE)
        return f"{name.removesuffix('_retrieve')}_list" if is_page and name.endswith("_retrieve") else name


def page(row: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Return how a page of rows looks."""
    name = row.__name__.removesuffix("Serializer") + _PAGE
    fields = {"data": row(many=True), "next_cursor": serializers.CharField(allow_null=True)}
    described: serializers.Serializer[Any] = inline_serializer(name, fields)
    return described
