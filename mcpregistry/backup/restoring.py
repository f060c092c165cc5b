"""Put an archive back: the files first, which hurt nobody, then all tables in one transaction, or none."""

import hashlib
import zipfile
from pathlib import Path
from tempfile import SpooledTemporaryFile

from django.core.files import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection, transaction

from chains.files import FAILURES
from mcpregistry.backup import tables
from mcpregistry.backup.archive import CHUNK_BYTES, KeptFile, KeptTable, Manifest, Unusable

IN_MEMORY_BYTES = 10_000_000


def restore(path: Path, *, replace: bool = False) -> Manifest:
    """Raises Unusable, having changed no table. `replace`: what is there goes."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = Manifest.read(archive)
            prepare(manifest, replace=replace)
            for file in manifest.files:
                put_file(archive, file, replace=replace)
            put_tables(archive, manifest)
    except (OSError, zipfile.BadZipFile) as error:
        raise Unusable(f"The archive {path} cannot be read: {error}") from error
    return manifest


def prepare(manifest: Manifest, *, replace: bool) -> None:
    """Is this database one that the archive fits into? An empty one gets its tables first."""
    if not tables.applied_migrations():
        call_command("migrate", verbosity=0, interactive=False)
    here, there = set(tables.applied_migrations()), set(manifest.migrations)
    if here != there:
        odd = sorted(here ^ there)
        raise Unusable(
            f"The archive is of another version ({manifest.version}; {len(odd)} migrations differ, {odd[0]} first): "
            "restore it with the version that made it, then upgrade."
        )
    if not replace and (filled := tables.filled(list(manifest.tables))):
        raise Unusable(f"The database is not empty ({', '.join(filled[:5])}): use another, or --replace what is there.")


def put_file(archive: zipfile.ZipFile, file: KeptFile, *, replace: bool) -> None:
    """Under the very key that its row names; what is there already and is the same stays."""
    try:
        if default_storage.exists(file.key):
            if digest_of(file.key) == file.sha256:
                return
            if not replace:
                raise Unusable(f"The storage has another file {file.key}: use another storage, or --replace it.")
            default_storage.delete(file.key)
        with SpooledTemporaryFile(IN_MEMORY_BYTES) as spool, archive.open(file.member) as source:
            while data := source.read(CHUNK_BYTES):
                spool.write(data)
            spool.seek(0)
            if default_storage.save(file.key, File(spool, name=file.key)) != file.key:
                raise Unusable(f"The storage did not take {file.key} under its name.")
    except FAILURES as error:
        raise Unusable(f"The file storage does not take {file.key}: {error}") from error


def digest_of(key: str) -> str:
    digest = hashlib.sha256()
    with default_storage.open(key, "rb") as stored:
        while data := stored.read(CHUNK_BYTES):
            digest.update(data)
    return digest.hexdigest()


def put_tables(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Triggers sleep meanwhile: what they would write is in the archive. Foreign keys are checked in the end."""
    with transaction.atomic(durable=True):
        for_all(manifest, "ALTER TABLE {} DISABLE TRIGGER USER")
        execute(f"TRUNCATE {', '.join(map(tables.quoted, manifest.tables))}")
        for name, table in manifest.tables.items():
            put_table(archive, name, table)
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        for_all(manifest, "ALTER TABLE {} ENABLE TRIGGER USER")
        tables.set_sequences()
        for view in tables.materialized_views():
            execute(f"REFRESH MATERIALIZED VIEW {tables.quoted(view)}")
    for_all(manifest, "ANALYZE {}")


def put_table(archive: zipfile.ZipFile, name: str, table: KeptTable) -> None:
    statement = tables.copy_statement(name, table.columns, "FROM STDIN")
    with (
        connection.cursor() as cursor,
        archive.open(f"tables/{name}.copy") as member,
        cursor.copy(statement) as copying,
    ):
        while data := member.read(CHUNK_BYTES):
            copying.write(data)
    if (found := tables.count(name)) != table.rows:
        raise Unusable(f"Of {name} {found} rows came back, not {table.rows}: the archive is not whole.")


def for_all(manifest: Manifest, statement: str) -> None:
    for name in manifest.tables:
        execute(statement.format(tables.quoted(name)))


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
