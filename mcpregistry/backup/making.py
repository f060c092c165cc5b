"""Make an archive: all tables as they were at one moment, whatever is written meanwhile, and the files they name."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils import timezone

from chains.files import FAILURES
from chains.models import HeldFile, Result
from mcpregistry.backup import tables
from mcpregistry.backup.archive import CHUNK_BYTES, KeptFile, KeptTable, Manifest, Unusable, fingerprint

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


def make(path: Path) -> Manifest:
    """Nothing of it stands at `path` before it is whole. Raises Unusable."""
    draft = path.with_name(f"{path.name}.partial")
    try:
        with open_for_owner(draft) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            manifest = write(archive)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def open_for_owner(path: Path) -> IO[bytes]:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write(archive: zipfile.ZipFile) -> Manifest:
    version = str(settings.SPECTACULAR_SETTINGS["VERSION"])
    with snapshot():
        migrations = tables.applied_migrations()
        manifest = Manifest(timezone.now().isoformat(), version, migrations, fingerprint())
        for name, columns in tables.columns_by_table().items():
            manifest.tables[name] = KeptTable(columns, copy_table(archive, name, columns))
        keys = list(keys_of_files())
    for number, key in enumerate(keys):
        if kept := copy_file(archive, key, f"files/{number}"):
            manifest.files.append(kept)
        else:
            manifest.missing.append(key)  # its result was removed in the meantime, or it was lost before
    manifest.write(archive)
    return manifest


@contextmanager
def snapshot() -> Iterator[None]:
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(SNAPSHOT)
        yield


def copy_table(archive: zipfile.ZipFile, name: str, columns: list[str]) -> int:
    """How many rows."""
    with connection.cursor() as cursor, archive.open(f"tables/{name}.copy", "w", force_zip64=True) as member:
        with cursor.copy(tables.copy_statement(name, columns, "TO STDOUT")) as copying:
            for data in copying:
                member.write(data)
        return int(cursor.rowcount)


def keys_of_files() -> Iterator[str]:
    """What waits in the database for the storage is copied with its table."""
    stored = Result.objects.exclude(file="").exclude(file=None).exclude(pk__in=HeldFile.objects.values("pk"))
    return iter(stored.order_by("pk").values_list("file", flat=True))


def copy_file(archive: zipfile.ZipFile, key: str, member: str) -> KeptFile | None:
    """None where the storage has no such file."""
    try:
        if not default_storage.exists(key):
            return None
        with default_storage.open(key, "rb") as source, archive.open(member, "w", force_zip64=True) as target:
            size, digest = 0, hashlib.sha256()
            while data := source.read(CHUNK_BYTES):
                target.write(data)
                digest.update(data)
                size += len(data)
    except FAILURES as error:
        raise Unusable(f"The file storage does not give {key}: {error}. Nothing was written.") from error
    return KeptFile(key, member, size, digest.hexdigest())
