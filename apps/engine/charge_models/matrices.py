"""
Price matrices in documents: the short and the long way to write one, and the one way it is written back.

Rules: a short form looks at one property, a long form at several; both end in a `default`, and `{}` there is the
charge's own price. Values are text and compare as text. What is written is always the long form.
"""

from collections.abc import Callable, Mapping
from typing import Any

from apps.engine import documents
from apps.engine.charge_models.terms import CELL_KEYS, MODEL_PARAMETERS, ChargeTerms, MatrixCell, PriceMatrix
from apps.engine.documents import at_key
from apps.engine.errors import InvalidTerms
from apps.engine.exact import decimal_text

# Reads the price of a cell, which stands at a path; None: the charge's own.
PriceReader = Callable[[object, str], ChargeTerms | None]


def read_matrix(document: object, *, read_price: PriceReader, path: str) -> PriceMatrix:
    """
    Read a price matrix in its short or its long form.

    :raises InvalidTerms: if it has no default, a cell that is never reached, or anything that is not known
    """
    fields = documents.read_mapping(document, path=path)
    is_short = fields.get("property") is not None
    documents.refuse_unknown_keys(
        fields, known=("property" if is_short else "properties", "match", "default"), path=path
    )
    if fields.get("default") is None:
        raise InvalidTerms("is required; write {} for the charge's own price", path=at_key(path, "default"))
    match_path = at_key(path, "match")
    if is_short:
        name = str(documents.read_text(fields, "property", path=path, is_required=True))
        values = documents.read_mapping(fields.get("match"), path=match_path)
        properties: tuple[str, ...] = (name,)
        cells = [
            MatrixCell(when=((name, value),), price=read_price(price, at_key(match_path, value)))
            for value, price in values.items()
        ]
    else:
        properties = tuple(_texts(fields.get("properties"), at_key(path, "properties")))
        cells = [
            _read_cell(item, read_price=read_price, path=at_key(match_path, position))
            for position, item in enumerate(_list(fields.get("match"), match_path))
        ]
    default = read_price(fields["default"], at_key(path, "default"))
    try:
        return PriceMatrix(properties=properties, cells=(*cells, MatrixCell(price=default)))
    except InvalidTerms as exc:
        raise InvalidTerms(exc.detail, path=at_key(path, exc.path)) from exc


def matrix_to_document(matrix: PriceMatrix) -> dict[str, Any]:
    """Return the long form of a matrix."""
    *cells, default = matrix.cells
    return {
        "properties": list(matrix.properties),
        "match": [{"when": dict(cell.when), "price": _price_to_document(cell.price)} for cell in cells],
        "default": _price_to_document(default.price),
    }


def _price_to_document(price: ChargeTerms | None) -> dict[str, Any]:
    if price is None:
        return {}
    parameters = MODEL_PARAMETERS[price.model]
    keys = sorted((parameters.required | parameters.optional) & set(CELL_KEYS))
    document: dict[str, Any] = {"model": price.model}
    for key in keys:
        value = getattr(price, key)
        document[key] = [tier.to_document() for tier in value] if key == "tiers" else value
    return {name: decimal_text(value) if hasattr(value, "as_tuple") else value for name, value in document.items()}


def _read_cell(item: object, *, read_price: PriceReader, path: str) -> MatrixCell:
    fields = documents.read_mapping(item, path=path)
    documents.refuse_unknown_keys(fields, known=("when", "price"), path=path)
    if fields.get("price") is None:
        raise InvalidTerms("is required; write {} for the charge's own price", path=at_key(path, "price"))
    when_path = at_key(path, "when")
    when = documents.read_mapping(fields.get("when"), path=when_path)
    for name, value in when.items():
        if not isinstance(value, str):
            raise InvalidTerms("must be text; put the value in quotes", path=at_key(when_path, name))
    return MatrixCell(when=tuple(when.items()), price=read_price(fields["price"], at_key(path, "price")))


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidTerms("must be a list", path=path)
    return list(value)


def _texts(value: object, path: str) -> list[str]:
    items: Mapping[str, Any] = {str(position): item for position, item in enumerate(_list(value, path))}
    for position, item in enumerate(items.values()):
        if not isinstance(item, str) or not item.strip():
            raise InvalidTerms("must be the name of an event property", path=at_key(path, position))
    return list(items.values())
