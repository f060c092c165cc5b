"""Real documents, where a collection of them lies beside the project: each is imported or refused in words."""

import gzip
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.db import connection
from jsonschema import Draft202012Validator

from registry.connectors import ConnectorError
from registry.models import Server, Tool
from tests.registry.openapi_documents import introspected
from tests.toys import ROOT

COLLECTION = ROOT.parent / "shared" / "data" / "openapi"
INDEX = json.loads((COLLECTION / "INDEX.json").read_text()) if COLLECTION.is_dir() else []
REFUSED = {"v3/webhooks.yaml": "no operation that can be called"}
LARGE = {"github.com_api.github.com": (845, 582), "loket.nl": (663, 0)}  # tools, models
MAX_SECONDS, MAX_MEGABYTES = 20, 600
IMPORT = """
import pathlib, sys, time
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from registry.jobs import probe_server
started = time.monotonic()
probe_server(sys.argv[2])
peak = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]  # ru_maxrss begins at the parent's
print(time.monotonic() - started, int(peak) // 1024)
"""
NAME = re.compile("[A-Za-z0-9_-]{1,64}")

pytestmark = pytest.mark.skipif(not INDEX, reason="there is no collection of documents in ../shared/data/openapi")


def content_of(file: str) -> bytes:
    packed = COLLECTION / f"{file}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (COLLECTION / file).read_bytes()


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
async def test_every_document_is_imported_or_refused_in_words(entry):
    if words := REFUSED.get(entry["file"]):
        with pytest.raises(ConnectorError, match=words):
            await introspected(content_of(entry["file"]))
        return
    found = await introspected(content_of(entry["file"]))
    names = [tool.name for tool in found.tools]
    assert len(names) >= entry["operations"], found.problems
    assert len(set(names)) == len(names)
    assert all(map(NAME.fullmatch, names))
    assert (found.auth_type is not None) == bool(entry["auth"]) == bool(found.env_schema)
    for tool in found.tools:
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema or {})


def test_the_collection_is_whole():
    assert len(INDEX) == 65


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """The address of a web server over tmp_path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", LARGE)
def test_a_large_document_takes_little_time_and_memory(name, folder, tmp_path):
    """A process of its own tests the connection and writes what it found, as a worker does."""
    (tmp_path / f"{name}.json").write_bytes(content_of(f"large/{name}.json"))
    server = Server.objects.create(slug="big", name="Big", transport="openapi", openapi_url=f"{folder}/{name}.json")
    command = [sys.executable, "-c", IMPORT, str(connection.settings_dict["NAME"]), str(server.pk)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    print(f"{name}: {seconds:.1f} s, {megabytes:.0f} MB")
    server.refresh_from_db()
    assert (server.health, server.tool_count, server.model_count) == ("ok", *LARGE[name]), server.health_detail
    assert Tool.objects.filter(server=server).count() == LARGE[name][0]
    assert seconds < MAX_SECONDS
    assert megabytes < MAX_MEGABYTES
