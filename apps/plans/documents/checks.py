"""
The rules between fields, which a schema cannot say: tiers touch and rise, codes are unique, money has the currency's
digits, a metered feature says its limit, examples name what the plan charges.

A rule looks only at parts that are sound so far: what is the wrong kind of value altogether was reported already.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from apps.common import ids
from apps.common.errors import FieldProblem
from apps.engine import currencies
from apps.engine.charge_models.rating import UNITS_MAX
from apps.engine.draft_commitment import COMMITMENT_CODES
from apps.engine.errors import EngineError
from apps.engine.exact import decimal_text
from apps.engine.invoice_draft import BASE_FEE_CODE
from apps.engine.money import ensure_bookable, parse_decimal, text_to_minor
from apps.plans.documents.problems import pointer_of
from apps.plans.documents.schema import UNLIMITED, WILDCARD
from apps.plans.documents.usage_by_hand import misfit, read_usage

RESERVED_CODES: Final = {
    BASE_FEE_CODE: "it names the plan's own fee; use base_fee, or another code",
    **dict.fromkeys(COMMITMENT_CODES, "it names a line that a commitment makes; choose another code"),
}
# What a QuantityField keeps: 38 digits, 12 of them behind the point.
_LIMIT_DECIMALS_MAX: Final = 12
_LIMIT_WHOLE_DIGITS_MAX: Final = 26
EFFECTIVE_YEAR_MIN: Final = 1970
# Periods begin at this instant when examples are priced: the longest ones, 366 years, must still end on the calendar.
EFFECTIVE_YEAR_MAX: Final = 9000
_LAST_TIER_CLOSED: Final = "the last tier must be open, or units above it have no price: use null"
_AMOUNT_FIELDS: Final = ("amount", "min_amount", "max_amount")
_RATE_FIELDS: Final = ("unit_rate", "included_units")
_PLAN_AMOUNT_FIELDS: Final = ("minimum_commitment", "cliff_limit")
# What one more event adds is final the moment it happens.
_ADDITIVE: Final = ("count", "sum")


class KnownMeter(Protocol):
    """What a pricing document must know of a meter that it names."""

    @property
    def aggregation(self) -> str:
        """How its events become a quantity."""

    @property
    def group_by(self) -> Sequence[str]:
        """The properties by which its totals are kept apart."""

    @property
    def is_refusable(self) -> bool:
        """Whether a limit on it may refuse events."""


def is_touched(*, pointer: str, problems: Collection[FieldProblem]) -> bool:
    """Tell whether something at a place, or below it, is known to be wrong."""
    return any(problem.pointer == pointer or problem.pointer.startswith(f"{pointer}/") for problem in problems)


def document_problems(
    *, document: Mapping[str, Any], found: Collection[FieldProblem], known_meters: Mapping[str, KnownMeter] | None
) -> list[FieldProblem]:
    """Return what is wrong between the fields of a document in which `found` is wrong already."""
    reader = _Reader(document=document, found=tuple(found), known_meters=known_meters)
    in_charges = list(reader.charge_problems())
    # A charge on the wrong meter is one mistake; that examples name the right one is not another.
    are_meters_sound = not is_touched(pointer="/charges", problems=reader.found) and all(
        problem.code != "meter_unknown" for problem in in_charges
    )
    return [
        *reader.header_problems(),
        *in_charges,
        *reader.feature_problems(),
        *reader.example_problems(are_meters_sound=are_meters_sound),
    ]


@dataclass(frozen=True, slots=True)
class _Reader:
    """One document under examination."""

    document: Mapping[str, Any]
    found: tuple[FieldProblem, ...]
    known_meters: Mapping[str, KnownMeter] | None

    def is_sound(self, *parts: str | int) -> bool:
        """Tell whether a part exists and nothing is wrong with it so far."""
        value: Any = self.document
        for part in parts:
            if isinstance(value, list):
                value = value[int(part)]
            elif isinstance(value, Mapping) and part in value:
                value = value[part]
            else:
                return False
        return not is_touched(pointer=pointer_of(parts), problems=self.found)

    @property
    def currency(self) -> str | None:
        """The currency when it is one."""
        currency = self.document.get("currency")
        return currency if isinstance(currency, str) and currencies.is_known(currency) else None

    def header_problems(self) -> Iterator[FieldProblem]:
        """Check what concerns the plan as a whole."""
        if self.is_sound("plan") and ids.looks_public(self.document["plan"]):
            detail = "reads like an id of ours, and would be taken for one; choose another code"
            yield FieldProblem("/plan", "code_like_id", detail)
        if self.is_sound("currency") and self.currency is None:
            detail = f'"{self.document["currency"]}" is not a currency of ISO 4217; use one such as "USD"'
            yield FieldProblem("/currency", "currency_unknown", detail)
        if self.is_sound("effective_at"):
            yield from _instant_problems(self.document["effective_at"])
        if self.is_sound("base_fee") and isinstance(self.document["base_fee"], Mapping):
            yield from self._amount_problems(("base_fee",), self.document["base_fee"])
        yield from self._amount_problems((), self.document, names=_PLAN_AMOUNT_FIELDS)
        if self.document.get("minimum_commitment") is not None and self.document.get("commitment") is not None:
            detail = "cannot stand beside minimum_commitment; remove one: commitment.amount is a minimum, too"
            yield FieldProblem("/commitment", "commitment_twice", detail)

    def _charges(self) -> list[tuple[int, Mapping[str, Any]]]:
        charges = self.document.get("charges")
        listed = enumerate(charges) if isinstance(charges, list) else ()
        return [(position, charge) for position, charge in listed if isinstance(charge, Mapping)]

    def charge_problems(self) -> Iterator[FieldProblem]:
        """Check each charge, and that no two have one code."""
        seen: dict[str, int] = {}
        for position, charge in self._charges():
            place = ("charges", position)
            if self.is_sound(*place, "code"):
                yield from self._code_problems(charge["code"], position, seen)
            if not self.is_sound(*place, "model"):
                # The schema checks a charge's fields by its model, so without one they may be anything at all.
                continue
            if self.is_sound(*place, "meter"):
                yield from self._meter_problems((*place, "meter"), charge["meter"])
                yield from self._metering_problems(place, charge)
            yield from self._amount_problems(place, charge)
            yield from self._rate_problems(place, charge)
            if isinstance(charge.get("tiers"), list):
                yield from self._tier_problems((*place, "tiers"), charge["tiers"])

    def _code_problems(self, code: str, position: int, seen: dict[str, int]) -> Iterator[FieldProblem]:
        pointer = pointer_of(("charges", position, "code"))
        if code in RESERVED_CODES:
            yield FieldProblem(pointer, "code_reserved", f'"{code}" is taken: {RESERVED_CODES[code]}')
        elif code in seen:
            yield FieldProblem(pointer, "code_twice", f'"{code}" is the code of charge {seen[code]} too; rename one')
        seen.setdefault(code, position)

    def _meter_problems(self, place: tuple[str | int, ...], code: str | None) -> Iterator[FieldProblem]:
        if code is not None and self.known_meters is not None and code not in self.known_meters:
            known = ", ".join(sorted(self.known_meters)) or "none yet"
            detail = f'there is no current meter "{code}"; define it first, or use one of: {known}'
            yield FieldProblem(pointer_of(place), "meter_unknown", detail)

    def _metering_problems(self, place: tuple[str | int, ...], charge: Mapping[str, Any]) -> Iterator[FieldProblem]:
        """Check that the meter can give what the model asks of it."""
        meter = (self.known_meters or {}).get(charge["meter"])
        if meter is None:
            return
        if charge["model"] == "percentage" and meter.aggregation != "sum":
            detail = (
                f'must be a meter of the aggregation "sum", whose events carry the values; "{charge["meter"]}" is '
                f'"{meter.aggregation}"'
            )
            yield FieldProblem(pointer_of((*place, "meter")), "meter_unsuitable", detail)
        if charge.get("timing") == "advance" and meter.aggregation not in _ADDITIVE:
            detail = (
                f'must be "arrears": the "{meter.aggregation}" of meter "{charge["meter"]}" is known at the end of the '
                f"period only; event by event go {' and '.join(_ADDITIVE)}"
            )
            yield FieldProblem(pointer_of((*place, "timing")), "timing_unsuitable", detail)
        for parts, name in _matrix_properties(charge.get("prices_by")):
            if name not in meter.group_by:
                known, code = ", ".join(meter.group_by) or "nothing", charge["meter"]
                detail = f'"{name}" is not in the group_by of meter "{code}", which has {known}; add it there'
                yield FieldProblem(pointer_of((*place, "prices_by", *parts)), "property_not_grouped", detail)

    def _amount_problems(
        self, place: tuple[str | int, ...], fields: Mapping[str, Any], *, names: Sequence[str] = _AMOUNT_FIELDS
    ) -> Iterator[FieldProblem]:
        """Check that amounts have the currency's digits, and that a minimum is not above its maximum."""
        bounds: dict[str, int] = {}
        for name in names:
            if fields.get(name) is None or not self.is_sound(*place, name) or self.currency is None:
                continue
            try:
                bounds[name] = ensure_bookable(text_to_minor(fields[name], self.currency), self.currency)
            except EngineError as error:
                yield FieldProblem(pointer_of((*place, name)), error.code, error.detail)
        if "min_amount" in bounds and bounds["min_amount"] > bounds.get("max_amount", bounds["min_amount"]):
            detail = "must not be above max_amount; lower it"
            yield FieldProblem(pointer_of((*place, "min_amount")), "bounds_crossed", detail)

    def _rate_problems(self, place: tuple[str | int, ...], fields: Mapping[str, Any]) -> Iterator[FieldProblem]:
        for name in _RATE_FIELDS:
            if fields.get(name) is not None and self.is_sound(*place, name):
                yield from _decimal_problems((*place, name), fields[name])

    def _tier_problems(self, place: tuple[str | int, ...], tiers: list[Any]) -> Iterator[FieldProblem]:
        """Check that tiers rise from 0 and that the last is open; each begins where the one before it ends."""
        lower: Decimal | None = Decimal(0)
        for position, tier in enumerate(tiers):
            at_tier = (*place, position)
            if not isinstance(tier, Mapping):
                lower = None
                continue
            yield from self._rate_problems(at_tier, tier)
            if self.is_sound(*at_tier, "flat_fee") and self.currency and tier["flat_fee"] is not None:
                try:
                    text_to_minor(tier["flat_fee"], self.currency)
                except EngineError as error:
                    yield FieldProblem(pointer_of((*at_tier, "flat_fee")), error.code, error.detail)
            bound_place = (*at_tier, "up_to")
            if not self.is_sound(*bound_place):
                lower = None
                continue
            up_to, is_last = tier["up_to"], position == len(tiers) - 1
            yield from _bound_problems(bound_place, up_to, lower, is_last=is_last)
            lower = None if up_to is None else Decimal(up_to)

    def feature_problems(self) -> Iterator[FieldProblem]:
        """Check that limits are storable and that a metered limit says what happens beyond it."""
        features = self.document.get("features")
        for code, feature in features.items() if isinstance(features, Mapping) else ():
            if not isinstance(feature, Mapping):
                continue
            place = ("features", code)
            if self.is_sound(*place, "limit"):
                yield from _limit_problems((*place, "limit"), feature["limit"])
            meter, on_exceed = feature.get("meter"), feature.get("on_exceed")
            if meter is not None and code == WILDCARD:
                detail = "one meter cannot count all features not named; give each its own limit"
                yield FieldProblem(pointer_of((*place, "meter")), "wildcard_metered", detail)
            elif self.is_sound(*place, "meter"):
                yield from self._meter_problems((*place, "meter"), meter)
            if meter is not None and on_exceed is None and feature.get("limit") != UNLIMITED:
                detail = "is required with a meter; say whether to reject, throttle or notify above the limit"
                yield FieldProblem(pointer_of((*place, "on_exceed")), "required", detail)
            known = (self.known_meters or {}).get(meter) if isinstance(meter, str) else None
            if known is not None and on_exceed == "reject" and not known.is_refusable:
                detail = (
                    f'the meter "{meter}" adds up by {known.aggregation}, which events cannot be refused by; throttle '
                    "or notify, or name a meter that counts, sums, takes the largest value or counts different values"
                )
                yield FieldProblem(pointer_of((*place, "on_exceed")), "not_refusable", detail)
            if meter is None and on_exceed is not None:
                detail = "belongs to a metered limit; name the meter, or remove it"
                yield FieldProblem(pointer_of((*place, "on_exceed")), "meter_missing", detail)

    def example_problems(self, *, are_meters_sound: bool) -> Iterator[FieldProblem]:
        """Check that examples use meters that the plan charges, in the way they are charged, and cost money."""
        charges = [charge for _, charge in self._charges() if isinstance(charge.get("meter"), str)]
        charged = {charge["meter"] for charge in charges}
        examples = self.document.get("examples")
        for position, example in enumerate(examples) if isinstance(examples, list) else ():
            if not isinstance(example, Mapping):
                continue
            place = ("examples", position)
            for code, used in example["usage"].items() if self.is_sound(*place, "usage") else ():
                parts = (*place, "usage", code)
                yield from _usage_problems(parts, used, [charge for charge in charges if charge["meter"] == code])
                if are_meters_sound and code not in charged:
                    known = ", ".join(sorted(charged)) or "none"
                    detail = f'no charge of this plan is on the meter "{code}"; it charges: {known}'
                    yield FieldProblem(pointer_of(parts), "meter_not_charged", detail)
            if self.is_sound(*place, "quantity") and example["quantity"] is not None:
                yield from _decimal_problems((*place, "quantity"), example["quantity"], maximum=UNITS_MAX)
            if self.is_sound(*place, "total") and self.currency is not None:
                try:
                    text_to_minor(example["total"], self.currency)
                except EngineError as error:
                    yield FieldProblem(pointer_of((*place, "total")), error.code, error.detail)


def _usage_problems(
    parts: tuple[str | int, ...], used: Any, charges: Sequence[Mapping[str, Any]]
) -> Iterator[FieldProblem]:
    problems: list[FieldProblem] = []
    usage = read_usage(used, parts=parts, problems=problems)
    yield from problems
    if usage is None:
        return
    for charge in charges:
        complaint = misfit(usage=usage, model=str(charge.get("model")))
        if complaint:
            detail = f'the charge "{charge.get("code")}" {complaint}'
            yield FieldProblem(pointer_of(parts), "usage_unsuitable", detail)


def _matrix_properties(matrix: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the properties that a price matrix names, with their places; what is no text was found wrong elsewhere."""
    if not isinstance(matrix, Mapping):
        return
    if isinstance(matrix.get("property"), str):
        yield ("property",), matrix["property"]
    listed = matrix.get("properties")
    for position, name in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(name, str):
            yield ("properties", position), name


def _instant_problems(text: str) -> Iterator[FieldProblem]:
    try:
        year = datetime.fromisoformat(text.upper()).astimezone(UTC).year
    except OverflowError:
        # Its offset carries it over an end of the calendar.
        year = 0
    except ValueError as error:
        yield FieldProblem("/effective_at", "no_such_time", f"is not on the calendar: {error}")
        return
    if not EFFECTIVE_YEAR_MIN <= year <= EFFECTIVE_YEAR_MAX:
        detail = f"must lie in the years {EFFECTIVE_YEAR_MIN} to {EFFECTIVE_YEAR_MAX}, reckoned in UTC"
        yield FieldProblem("/effective_at", "time_out_of_range", detail)


def _decimal_problems(
    place: tuple[str | int, ...], value: str, *, maximum: Decimal | None = None
) -> Iterator[FieldProblem]:
    try:
        number = parse_decimal(value, path="", minimum=Decimal(0))
        if maximum is not None and number > maximum:
            yield FieldProblem(pointer_of(place), "units_out_of_range", f"must not be above {decimal_text(maximum)}")
    except EngineError as error:
        yield FieldProblem(pointer_of(place), error.code, error.detail)


def _bound_problems(
    place: tuple[str | int, ...], up_to: str | None, lower: Decimal | None, *, is_last: bool
) -> Iterator[FieldProblem]:
    pointer = pointer_of(place)
    if is_last:
        if up_to is not None:
            yield FieldProblem(pointer, "last_tier_closed", _LAST_TIER_CLOSED)
    elif up_to is None:
        yield FieldProblem(pointer, "tier_open", "only the last tier may be open: give its upper bound")
    elif lower is not None and Decimal(up_to) <= lower:
        yield FieldProblem(pointer, "tiers_fall", f"must be above {decimal_text(lower)}, where the tier begins")


def _limit_problems(place: tuple[str | int, ...], limit: str) -> Iterator[FieldProblem]:
    whole, _, behind_point = limit.partition(".")
    if limit != UNLIMITED and (len(whole) > _LIMIT_WHOLE_DIGITS_MAX or len(behind_point) > _LIMIT_DECIMALS_MAX):
        detail = (
            f"may have {_LIMIT_WHOLE_DIGITS_MAX} digits before the point and {_LIMIT_DECIMALS_MAX} behind it; "
            f'shorten it, or write "{UNLIMITED}"'
        )
        yield FieldProblem(pointer_of(place), "limit_out_of_range", detail)
