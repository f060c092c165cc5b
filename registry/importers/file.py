"""A catalogue in a file: JSON, JSON lines or YAML, gzipped or not, in any shape that is known here."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.importers.base import CatalogueError, Checkpoint, ImportOptions, Item
from registry.importers.shapes import SOURCE, read_document, read_record
from registry.importers.yaml import BadYaml, parse

MAX_FILE_BYTES = 512 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"


class FileImporter:
    name = SOURCE
    is_incremental = False

    def is_complete(self, options: ImportOptions) -> bool:
        return False  # a file need not hold everything its source has

    def records(self, options: ImportOptions) -> Iterator[Item]:
        if not options.path:
            raise CatalogueError("Name the file to read with --path.")
        yield from _records(_read(Path(options.path)), options.path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
        with gzip.open(path) if zipped else path.open("rb") as content:
            body = content.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogueError(f"{path} could not be read: {error}.") from error
    if len(body) > MAX_FILE_BYTES:
        raise CatalogueError(f"{path} holds more than {MAX_FILE_BYTES:,} bytes.")
    return body


def _records(body: bytes, path: str) -> Iterator[Item]:
    """The records of a JSON or YAML document, or one a line."""
    try:
        document = json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"{" and b"\n" in body.strip():
            yield from _lines(body)
            return
        document = _yaml(body, path)
    if not isinstance(document, dict | list):
        raise CatalogueError(f"{path} holds no records.")
    yield from read_document(document)


def _lines(body: bytes) -> Iterator[Item]:
    lines = [line for line in body.splitlines() if line.strip()]
    yield Checkpoint(total=len(lines))
    for line in lines:
        yield read_record(_line(line))


def _line(line: bytes) -> Any:
    """A line's record, or None for one that is no JSON (rejected with the others)."""
    try:
        return json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _yaml(body: bytes, path: str) -> Any:
    try:
        return parse(body)
    except BadYaml as error:
        raise CatalogueError(f"{path} is neither JSON nor YAML: {error}.") from error
