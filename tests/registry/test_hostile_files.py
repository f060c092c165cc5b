"""Files, pasted texts and OpenAPI documents that mean harm: refused in words, in little time and little memory."""

import gzip
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.test import Client

from registry.catalogues import read_catalogue
from registry.connectors import ConnectorError
from registry.importers import IMPORTERS, file
from registry.importers.base import ImportOptions
from registry.models import Server
from registry.pasted import NotUnderstood, understand
from tests.registry.openapi_documents import document, get, introspected

pytestmark = [pytest.mark.django_db, pytest.mark.thorough]
DIGITS = "9" * 5_000
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@contextmanager
def within(seconds: float, megabytes: int) -> Iterator[None]:
    """Time is the processor's, which a busy neighbour does not lengthen. Memory is that of the process at its highest,
    beyond what it held before."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    started, before = time.process_time(), memory_kb("VmRSS")
    yield
    took, grown = time.process_time() - started, memory_kb("VmHWM") - before
    assert took < seconds, f"{took:.1f} s"
    assert grown < megabytes * 1000, f"{grown / 1000:.0f} MB"


def memory_kb(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("servers.json", b"[" + b" " * 50_000_000 + b"]")
    return held.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "a gzip bomb": lambda: gzip.compress(b" " * 80_000_000),
    "a gzip bomb in a gzip file": lambda: gzip.compress(gzip.compress(b" " * 80_000_000)),
    "a zip file": zipped,
    "YAML that laughs a billion times": lambda: LAUGHS.encode(),
    "YAML that refers to itself": lambda: b"a: &a [*a]",
    "YAML of 60,000 keys": lambda: b"".join(b"key%d: value\n" % n for n in range(60_000)),
    "YAML 100,000 deep": lambda: b"- " * 100_000,
    "YAML that makes objects": lambda: b"!!python/object/apply:os.system ['true']",
    "YAML of a long number": lambda: f"a: [{DIGITS}".encode(),
    "JSON 100,000 deep": lambda: b"[" * 100_000 + b"]" * 100_000,
    "a long number": lambda: b"[" + DIGITS.encode() + b"]",
    "nothing but NUL": lambda: b"\x00" * 1_000_000,
    "lone surrogates": lambda: b'{"servers": "\\ud800"}',
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_means_harm_brings_nothing_in(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MAX_FILE_BYTES", 20_000_000)
    path = tmp_path / "catalogue"
    path.write_bytes(FILES[what]())
    with within(8, 120):
        outcome = read_catalogue(importer=IMPORTERS["file"], options=ImportOptions(path=str(path)))
    assert outcome.error or outcome.counts.rejected
    assert not Server.objects.exists()


PASTED = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep YAML": "- " * 100_000 + "x",
    "long": "x" * 1_000_001,
    "60,000 keys": json.dumps({f"key{n}": "value" for n in range(60_000)}),
    "60,000 servers": json.dumps({"mcpServers": {f"s{n}": {"command": "x"} for n in range(20_000)}}),
    "aliases": "servers:\n" + LAUGHS,
    "a long number": '{"mcpServers": ' + DIGITS + "}",
    "an OpenAPI document": json.dumps(document({"/a": get()})),
}


@pytest.mark.parametrize("what", PASTED)
def test_a_pasted_text_that_means_harm_is_refused_in_words(what: str) -> None:
    with within(8, 120), pytest.raises(NotUnderstood) as raised:
        understand(PASTED[what])
    assert 20 < len(str(raised.value)) < 600


def test_what_is_pasted_with_nul_is_no_crash(web: Client) -> None:
    for text in ("\x00", "http://a\x00.example/mcp", '{"mcpServers": {"a\\u0000": {"command": "x\\ud800"}}}'):
        assert web.post("/servers/new/paste", {"text": text}).status_code in (200, 400)
    assert not Server.objects.exists()


HARMFUL: dict[str, Callable[[], bytes]] = {
    "a billion laughs": lambda: b"openapi: 3.0.0\npaths: {}\n" + LAUGHS.encode(),
    "a long number": lambda: f'{{"openapi": "3.0.0", "x": {DIGITS}}}'.encode(),
    "a million brackets": lambda: b'{"openapi": "3.0.0", "x": [' + b"[]," * 3_000_000 + b"[]]}",
    "NUL": lambda: b"\x00" * 100,
}


@pytest.mark.parametrize("what", HARMFUL)
async def test_a_document_that_means_harm_is_refused_in_words(what: str) -> None:
    with within(10, 300), pytest.raises(ConnectorError) as raised:
        await introspected(HARMFUL[what]())
    assert 20 < len(raised.value.message) < 600


async def test_a_document_of_100_000_paths_is_read_as_far_as_is_sane() -> None:
    paths = {f"/p{n}": {"get": {"operationId": f"o{n}"}} for n in range(100_000)}
    content = json.dumps(document(paths)).encode()
    with within(30, 400):
        found = await introspected(content)
    assert 0 < len(found.tools) <= 5_000
    assert found.problems
