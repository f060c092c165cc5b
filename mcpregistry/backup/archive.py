"""What stands in an archive's manifest, and how it is read back."""

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK_BYTES = 1_000_000


class Unusable(Exception):
    """The archive cannot be made or restored here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A result's file: `key` in the storage, `member` in the archive."""

    key: str
    member: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KeptTable:
    columns: list[str]
    rows: int


@dataclass
class Manifest:
    made_at: str
    version: str
    migrations: list[str]  # "app.name", sorted
    secret_key: str  # its fingerprint
    tables: dict[str, KeptTable] = field(default_factory=dict)
    files: list[KeptFile] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # keys of files that were not in the storage
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    def write(self, archive: zipfile.ZipFile) -> None:
        archive.writestr(MANIFEST, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, archive: zipfile.ZipFile) -> "Manifest":
        """Raises Unusable."""
        try:
            told: dict[str, Any] = json.loads(archive.read(MANIFEST))
            if told["format"] != FORMAT:
                raise Unusable(f"The archive has format {told['format']}; this version reads {FORMAT}.")
            tables = {name: KeptTable(**table) for name, table in told.pop("tables").items()}
            files = [KeptFile(**file) for file in told.pop("files")]
            return cls(**told, tables=tables, files=files)
        except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise Unusable("This is no archive that `manage.py backup` made, or it is not whole.") from error


def fingerprint() -> str:
    """Tells one SECRET_KEY from another, and nothing about it."""
    return hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"mcpr backup", digest_size=8).hexdigest()
