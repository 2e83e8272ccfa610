"""What the rules about code read: one parsed module at a time, and how a rule is declared."""

import ast
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

_NOT_OURS = {".git", ".venv", ".local", ".hypothesis", "__pycache__", "node_modules", "staticfiles"}
Finding = tuple[int, str]


@dataclass(frozen=True)
class Source:
    """A module: its path from the root, its text and its syntax tree."""

    path: str
    text: str

    @cached_property
    def syntax_error(self) -> SyntaxError | None:
        """Return why the module cannot be parsed, if so; one rule reports it and the others go on."""
        try:
            ast.parse(self.text)
        except SyntaxError as error:
            return error
        return None

    @cached_property
    def tree(self) -> ast.Module:
        """Return the parsed module, each node knowing its parent; an empty one if it cannot be parsed."""
        if self.syntax_error is not None:
            return ast.Module(body=[], type_ignores=[])
        tree = ast.parse(self.text)
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                child.parent = node  # type: ignore[attr-defined]
        return tree

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return every node once."""
        return list(ast.walk(self.tree))

    @property
    def app(self) -> str:
        """Return the app the module belongs to, or an empty string outside of apps/."""
        parts = PurePosixPath(self.path).parts
        return parts[1] if parts[0] == "apps" and len(parts) > 2 else ""

    @property
    def stem(self) -> str:
        """Return the module's own name."""
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Rule:
    """A rule with the reason (its docstring), where it holds, and pieces of code that prove it can fail."""

    name: str
    reason: str
    check: Callable[[Source], Iterable[Finding]]
    where: tuple[str, ...]
    unless: tuple[str, ...]
    refused: tuple[str, ...]
    accepted: tuple[str, ...]
    example_path: str

    def applies_to(self, path: str) -> bool:
        """Return whether the rule holds for a module."""
        return any(fnmatch(path, pattern) for pattern in self.where) and not any(
            fnmatch(path, pattern) for pattern in self.unless
        )


RULES: list[Rule] = []
_APPS = ("apps/*.py",)


def rule(
    *,
    refused: Iterable[str],
    accepted: Iterable[str] = (),
    where: Iterable[str] = _APPS,
    unless: Iterable[str] = (),
    example_path: str = "apps/invoices/services.py",
) -> Callable[[Callable[[Source], Iterable[Finding]]], Callable[[Source], Iterable[Finding]]]:
    """Register a rule; `*` in patterns crosses folders. Migrations are history and are never judged."""

    def register(check: Callable[[Source], Iterable[Finding]]) -> Callable[[Source], Iterable[Finding]]:
        RULES.append(
            Rule(
                name=check.__name__,
                reason=(check.__doc__ or "").strip(),
                check=check,
                where=tuple(where),
                unless=("*/migrations/*", *unless),
                refused=tuple(refused),
                accepted=tuple(accepted),
                example_path=example_path,
            )
        )
        return check

    return register


@cache
def sources() -> tuple[Source, ...]:
    """Return every Python module of the repository that is ours."""
    found = (path for path in tracked_files() if path.suffix == ".py")
    return tuple(
        Source(path=path.relative_to(ROOT).as_posix(), text=path.read_text(encoding="utf-8")) for path in sorted(found)
    )


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return the files that belong to the project: known to git or about to be, never what it ignores."""
    git = shutil.which("git")
    if git is None:
        return tuple(_walk(ROOT))
    listed = subprocess.run(
        [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        # A copy without its history, or somebody else's clone: git will not speak of it.
        return tuple(_walk(ROOT))
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path.name in _NOT_OURS or path.name.endswith("_cache")):
            yield from _walk(path)
        elif path.is_file() and path.suffix != ".pyc":
            yield path
