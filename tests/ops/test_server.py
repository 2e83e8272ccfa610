"""`script/server` refuses what cannot work with one sentence that names the remedy."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pgmq
import psycopg
import pytest

from script.lib import processes, server
from script.lib.embedded_postgres import EmbeddedPostgres
from script.lib.supervisor import ServiceGaveUp

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def local_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ch-"))
    yield path
    shutil.rmtree(path)


def run_server(local_dir: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "script.lib.server"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "LOCAL_DIR": str(local_dir), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_taken_port_is_named_with_the_way_out(local_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        ended = run_server(local_dir, PORT=str(port))

    assert ended.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in ended.stderr
    assert f"PORT={port + 1} script/server" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (local_dir / "postgres").exists()


def test_a_second_server_on_the_same_folder_is_refused(local_dir: Path) -> None:
    with processes.lock_open(local_dir / "server.lock") as lock:
        assert processes.lock_try(lock)
        lock.write(str(os.getpid()))
        lock.flush()

        ended = run_server(local_dir)

    assert ended.returncode == 1
    assert f"already runs on {local_dir} (process {os.getpid()})" in ended.stderr
    assert "LOCAL_DIR=" in ended.stderr


def test_a_database_that_does_not_answer_is_named(local_dir: Path) -> None:
    ended = run_server(local_dir, PORT="18765", DATABASE_URL="postgresql://nobody:secret@127.0.0.1:9/none")

    assert ended.returncode == 1
    assert "The database of DATABASE_URL does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ModuleNotFoundError: No module named 'typst'", "The module typst is missing"),
        ("InconsistentMigrationHistory: 0002 is applied before 0001", "LOCAL_DIR=.local/fresh script/server"),
    ],
)
def test_a_failed_step_names_the_remedy_when_its_words_tell(said: str, remedy: str) -> None:
    assert remedy in server.remedy_for(said)
    assert server.remedy_for("something never seen") == ""


def test_a_nonsense_number_is_named() -> None:
    with pytest.raises(ServiceGaveUp, match="PORT=eighty is not a number"):
        server.settings_read({"PORT": "eighty"})


def test_missing_modules_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MODULES", ("json", "absent_one", "absent_two"))

    with pytest.raises(ServiceGaveUp, match="absent_one, absent_two.*Remove the folder .venv"):
        server.ensure_modules_present()


def test_a_database_of_somebody_else_is_not_filled_unless_asked() -> None:
    theirs = {"DATABASE_URL": "postgresql://db.example/books"}

    assert server.settings_read({}).is_demo
    assert not server.settings_read(theirs).is_demo
    assert server.settings_read(theirs | {"DEMO": "1"}).is_demo
    assert not server.settings_read(theirs).is_broker_ours


def test_children_do_not_inherit_other_projects_settings(local_dir: Path) -> None:
    (local_dir / "postgres").mkdir()
    (local_dir / "postgres" / "password").write_text("word")
    postgres = EmbeddedPostgres(local_dir / "postgres", durable=True)
    environ = {
        "PATH": "/bin",
        "PGPORT": "1",
        "PYTHONPATH": "/elsewhere",
        "VIRTUAL_ENV": "/x",
        "EMAIL_FROM": "a@b.example",
    }

    env = server.child_environment(server.settings_read({"LOCAL_DIR": str(local_dir)}), environ, postgres)

    assert {"PGPORT", "PYTHONPATH", "VIRTUAL_ENV"} & env.keys() == set()
    assert env["EMAIL_FROM"] == "a@b.example"
    assert env["DATABASE_URL"].startswith("postgresql://app:word@/countinghouse?host=")
    assert env["CELERY_BROKER_DSN"].endswith("dbname=countinghouse user=app password=word")
    assert len(env["SECRET_KEY"]) >= 32
    assert env["SECRET_KEY"] == server.secret_key(local_dir)
    assert (local_dir / "secret_key").stat().st_mode & 0o077 == 0


def test_messages_held_by_a_fallen_worker_are_given_back_and_delayed_ones_stay_delayed(local_dir: Path) -> None:
    postgres = EmbeddedPostgres(local_dir / "postgres", durable=False)
    postgres.start(bound=True)
    try:
        postgres.ensure_database(server.DATABASE)
        with psycopg.connect(postgres.url(database=server.DATABASE), autocommit=True) as connection:
            pgmq.install_pgmq_from_sql(conn=connection)
            connection.execute("SELECT pgmq.create('work')")
            connection.execute("SELECT pgmq.send('work', '1'::jsonb), pgmq.send('work', '2'::jsonb, 600)")
            held = connection.execute("SELECT message FROM pgmq.read('work', 900, 10)").fetchall()
            hidden = connection.execute("SELECT message FROM pgmq.read('work', 900, 10)").fetchall()

            server.release_held_messages(postgres)
            again = connection.execute("SELECT message FROM pgmq.read('work', 900, 10)").fetchall()
    finally:
        postgres.stop()

    assert (held, hidden, again) == ([(1,)], [], [(1,)])
