"""What every view of the API has in common: key, scopes, idempotency, dry run, strict input, one call inward."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api import dry_run, throttling
from apps.api.authentication import ApiPrincipal
from apps.api.errors import CONTENT_TYPE, RequestInvalid
from apps.api.idempotency import KEY_LENGTH_MAX, Answer, IdempotencyKeyRequired, KeyedRequest, answered_once
from apps.api.schema import ApiSchema
from apps.common import clock
from apps.common.actors import Actor
from apps.common.errors import FieldProblem, NotFound
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
    idempotency key a must on POST; `is_one_unit` is false where the work opens transactions of its own, because it
    calls a vendor or commits piece by piece.
    """

    scopes: ClassVar[dict[str, str]] = {}
    is_money: ClassVar[bool] = False
    is_one_unit: ClassVar[bool] = True
    allows_dry_run: ClassVar[bool] = False

    schema = ApiSchema()
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
        """
        Return whether the caller only wants to know what would happen.

        :raises RequestInvalid: for anything but true and false: a misspelt rehearsal must not be the real thing
        """
        text = self.request.query_params.get("dry_run", "false").lower()
        if text not in ("true", "1", "false", "0"):
            detail = "must be true or false"
            raise RequestInvalid(
                f"The parameter 'dry_run' {detail}.", problems=(FieldProblem("?dry_run", "dry_run_invalid", detail),)
            )
        return text in ("true", "1")

    def read(self, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """
        Return the validated body.

        :raises ValidationError: naming every field that is wrong, unknown or missing
        """
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        validated: dict[str, Any] = serializer.validated_data
        return validated

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """
        Prove the key, its scope and the form of the address.

        :raises RequestInvalid: if a parameter holds a NUL, which no text of ours does and no database takes
        """
        super().initial(request, *args, **kwargs)
        if any("\x00" in str(part) for part in kwargs.values()):
            raise NotFound("There is nothing here: no id and no code holds a NUL.")
        for name, value in request.query_params.items():
            if "\x00" in name or "\x00" in value:
                problem = FieldProblem(f"?{name}", "null_character", "must not hold a NUL")
                raise RequestInvalid("The address holds a NUL; leave it out.", problems=(problem,))

    def check_permissions(self, request: Any) -> None:
        """
        Ask for the scope of this method.

        :raises MethodNotAllowed: to who has a key, where no scope would help because there is no such method
        """
        if isinstance(request.user, ApiPrincipal) and request.method not in self.scopes:
            detail = f"{request.method} is not for this route; use {', '.join(sorted(self.scopes))}."
            raise MethodNotAllowed(str(request.method), detail=detail)
        super().check_permissions(request)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a request as the framework does, with keys and dry runs around the handler."""
        self.args, self.kwargs = args, kwargs
        self.request = request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.initial(request, *args, **kwargs)
            self.headers.update(throttling.take(key=self.key, units=1))
            handler = getattr(self, str(request.method).lower())
            response = self._answer(lambda: handler(request, *args, **kwargs))
        except Exception as error:  # noqa: BLE001  every failure becomes a problem document
            response = self.handle_exception(error)
        self.response = self.finalize_response(request, response, *args, **kwargs)
        return self.response

    def _answer(self, handler: Callable[[], Response]) -> Response:
        # Asked first and of every method: who wants to rehearse must never get the real thing.
        if self.is_dry_run:
            return self._rehearse(handler)
        if self.request.method != "POST":
            return handler()
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
            is_atomic=self.is_one_unit,
        )
        response = Response(answer.body, status=answer.status)
        if answer.is_replayed:
            response["Idempotent-Replayed"] = "true"
        if answer.status >= 400:  # noqa: PLR2004
            response.content_type = CONTENT_TYPE
        return response

    def _worked(self, handler: Callable[[], Response]) -> Answer:
        try:
            response = handler()
        except Exception as error:  # noqa: BLE001  a refusal is an answer, too
            response = self.handle_exception(error)
        return Answer(status=response.status_code, body=plain(response.data))

    def _rehearse(self, handler: Callable[[], Response]) -> Response:
        if not self.allows_dry_run or self.request.method != "POST":
            detail = "is not for this route; leave it out"
            raise RequestInvalid(
                f"The parameter 'dry_run' {detail}.", problems=(FieldProblem("?dry_run", "dry_run_invalid", detail),)
            )
        return dry_run.rehearsed(handler)


def plain(data: Any) -> Any:
    """Return what the renderer would send, as plain JSON values."""
    return json.loads(JSONRenderer().render(data) or b"null", parse_float=str)
