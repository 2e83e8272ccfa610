"""The page about sending usage is run against a live server, and every line that it promises is answered."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from tests import live
from tests.database import ROOT

PAGE = ROOT / "docs" / "how-to" / "metering.md"
_FENCE = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLES_MIN = 7


def examples() -> list[tuple[str, list[str]]]:
    """Return (commands, promised lines) of each shell fence; the promise is the text fence that follows it."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in _FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "sh":
            found.append((text, []))
        else:
            found[-1][1].extend(text.splitlines())
    return found


@pytest.mark.races
@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash")
def test_the_examples_of_the_page_answer_what_it_says(tenant_of_its_own, tmp_path: Path) -> None:
    """S022, S024, S028, S040: what finance and engineers read about sending usage is what happens."""
    slug = tenant_of_its_own.host.partition(".")[0]
    for name in ("manage.py", "script", "apps", "billing_site", "templates", "static"):
        (tmp_path / name).symlink_to(ROOT / name)
    with live.web_server(database_name=connection.settings_dict["NAME"]) as port:
        script = f'set -eo pipefail\ncurl() {{ command curl --resolve "*:{port}:127.0.0.1" "$@"; }}\n'
        for number, (commands, _promised) in enumerate(examples()):
            script += f"echo '--- {number}'\n{commands.replace('--tenant acme', f'--tenant {slug}')}\n"
        # The collector has no resolver of its own choice: it is given the address and the host's name.
        script = script.replace(
            '--url "${API%/api/v1}"', f"--url http://127.0.0.1:{port} --host {tenant_of_its_own.host}"
        )
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "API": f"http://{tenant_of_its_own.host}:{port}/api/v1",
                "KEY": tenant_of_its_own.key,
                "DJANGO_SETTINGS_MODULE": "billing_site.settings",
            },
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    said = re.split(r"^--- \d+\n", ran.stdout, flags=re.MULTILINE)[1:]
    assert len(said) == len(examples()) >= _EXAMPLES_MIN
    for answer, (commands, promised) in zip(said, examples(), strict=True):
        for line in promised:
            assert line in answer, f"{commands}\npromises {line}\nand answers {answer}"
    assert sum(len(promised) for _commands, promised in examples()) >= _EXAMPLES_MIN
