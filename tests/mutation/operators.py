"""
One small change at a time to the syntax tree of a module.

Changed are: comparisons and their bounds, arithmetic, numbers, booleans, conditions, returned values, smallest and
largest, loops left early, and guards (a `raise` that no longer happens). Not changed, because no amount depends on
them: words (messages, docstrings, annotations), decorators, what an exception is told, and assertions, which by their
meaning are never reached.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.FloorDiv),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
}
_OTHER_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SIGNS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*",
    ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**", ast.BitOr: "|", ast.BitAnd: "&", ast.And: "and", ast.Or: "or",
}  # fmt: skip
Apply = Callable[[ast.AST], ast.AST | None]  # changes a node in place, or returns what stands there instead


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A module with one change: which node, what it became, and the line as it is written."""

    position: int  # of the node, in the order of the walk
    line: int
    source_line: str
    change: str
    apply: Apply

    @property
    def key(self) -> tuple[str, str]:
        """What tells mutants of a module apart when lines move: the written line and the change."""
        return self.source_line, self.change


def mutants_of(source: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of the lines."""
    lines = source.splitlines()
    found: list[Mutant] = []
    for position, node in enumerate(_walk(ast.parse(source))):
        for change, apply in _changes(node):
            line = node.lineno
            text = lines[line - 1].strip()
            known = sum(1 for mutant in found if mutant.line == line and mutant.change.split(" #")[0] == change)
            numbered = f"{change} #{known + 1}" if known else change
            found.append(Mutant(position=position, line=line, source_line=text, change=numbered, apply=apply))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.position))


def mutated_tree(source: str, mutant: Mutant) -> ast.Module:
    """Return the syntax tree of a module with one change made."""
    tree = ast.parse(source)
    target = next(node for position, node in enumerate(_walk(tree)) if position == mutant.position)
    replacement = mutant.apply(target)
    if replacement is not None:
        tree = _Replace(target, ast.copy_location(replacement, target)).visit(tree)
    return ast.fix_missing_locations(tree)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that may be changed, parents first."""
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        if isinstance(tree, ast.Raise) or (isinstance(tree, ast.Assign) and _is_listing(tree)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Assert | ast.JoinedStr):
                yield from _walk(child)


def _is_listing(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


def _changes(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    for rule in (_comparison, _arithmetic, _constant, _logic, _condition, _flow, _name):
        yield from rule(node)


def _comparison(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if not isinstance(node, ast.Compare):
        return
    for number, operator in enumerate(node.ops):
        for other in _COMPARISONS[type(operator)]:

            def apply(target: ast.Compare, number: int = number, other: type[ast.cmpop] = other) -> None:
                target.ops[number] = other()

            yield f"{_SIGNS[type(operator)]} -> {_SIGNS[other]}", apply


def _arithmetic(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        for other in _ARITHMETIC.get(type(node.op), ()):

            def apply(target: ast.BinOp | ast.AugAssign, other: type[ast.operator] = other) -> None:
                target.op = other()

            yield f"{_SIGNS[type(node.op)]} -> {_SIGNS[other]}", apply
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        sign = "-" if isinstance(node.op, ast.USub) else "not"
        yield f"{sign} removed", lambda target: target.operand


def _constant(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, int):
        return
    others = (not node.value,) if isinstance(node.value, bool) else (node.value + 1, node.value - 1)
    for other in others:
        yield f"{node.value} -> {other}", lambda target, other=other: ast.Constant(other)


def _logic(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And

        def apply(target: ast.BoolOp) -> None:
            target.op = other()

        yield f"{_SIGNS[type(node.op)]} -> {_SIGNS[other]}", apply


def _condition(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare):

        def apply(target: ast.If | ast.While | ast.IfExp) -> None:
            target.test = ast.UnaryOp(ast.Not(), target.test)

        yield "condition negated", apply
    if isinstance(node, ast.comprehension) and node.ifs:

        def without(target: ast.comprehension) -> None:
            target.ifs = []

        # A comprehension carries no line of its own; its first name does.
        node.lineno = node.target.lineno  # type: ignore[attr-defined]
        yield "filter removed", without


def _flow(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if isinstance(node, ast.Return) and node.value is not None:
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "returns nothing", lambda target: ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise) and not _is_assertion(node):
        yield "not raised", lambda target: ast.Pass()
    elif isinstance(node, ast.Continue):
        yield "continue -> break", lambda target: ast.Break()
    elif isinstance(node, ast.Break):
        yield "break -> continue", lambda target: ast.Continue()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "call removed", lambda target: ast.Pass()


def _is_assertion(node: ast.Raise) -> bool:
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "AssertionError"


def _name(node: ast.AST) -> Iterator[tuple[str, Apply]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OTHER_NAMES:
        other = _OTHER_NAMES[node.func.id]

        def apply(target: ast.Call) -> None:
            target.func = ast.copy_location(ast.Name(other, ast.Load()), target.func)

        yield f"{node.func.id} -> {other}", apply


def unparsed(source: str, mutant: Mutant) -> str:
    """Return a mutant as text, for reading."""
    return ast.unparse(copy.copy(mutated_tree(source, mutant)))
