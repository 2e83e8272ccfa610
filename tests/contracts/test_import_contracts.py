"""The import contracts hold, and each of them can fail.

Violations are planted in an empty copy of the tree, one for each thing a contract promises, and looked for in the
report: a contract whose modules were renamed away would otherwise hold for ever.
"""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.source import ROOT, sources

# Contract, module that must not import, what it must not import.
PLANTED = [
    ("walk", "apps/ledger/services.py", "apps.invoices.models"),
    ("walk", "apps/metering/models.py", "apps.workflows.cycle_close"),
    ("walk", "apps/invoices/services.py", "apps.payments.services"),
    ("walk", "apps/portal/apps.py", "apps.api.models"),
    ("walk", "apps/tenancy/context.py", "apps.common.clock"),
    ("walk", "apps/engine/money.py", "apps.common.clock"),
    ("composition-root", "apps/common/db.py", "billing_site.env"),
    ("pure-engine", "apps/engine/tax.py", "django"),
    ("pure-engine", "apps/engine/charge_models/flat.py", "time"),
    ("inside-an-app", "apps/audit/models.py", "apps.audit.services"),
    ("inside-an-app", "apps/subscriptions/selectors.py", "apps.subscriptions.services"),
    ("ledger-rows", "apps/workflows/collection.py", "apps.ledger.models"),
    ("gateway-door", "apps/workflows/collection.py", "apps.payments.gateways.sandbox"),
    ("vendor-door", "apps/workflows/collection.py", "stripe"),
    ("no-cycles", "apps/common/ids.py", "apps.common.models"),
]
_PARSER = configparser.ConfigParser()
_PARSER.read(ROOT / ".importlinter", encoding="utf-8")
NAMES = {
    section.rpartition(":")[2]: _PARSER[section]["name"]
    for section in _PARSER.sections()
    if section.startswith("importlinter:contract:")
}


def empty_copy(folder: Path) -> None:
    """Make every module of apps/ and billing_site/ as an empty file, with the real contracts beside them."""
    shutil.copy(ROOT / ".importlinter", folder / ".importlinter")
    for source in sources():
        if source.path.startswith(("apps/", "billing_site/")):
            (folder / source.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / source.path).touch()


def report_of(folder: Path) -> str:
    """Return what the linter says about a tree."""
    linter = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run(
        [str(linter), "--no-cache"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def broken_report(tmp_path_factory) -> str:
    """Return the report about a copy of the tree with every violation planted."""
    folder = tmp_path_factory.mktemp("planted")
    empty_copy(folder)
    for _contract, path, imported in PLANTED:
        assert (folder / path).exists(), f"{path} was renamed; plant the violation elsewhere"
        with (folder / path).open("a") as module:
            # Inside a function, where a reader of the first lines would not see it.
            module.write(f"def f_{imported.replace('.', '_')}():\n    import {imported}\n")
    (folder / "apps/common/models.py").write_text("import apps.common.ids\n")
    (folder / "apps/newcomer").mkdir()
    (folder / "apps/newcomer/__init__.py").touch()
    return report_of(folder)


def test_the_tree_keeps_every_contract() -> None:
    """S018: the engine imports no database and no network, and every other arrow of the house holds, too."""
    report = report_of(ROOT)
    assert f"Contracts: {len(NAMES)} kept, 0 broken." in report, report


def test_every_contract_has_a_planted_violation() -> None:
    """A contract nobody tried to break is not known to work."""
    assert {contract for contract, _path, _imported in PLANTED} == set(NAMES)


@pytest.mark.parametrize(("contract", "path", "imported"), PLANTED, ids=str)
def test_a_planted_violation_is_reported(broken_report: str, contract: str, path: str, imported: str) -> None:
    """The contract meant for it is broken, and the report names importer and imported."""
    importer = path.removesuffix(".py").replace("/", ".")
    assert f"{NAMES[contract]} BROKEN" in broken_report
    section = broken_report.partition("Broken contracts")[2].partition(f"\n{NAMES[contract]}\n---")[2]
    if contract == "no-cycles":
        assert "No cycles are allowed in apps.common" in section
    else:
        assert f"{importer} -> {imported}" in section


def test_a_new_app_has_to_be_placed(broken_report: str) -> None:
    """S004: an app that is in no layer breaks the build until somebody has decided where it stands."""
    assert "apps.newcomer" in broken_report
