"""
Mutants that cannot be told from the program by any test, each with the reason; read by hand, few, and checked.

An entry is (module, the line as written, the change, why no input shows it). `script/mutation` fails when an entry no
longer matches a mutant that survives, and when a module has more than one in ten.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalent:
    """One change that changes nothing."""

    module: str
    source_line: str
    change: str
    reason: str


EQUIVALENTS: Final[tuple[Equivalent, ...]] = ()
