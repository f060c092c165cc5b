"""What an importer is: it reads one catalogue and yields its records in our terms, one at a time.

Writing them is not its business (registry/catalogues.py). docs/adding-an-importer.md walks through a new one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from registry.connectors import ToolDefinition
from registry.models import Server


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How one reading was asked for; an importer takes what concerns it."""

    url: str = ""  # base of the catalogue; empty: the configured one
    path: str = ""  # a file, for the importer of files
    updated_since: str = ""  # RFC 3339: only what changed after


@dataclass(frozen=True, slots=True)
class CatalogueRecord:
    """One server as a catalogue lists it. `columns` are fields of Server; `data` is the record as it came."""

    source: str
    external_id: str
    data: Mapping[str, Any]
    columns: Mapping[str, Any]
    tools: tuple[ToolDefinition, ...] = ()

    @property
    def is_deleted(self) -> bool:
        return self.columns.get("status") == Server.Status.DELETED


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    external_id: str
    reason: str


class Importer(Protocol):
    name: str

    def is_complete(self, options: ImportOptions) -> bool:
        """Does a reading list everything there is, so that what it lacks has been removed?"""

    def records(self, options: ImportOptions) -> Iterator[CatalogueRecord | RejectedRecord]:
        """Raises CatalogueError when the catalogue cannot be read on; a bad record is yielded as RejectedRecord."""


class CatalogueError(Exception):
    """A catalogue cannot be read; the message says what happened and where."""


class BadRecord(Exception):
    """One record cannot be used; the message is the reason."""
