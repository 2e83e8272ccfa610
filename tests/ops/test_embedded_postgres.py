"""The embedded PostgreSQL starts, is found, is mended after violence, and says what to do when it cannot start."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from script.lib.embedded_postgres import EmbeddedPostgres
from script.lib.postgres_binaries import PostgresUnavailable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a short private folder; pytest's own path is too long for a socket to be beside the data."""
    path = Path(tempfile.mkdtemp(prefix="ch-"))
    yield path
    EmbeddedPostgres(path / "pg", durable=True).stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def server(folder: Path) -> EmbeddedPostgres:
    """Give a running durable server."""
    running = EmbeddedPostgres(folder / "pg", durable=True)
    assert running.start(bound=False) is True
    return running


def run_command(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "script.lib.embedded_postgres", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def test_a_server_starts_once_is_found_again_and_stops(server: EmbeddedPostgres) -> None:
    same = EmbeddedPostgres(server.directory, durable=True)

    assert same.answers()
    assert same.start(bound=False) is False
    assert same.url(database="books").startswith("postgresql://app:")
    assert same.query("SHOW listen_addresses").stdout == "\n"
    assert same.query("SHOW server_encoding").stdout.strip() == "UTF8"
    assert int(same.query("SHOW max_locks_per_transaction").stdout) >= 256
    assert same.stop() is True
    assert not same.answers()
    assert same.stop() is False


def test_the_socket_asks_for_the_password_and_is_private(server: EmbeddedPostgres) -> None:
    refused = subprocess.run(
        [*server.psql_command(), "-c", "SELECT 1"],
        env=server.psql_env() | {"PGPASSWORD": "guess"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "password authentication failed" in refused.stderr
    assert (server.directory / "password").stat().st_mode & 0o077 == 0
    assert server.socket_dir.stat().st_mode & 0o077 == 0


def test_a_killed_postmaster_comes_back_with_every_acknowledged_row(server: EmbeddedPostgres) -> None:
    assert server.query("CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 500)").returncode == 0
    killed = postmaster(server)

    os.kill(killed, signal.SIGKILL)
    assert server.process is not None
    server.process.wait()
    again = EmbeddedPostgres(server.directory, durable=True)

    assert again.start(bound=False) is True
    assert postmaster(again) != killed
    assert again.query("SELECT count(*) FROM kept").stdout.strip() == "500"


def test_a_process_number_used_again_by_somebody_else_does_not_hinder(server: EmbeddedPostgres) -> None:
    stale = (server.data / "postmaster.pid").read_text().splitlines()
    server.stop()
    stale[0] = str(os.getppid())
    (server.data / "postmaster.pid").write_text("\n".join(stale))

    assert server.stop() is False
    assert server.start(bound=False) is True
    assert server.answers()


def test_two_starts_at_once_make_one_server(folder: Path) -> None:
    command = [sys.executable, "-m", "script.lib.embedded_postgres", "--directory", str(folder / "pg"), "start"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    urls = {process.communicate(timeout=60)[0].strip() for process in both}

    assert [process.returncode for process in both] == [0, 0]
    assert len(urls) == 1
    assert EmbeddedPostgres(folder / "pg", durable=True).answers()


def test_an_interrupted_creation_is_done_again(folder: Path) -> None:
    (folder / "pg" / "data.unfinished" / "base").mkdir(parents=True)

    server = EmbeddedPostgres(folder / "pg", durable=True)

    assert server.start(bound=False) is True
    assert not (folder / "pg" / "data.unfinished").exists()


@pytest.mark.parametrize("name", ["a" * 60 + "/" + "b" * 60, "our data, 'quoted'"])
def test_a_long_or_odd_path_gets_its_socket_elsewhere(folder: Path, name: str) -> None:
    server = EmbeddedPostgres(folder / name, durable=False)

    try:
        assert server.start(bound=False) is True
        assert server.answers()
        assert len(str(server.socket_dir)) < 80
        assert " " not in str(server.socket_dir)
    finally:
        server.stop()
        shutil.rmtree(server.socket_dir)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("version", "holds data of PostgreSQL 12, but PostgreSQL"),
        ("control", "Restore .* from a backup, or remove"),
        ("marker", "PG_VERSION is missing"),
        ("password", "is missing, so nobody can sign in"),
    ],
)
def test_unusable_data_gets_a_sentence_with_the_remedy(server: EmbeddedPostgres, damage: str, sentence: str) -> None:
    server.stop()
    if damage == "version":
        (server.data / "PG_VERSION").write_text("12\n")
    elif damage == "control":
        (server.data / "global" / "pg_control").write_bytes(b"")
    elif damage == "marker":
        (server.data / "PG_VERSION").unlink()
    else:
        (server.directory / "password").unlink()

    with pytest.raises(PostgresUnavailable, match=sentence):
        server.start(bound=False)
    said = run_command("--directory", str(server.directory), "start")

    assert said.returncode == 1
    assert "Traceback" not in said.stderr


def test_a_throwaway_cluster_is_made_anew_after_a_crash_of_the_machine(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "pg", durable=False)
    server.start(bound=False)
    server.query("CREATE TABLE doubtful ()")
    server.stop()
    (server.data / "postmaster.pid").write_text("1\n")
    (server.directory / "boot").write_text("another boot")

    assert server.start(bound=False) is True
    assert server.query("SELECT to_regclass('doubtful') IS NULL").stdout.strip() == "t"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.parametrize("mode", [0o711, 0o700])
def test_root_without_user_namespaces_runs_it_as_nobody(folder: Path, mode: int) -> None:
    env = {"COUNTINGHOUSE_NO_USER_NAMESPACE": "1"}
    folder.chmod(mode)

    started = run_command("--directory", str(folder / "pg"), "start", env=env)
    found = run_command("--directory", str(folder / "pg"), "psql", "-Atc", "SELECT 1", env=env)
    stopped = run_command("--directory", str(folder / "pg"), "stop", env=env)
    server = EmbeddedPostgres(folder / "pg", durable=True)

    try:
        assert started.returncode == 0, started.stderr
        assert found.stdout.strip() == "1"
        assert stopped.returncode == 0
        assert server.data.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert folder.stat().st_mode & 0o777 == mode
        assert server.start(bound=False) is True  # and back again, where namespaces work
    finally:
        server.stop()
        if server.home != server.directory:
            shutil.rmtree(server.home)
            with contextlib.suppress(OSError):  # others may live there
                server.home.parent.rmdir()
