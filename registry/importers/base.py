"""What an importer is: it reads one catalogue and yields its records in our terms, one at a time.

Writing them is not its business (registry/catalogues.py). docs/adding-an-importer.md walks through a new one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from registry.connectors import ToolDefinition
from registry.models import Server


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How one reading was asked for; an importer takes what concerns it."""

    url: str = ""  # base of the catalogue; empty: the configured one
    path: str = ""  # a file, for the importer of files
    updated_since: str = ""  # RFC 3339: only what changed after
    cursor: str = ""  # of a Checkpoint: go on from there
    api_key: str = field(default="", repr=False)
    is_own: bool = True  # whoever runs the registry named the address; False: somebody wrote it on a page


@dataclass(frozen=True, slots=True)
class CatalogueRecord:
    """One server as a catalogue lists it. `columns` are fields of Server; `data` is the record as it came; `identity`
    are the keys of registry/identity.py. `credentials` are values somebody pasted along: an import drops them."""

    source: str
    external_id: str
    data: Mapping[str, Any]
    columns: Mapping[str, Any]
    tools: tuple[ToolDefinition, ...] = ()
    identity: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_deleted(self) -> bool:
        return self.columns.get("status") == Server.Status.DELETED


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    external_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All records before it have been yielded: a reading that was cut off goes on from `cursor`. Empty: it cannot."""

    cursor: str = ""
    total: int | None = None  # records in the whole catalogue, where it says so


Item = CatalogueRecord | RejectedRecord | Checkpoint


class Importer(Protocol):
    name: str
    is_incremental: bool  # does it know `updated_since`?

    def is_complete(self, options: ImportOptions) -> bool:
        """Does a reading list everything there is, so that what it lacks has been removed?"""

    def records(self, options: ImportOptions) -> Iterator[Item]:
        """Raises CatalogueError when the catalogue cannot be read on; a bad record is yielded as RejectedRecord."""


class CatalogueError(Exception):
    """A catalogue cannot be read; the message says what happened and where."""


class NotThere(CatalogueError):
    """It answered that it has nothing at this address."""


class BadRecord(Exception):
    """One record cannot be used; the message is the reason."""
