"""What is kept comes back from one archive: every row, every file, into an empty database and nowhere else."""

import json
import os
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from chains.events import publish
from chains.models import HeldFile, Result, Run, RunEvent
from mcpregistry.backup import making
from mcpregistry.backup.archive import MANIFEST, Unusable
from mcpregistry.backup.restoring import restore
from mcpregistry.backup.tables import columns_by_table, count
from registry.credentials import encrypt
from registry.models import Connection
from tests.registry.test_search import make_server
from tests.toys import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300), pytest.mark.thorough]
LOOK_INSIDE = """
import json
from django.contrib.auth.models import User
from chains.models import Result, Run
from registry.credentials import decrypt
from registry.models import Connection
from registry.search import search_servers
alice = User.objects.get(username="alice")
result = Result.objects.get(title="report.txt")
print(json.dumps({
    "credentials": decrypt(Connection.objects.get().credentials_encrypted),
    "file": result.file.open().read().decode(),
    "found": [hit.server.slug for hit in search_servers("weather forecast", user=alice).hits],
    "new": User.objects.create_user("carol").pk > alice.pk,
    "event": Run.objects.get().events.get().data,
}))
"""


def url_of(database: str) -> str:
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}").geturl()


@pytest.fixture
def empty_database() -> Iterator[str]:
    """A database without any table beside the tests' own; its address."""
    name = f"restored_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url_of("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        yield url_of(name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def kept(alice: User) -> Run:
    """A server with credentials, and a run with an event and a file."""
    server = make_server(
        "weather", "Tells the weather forecast.", {"forecast": "The weather of tomorrow."}, owner=alice
    )
    Connection.objects.create(user=alice, server=server, credentials_encrypted=encrypt({"Authorization": "sesame"}))
    run = Run.objects.create(owner=alice, inputs={"text": "tab\t line\n \\N \u00e9"})
    publish(run.pk, [("TEXT_MESSAGE_CONTENT", {"delta": "Olá\n"})])
    key = default_storage.save(f"{alice.pk}/{run.pk}/report.txt", ContentFile(b"all of it"))
    Result.objects.create(owner=alice, run=run, kind=Result.Kind.FILE, title="report.txt", file=key)
    held = Result.objects.create(owner=alice, run=run, kind=Result.Kind.FILE, title="held.bin", file="held.bin")
    HeldFile.objects.create(result=held, content=b"\x00\xff")
    return run


def manage(url: str, data_dir: Path, *arguments: str) -> str:
    environment = os.environ | {"DATABASE_URL": url, "DATA_DIR": str(data_dir)}
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def counts() -> dict[str, int]:
    return {name: count(name) for name in columns_by_table()}


def test_everything_comes_back_in_an_empty_database(kept: Run, empty_database: str, tmp_path: Path) -> None:
    archive, before = tmp_path / "a.zip", counts()
    call_command("backup", str(archive))
    assert archive.stat().st_mode & 0o777 == 0o600
    told = manage(empty_database, tmp_path / "data", "restore", str(archive))
    assert f"restored {len(before)} tables, {sum(before.values())} rows, 1 files" in told
    with psycopg.connect(empty_database) as restored:
        found = {name: restored.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() for name in before}
    assert {name: row[0] for name, row in found.items() if row} == before
    looked = json.loads(manage(empty_database, tmp_path / "data", "shell", "-v", "0", "-c", LOOK_INSIDE))
    assert looked == {
        "credentials": {"Authorization": "sesame"},
        "file": "all of it",
        "found": ["weather"],
        "new": True,
        "event": {"delta": "Olá\n"},
    }


def test_what_is_there_goes_only_when_told(kept: Run, alice: User, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    making.make(archive)
    User.objects.create_user("dave")
    with pytest.raises(CommandError, match="not empty"):
        call_command("restore", str(archive))
    assert User.objects.filter(username="dave").exists()
    Result.objects.get(title="report.txt").file.delete(save=False)
    restore(archive, replace=True)
    assert set(User.objects.values_list("username", flat=True)) == {"alice"}
    assert Run.objects.get().inputs == kept.inputs
    assert Result.objects.get(title="report.txt").file.read() == b"all of it"
    assert bytes(HeldFile.objects.get().content) == b"\x00\xff"
    assert make_server("later", "Triggers are awake again.", {}, owner=alice).pk


def test_another_version_is_refused_by_name(kept: Run, tmp_path: Path) -> None:
    archive = rewritten(tmp_path, lambda manifest: manifest["migrations"].append("chains.9999_later"))
    with pytest.raises(Unusable, match=r"chains\.9999_later first\): restore it with the version that made it"):
        restore(archive, replace=True)


def test_an_archive_that_is_not_whole_changes_nothing(kept: Run, tmp_path: Path) -> None:
    def claim_more(manifest: dict[str, Any]) -> None:
        manifest["tables"]["runs"]["rows"] += 1

    before = counts()
    with pytest.raises(Unusable, match="Of runs 1 rows came back, not 2"):
        restore(rewritten(tmp_path, claim_more), replace=True)
    assert counts() == before
    torn = tmp_path / "torn.zip"
    torn.write_bytes((tmp_path / "a.zip").read_bytes()[:-500])
    with pytest.raises(Unusable, match="cannot be read"):
        restore(torn, replace=True)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("restore", str(tmp_path / "text.zip"))


def rewritten(folder: Path, change: Any) -> Path:
    """An archive whose manifest says something else than it was made with."""
    making.make(folder / "a.zip")
    with zipfile.ZipFile(folder / "a.zip") as source, zipfile.ZipFile(folder / "b.zip", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == MANIFEST:
                manifest = json.loads(data)
                change(manifest)
                data = json.dumps(manifest).encode()
            target.writestr(name, data)
    return folder / "b.zip"


def test_a_back_up_while_rows_are_written_is_of_one_moment(alice: User, tmp_path: Path) -> None:
    stopped, begun = threading.Event(), threading.Event()

    def write() -> None:
        """Events before runs in the alphabet of tables: a copy of several moments has runs without their events."""
        while not stopped.is_set():
            with transaction.atomic():
                run = Run.objects.create(owner=alice)
                RunEvent.objects.bulk_create([RunEvent(run=run, seq=seq, type="x") for seq in (1, 2, 3)])
            begun.set()
        connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(20)
    manifest = making.make(tmp_path / "a.zip")
    stopped.set()
    writer.join()
    assert manifest.tables["run_events"].rows == 3 * manifest.tables["runs"].rows > 0
    assert Run.objects.count() > manifest.tables["runs"].rows


def test_the_secret_key_goes_into_a_file_of_its_own(kept: Run, tmp_path: Path, settings: Any) -> None:
    archive, key = tmp_path / "a.zip", tmp_path / "key"
    call_command("backup", str(archive), secret_key=key)
    assert (key.read_text(), key.stat().st_mode & 0o777) == (settings.SECRET_KEY, 0o600)
    with zipfile.ZipFile(archive) as opened:
        assert not any(settings.SECRET_KEY.encode() in opened.read(name) for name in opened.namelist())


def test_a_file_that_the_storage_lost_is_named(kept: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = Result.objects.get(title="report.txt")
    result.file.storage.delete(result.file.name)
    call_command("backup", str(tmp_path / "a.zip"))
    told = capsys.readouterr()
    assert f"not in the storage: {result.file.name}" in told.err
    assert "0 files, 1 missing" in told.out
    assert connection.is_usable()
