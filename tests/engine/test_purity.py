"""The engine is pure: what it imports, what it does not name, and that it answers alike in every process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "apps" / "engine").rglob("*.py"))
# The standard library modules that compute and do nothing else; a new one is a decision, made here.
ALLOWED = {
    "abc",
    "bisect",
    "calendar",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "hashlib",
    "json",
    "math",
    "operator",
    "re",
    "typing",
    "zoneinfo",
}


def imported_names(tree: ast.AST) -> set[str]:
    """Return the full names of the imported modules, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def name_of(module: Path) -> str:
    """Return the path of a module below the engine, as the name of its test."""
    return module.relative_to(ROOT / "apps" / "engine").as_posix()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_only_computing_modules_are_imported(module: Path) -> None:
    """S105: no framework, clock, chance, network or file is within reach."""
    foreign = {
        name
        for name in imported_names(ast.parse(module.read_text()))
        if name.split(".")[0] not in ALLOWED and not name.startswith("apps.engine")
    }
    assert foreign == set()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_clock_and_no_binary_float(module: Path) -> None:
    """S252, S250: no module asks for the time, and none holds or makes a binary float."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today", "fromtimestamp", "total_seconds"}
        if isinstance(node, ast.Name):
            assert node.id != "float"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            raise AssertionError(f"line {node.lineno} divides with /: use a ratio, // or a Fraction")


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_open_with_their_rules(module: Path) -> None:
    tree = ast.parse(module.read_text())
    assert ast.get_docstring(tree)
    assert len(module.read_text().splitlines()) <= 350
    # What a method of a private class does is said where its public base declares it.
    private = {
        id(method)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.startswith("_")
        for method in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, node.name
            if id(node) not in private and not node.name.startswith("_") and "tests" not in module.parts:
                assert ast.get_docstring(node), f"{node.name} does not say what it returns"


def test_answers_do_not_depend_on_the_process() -> None:
    """S106: two processes with other hash seeds, zones and number contexts draft the same invoice."""
    program = (
        "import decimal; decimal.getcontext().prec = {precision}\n"
        "from apps.engine.invoice_draft import build_invoice_draft\n"
        "from tests.engine.drafts import month\n"
        "print(build_invoice_draft(facts=month(minimum_commitment_minor=90000)).hash)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program.format(precision=precision)],
            env={"PYTHONHASHSEED": seed, "TZ": zone},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone, precision in (("1", "UTC", 28), ("2", "Asia/Tokyo", 2))
    }
    assert len(hashes) == 1
    assert len(hashes.pop().strip()) == 64
