"""Which tests are asked about which module, the quickest to notice first."""

from collections.abc import Mapping
from typing import Final

_ENGINE: Final = "tests/engine"


def _tests(*names: str) -> tuple[str, ...]:
    return tuple(f"{_ENGINE}/test_{name}.py" for name in names)


TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "apps.engine.money": _tests("money", "money_edges"),
    "apps.engine.exact": _tests("money", "money_edges"),
    "apps.engine.allocation": _tests("allocation"),
    "apps.engine.proration": _tests("proration"),
    "apps.engine.tax": _tests("tax"),
    "apps.engine.hashing": _tests("hashing"),
    "apps.engine.periods": _tests("periods"),
}
