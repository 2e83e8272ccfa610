"""
Ask the engine and the naive implementation the same questions, and report every answer in which they differ.

    python -m tests.engine.agreement --cases 1000000 --processes 2

prints how many cases of each model were asked, the seed, and each disagreement in its smallest form.
"""

import argparse
import copy
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

from apps.engine.charge_models import (
    NO_BASIS,
    Basis,
    ChargeTerms,
    RatedLine,
    charge_from_document,
    compile_rater,
    fold_events,
    fold_units,
    rate_charge,
)
from apps.engine.errors import EngineError
from apps.engine.money import Rounding
from tests.engine.agreement_cases import MODELS, Case, random_case
from tests.engine.naive.numbers import to_minor
from tests.engine.naive.rating import Usage, charge_amount

BLOCK = 1000
SEED = 20261124
_EXACT = Context(prec=120)


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A case to which there were two answers."""

    seed: str
    case: Case
    expected: str
    got: str

    def __str__(self) -> str:
        case = smallest(self.case)
        expected, got = answers(case)
        return "\n".join(
            (
                f"disagreement (seed {self.seed}):",
                f"  document: {json.dumps(case.document)}",
                f"  usage:    {_usage_text(case.usage)}",
                f"  currency: {case.currency}, rounding: {case.mode}, factor: {case.factor}",
                f"  naive:    {expected}",
                f"  engine:   {got}",
            )
        )


def decimal_of(exact: Fraction) -> Decimal:
    """Return a fraction that ends as a decimal, with all its digits."""
    quotient = _EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    if Fraction(quotient) != exact:
        raise AssertionError(f"{exact} has no exact decimal")
    return quotient


def basis_of(terms: ChargeTerms, usage: Usage) -> Basis:
    """Return what the engine wants to know of the usage beside its quantity."""
    if terms.prices_by is not None:
        return fold_units(terms, [(values, decimal_of(units)) for values, units in usage.groups])
    if terms.model == "percentage":
        return fold_events(terms, [decimal_of(value) for value in usage.event_values])
    if terms.model == "dynamic":
        return Basis(amount=decimal_of(sum(usage.amounts, Fraction(0))))
    return NO_BASIS


def quantity_of(case: Case) -> Decimal:
    """Return the quantity that the meter would report: the units, the values, or the amounts together."""
    usage = case.usage
    return decimal_of(usage.quantity + sum(usage.event_values, Fraction(0)) + sum(usage.amounts, Fraction(0)))


def rated(case: Case) -> RatedLine:
    """Return the engine's line for a case; with few digits in the process's context, which it must not use."""
    quantity = quantity_of(case)
    with localcontext(Context(prec=3)):
        return _rated(case, quantity)


def _rated(case: Case, quantity: Decimal) -> RatedLine:
    terms = charge_from_document(case.document, currency=case.currency, path="charge")
    return rate_charge(
        terms=terms,
        quantity=quantity,
        currency=case.currency,
        rounding=Rounding(case.mode),
        factor=case.factor,
        basis=basis_of(terms, case.usage),
    )


def answers(case: Case) -> tuple[str, str]:
    """Return both answers as text: the naive one, and the engine's or why it refused."""
    exact = charge_amount(case.document, case.usage, case.factor)
    minor = to_minor(exact, case.currency, case.mode)
    expected = f"{exact} = {minor} minor, compiled {minor}; steps sum to {exact}"
    try:
        line = rated(case)
        steps = sum((Fraction(step.amount) for step in line.steps), Fraction(0))
        compiled = compile_rater(
            terms=line.terms, currency=case.currency, rounding=line.rounding, factor=case.factor, basis=line.basis
        )(line.quantity)
        got = f"{line.amount_exact} = {line.amount_minor} minor, compiled {compiled}; steps sum to {steps}"
    except EngineError as refusal:
        got = f"refused: {refusal}"
    except Exception as failure:  # noqa: BLE001  anything else the engine raises is an answer to report, too
        got = f"failed: {type(failure).__name__}: {failure}"
    return expected, got


def disagreements(*, seed: str, cases: int, models: Sequence[str]) -> Iterator[tuple[str, Disagreement | None]]:
    """Yield the model of each case, with the disagreement about it if there is one."""
    chance = random.Random(seed)
    for number in range(cases):
        case = random_case(chance, models)
        expected, got = answers(case)
        found = None
        if expected != got:
            found = Disagreement(seed=f"{seed} case {number}", case=case, expected=expected, got=got)
        yield case.document["model"], found


def smallest(case: Case) -> Case:
    """Leave out whatever can be left out with the two still differing in the same manner."""
    manner = _manner(case)
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(case):
            try:
                is_alike = _manner(candidate) == manner
            except (KeyError, IndexError, TypeError, AssertionError):  # the naive one needs what was left out
                continue
            if is_alike:
                case, is_smaller = candidate, True
                break
    return case


def _manner(case: Case) -> str:
    expected, got = answers(case)
    if expected == got:
        return "agree"
    return got if got.startswith(("refused", "failed")) else "differ"


def _smaller(case: Case) -> Iterator[Case]:
    if case.factor != 1:
        yield replace(case, factor=Fraction(1))
    if case.mode != "half_up":
        yield replace(case, mode="half_up")
    for key in sorted(set(case.document) - {"code", "model", "meter"}):
        yield replace(case, document={name: value for name, value in case.document.items() if name != key})
    for position in range(len(case.document.get("tiers", ())) - 1):
        document = copy.deepcopy(case.document)
        del document["tiers"][position]
        yield replace(case, document=document)
    for name in ("groups", "event_values", "amounts"):
        items = getattr(case.usage, name)
        for position in range(len(items)):
            fewer: dict[str, Any] = {name: (*items[:position], *items[position + 1 :])}
            if name == "groups":
                fewer["quantity"] = sum((units for _, units in fewer["groups"]), Fraction(0))
            yield replace(case, usage=replace(case.usage, **fewer))


def _usage_text(usage: Usage) -> str:
    groups = [(dict(values), str(units)) for values, units in usage.groups]
    values, amounts = [str(value) for value in usage.event_values], [str(amount) for amount in usage.amounts]
    return f"quantity {usage.quantity}, groups {groups}, event values {values}, amounts {amounts}"


def _block(task: tuple[str, int, tuple[str, ...]]) -> tuple[Counter[str], list[str]]:
    seed, cases, models = task
    asked: Counter[str] = Counter()
    found: list[str] = []
    for model, disagreement in disagreements(seed=seed, cases=cases, models=models):
        asked[model] += 1
        if disagreement is not None:
            found.append(str(disagreement) if len(found) < 3 else f"disagreement (seed {disagreement.seed})")
    return asked, found


def main(arguments: Sequence[str] | None = None) -> int:
    """Return zero when there was no disagreement."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.agreement", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    options = parser.parse_args(arguments)
    models, begun = tuple(options.models), time.monotonic_ns()
    tasks = [
        (f"{options.seed}-{block}", min(BLOCK, options.cases - block * BLOCK), models)
        for block in range(-(-options.cases // BLOCK))
    ]
    asked: Counter[str] = Counter()
    shown = count = 0
    with multiprocessing.Pool(options.processes) as pool:
        for block_asked, found in pool.imap_unordered(_block, tasks):
            asked += block_asked
            count += len(found)
            for text in found:
                if shown < 20:
                    shown += 1
                    print(text, flush=True)
    seconds = (time.monotonic_ns() - begun) // 10**9
    print(", ".join(f"{model} {asked[model]}" for model in models))
    print(f"{asked.total()} cases, {count} disagreements, seed {options.seed}, {seconds} seconds")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
