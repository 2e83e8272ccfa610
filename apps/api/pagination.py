"""Cursor lists: newest first, a page at a time, stable while rows are added."""

from typing import Any
from uuid import UUID

from django.core import signing
from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from apps.api.errors import RequestInvalid
from apps.common.errors import FieldProblem

LIMIT_DEFAULT = 25
LIMIT_MAX = 100
_SALT = "api.cursor"

LIST_PARAMETERS = [
    OpenApiParameter("limit", int, description=f"1 to {LIMIT_MAX}, {LIMIT_DEFAULT} without it"),
    OpenApiParameter("cursor", str, description="`next_cursor` of the page before"),
]


def page_of(request: Request, rows: QuerySet[Any]) -> tuple[list[Model], str | None]:
    """
    Return one page of rows, newest first, and the cursor of the next one.

    :raises RequestInvalid: if limit or cursor is wrong
    """
    limit = limit_of(request)
    cursor = request.query_params.get("cursor", "")
    if cursor:
        rows = rows.filter(id__lt=_opened(cursor))
    found = list(rows.order_by("-id")[: limit + 1])
    page = found[:limit]
    return page, signing.dumps(str(page[-1].pk), salt=_SALT) if len(found) > limit else None


def limit_of(request: Request) -> int:
    """
    Return how many rows were asked for.

    :raises RequestInvalid: if it is not a whole number from 1 to the maximum
    """
    text = request.query_params.get("limit", str(LIMIT_DEFAULT))
    # The length first: the language refuses to read a number of thousands of digits.
    if not text.isdecimal() or len(text) > len(str(LIMIT_MAX)) or not 1 <= int(text) <= LIMIT_MAX:
        raise _invalid("limit", f"must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def _opened(cursor: str) -> UUID:
    try:
        return UUID(signing.loads(cursor, salt=_SALT))
    except (signing.BadSignature, ValueError) as error:
        raise _invalid("cursor", "is not one of ours; send back `next_cursor` unchanged") from error


def _invalid(name: str, detail: str) -> RequestInvalid:
    return RequestInvalid(
        f"The parameter '{name}' {detail}.", problems=(FieldProblem(f"?{name}", f"{name}_invalid", detail),)
    )
