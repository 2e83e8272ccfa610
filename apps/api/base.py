"""What every view of the API has in common: key, scopes, idempotency, dry run, strict input, one call inward."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api import dry_run, throttling
from apps.api.errors import RequestInvalid, problem_document
from apps.api.idempotency import KEY_LENGTH_MAX, Answer, IdempotencyKeyRequired, KeyedRequest, answered_once
from apps.common import clock
from apps.common.actors import Actor
from apps.common.errors import FieldProblem
from apps.identity import actors as identity_actors
from apps.identity.models import ApiKey

IDEMPOTENCY_PARAMETER = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="Makes repeating the request harmless"
)
DRY_RUN_PARAMETER = OpenApiParameter(
    "dry_run", bool, description="true: run the real path, answer what it would have done, undo it"
)


class ApiView(APIView):
    """
    A route of the API. Concrete views parse, make one call inward, and render.

    `scopes` names the scope of each method; a method that is not in it is closed. `is_money` makes the
    idempotency key a must on POST; `calls_vendor` says that the work may not run inside one transaction.
    """

    scopes: ClassVar[dict[str, str]] = {}
    is_money: ClassVar[bool] = False
    calls_vendor: ClassVar[bool] = False
    allows_dry_run: ClassVar[bool] = False

    request: Request

    @property
    def key(self) -> ApiKey:
        """Return the key that asks."""
        return cast(ApiKey, self.request.auth)

    @property
    def actor(self) -> Actor:
        """Return the key that asks, as the actor of what is done."""
        return identity_actors.actor_of_api_key(self.key)

    @property
    def at(self) -> datetime:
        """Return the instant of this request; the clock is read once."""
        if not hasattr(self, "_at"):
            self._at = clock.now()
        return self._at

    @property
    def is_dry_run(self) -> bool:
        """Return whether the caller only wants to know what would happen."""
        return self.request.query_params.get("dry_run", "").lower() in ("true", "1")

    def read(self, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """
        Return the validated body.

        :raises ValidationError: naming every field that is wrong, unknown or missing
        """
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        validated: dict[str, Any] = serializer.validated_data
        return validated

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a request as the framework does, with keys and dry runs around the handler."""
        self.args, self.kwargs = args, kwargs
        self.request = request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.initial(request, *args, **kwargs)
            self.headers.update(throttling.take(key=self.key, units=1))
            handler = getattr(self, str(request.method).lower(), self.http_method_not_allowed)
            response = self._answer(lambda: handler(request, *args, **kwargs))
        except Exception as error:  # noqa: BLE001  every failure becomes a problem document
            response = self.handle_exception(error)
        self.response = self.finalize_response(request, response, *args, **kwargs)
        return self.response

    def _answer(self, handler: Callable[[], Response]) -> Response:
        if self.request.method != "POST":
            return handler()
        if self.is_dry_run:
            return self._rehearse(handler)
        key = self.request.headers.get("Idempotency-Key", "")
        if not key:
            if self.is_money:
                raise IdempotencyKeyRequired(
                    "Send an Idempotency-Key header with this request: money moves, and a repeat must be harmless.",
                    problems=(
                        FieldProblem("Idempotency-Key", "required", "any text of your own, up to 255 characters"),
                    ),
                )
            return handler()
        if len(key) > KEY_LENGTH_MAX:
            raise RequestInvalid(f"An Idempotency-Key has at most {KEY_LENGTH_MAX} characters.")
        answer = answered_once(
            request=KeyedRequest(
                api_key_id=self.key.id,
                key=key,
                route=f"{self.request.method} {self.request.path}",
                body=self.request.data,
            ),
            work=lambda: self._worked(handler),
            is_atomic=not self.calls_vendor,
        )
        response = Response(answer.body, status=answer.status)
        if answer.is_replayed:
            response["Idempotent-Replayed"] = "true"
        if answer.status >= 400:  # noqa: PLR2004
            response.content_type = "application/problem+json"
        return response

    def _worked(self, handler: Callable[[], Response]) -> Answer:
        try:
            response = handler()
        except Exception as error:  # noqa: BLE001  a refusal is an answer, too
            response = self.handle_exception(error)
        return Answer(status=response.status_code, body=plain(response.data))

    def _rehearse(self, handler: Callable[[], Response]) -> Response:
        if not self.allows_dry_run:
            raise RequestInvalid("This route has no dry run; leave 'dry_run' out.")
        return dry_run.rehearsed(handler)

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Say which methods there are."""
        document = problem_document(
            status=405,
            code="method_not_allowed",
            detail=f"{request.method} is not for this route; use {', '.join(sorted(self.scopes))}.",
        )
        return Response(document, status=405, content_type="application/problem+json")


def plain(data: Any) -> Any:
    """Return what the renderer would send, as plain JSON values."""
    return json.loads(JSONRenderer().render(data) or b"null", parse_float=str)
