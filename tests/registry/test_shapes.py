"""What somebody pastes or keeps in a file: records of any catalogue, server.json, a client's mcp.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.catalogues import read_catalogue
from registry.importers import IMPORTERS
from registry.importers.base import BadRecord, CatalogueRecord, ImportOptions
from registry.importers.shapes import read_pasted
from registry.models import Server, SourceRecord
from tests.servers.catalogue import entry

CLAUDE = {
    "mcpServers": {
        "words": {"command": "npx", "args": ["-y", "@acme/words@1.0"], "env": {"WORDS_KEY": "sk-mine", "LANG": "en"}},
        "files": {"command": "uvx", "args": ["acme-files", "/data"]},
    }
}
VSCODE = """{
  // keys are asked for
  "inputs": [{"type": "promptString", "id": "words-key", "description": "Key of Words", "password": true}],
  "servers": {
    "words": {
      "type": "http",
      "url": "https://words.example/mcp?api_key=mine&lang=en", /* hosted */
      "headers": {"Authorization": "Bearer ${input:words-key}", "X-Region": "eu"},
    },
  },
}"""
CURSOR = {"mcpServers": {"words": {"url": "https://words.example/sse", "headers": {"X-Key": "${env:WORDS_KEY}"}}}}


def one(text: str | dict[str, Any]) -> CatalogueRecord:
    (record,) = read_pasted(text if isinstance(text, str) else json.dumps(text))
    return record


def address(record: CatalogueRecord) -> tuple[str, str, list[str]]:
    return record.columns["url"], record.columns["command"], record.columns["args"]


def test_claudes_file_names_commands_and_their_values_stay_apart() -> None:
    words, files = read_pasted(json.dumps(CLAUDE))
    assert address(words) == ("", "npx", ["-y", "@acme/words@1.0"])
    assert words.credentials == {"WORDS_KEY": "sk-mine", "LANG": "en"}
    assert [(each["name"], each["secret"], "value" in each) for each in words.columns["env_schema"]] == [
        ("WORDS_KEY", True, False), ("LANG", False, False),
    ]  # fmt: skip
    assert (words.identity, files.identity) == (("pkg:npm:@acme/words",), ("pkg:pypi:acme-files",))


def test_vs_codes_file_asks_as_its_inputs_say() -> None:
    record = one(VSCODE)
    assert record.columns["url"] == "https://words.example/mcp?api_key={api_key}&lang=en"
    assert record.identity == ("url:words.example/mcp?lang=en",)
    authorization, region, key = record.columns["env_schema"]
    assert (key["name"], key["secret"], key["in"]) == ("api_key", True, "address")
    assert (authorization["description"], authorization["secret"], authorization["in"]) == (
        "Key of Words",
        True,
        "header",
    )
    assert (record.credentials, region["secret"]) == ({"X-Region": "eu", "api_key": "mine"}, False)


def test_vs_codes_settings_have_it_one_deeper() -> None:
    assert (
        one({"editor.fontSize": 12, "mcp": {"servers": {"w": {"command": "uvx", "args": ["words"]}}}}).columns[
            "command"
        ]
        == "uvx"
    )


def test_cursors_file_speaks_sse_where_the_address_says_so() -> None:
    record = one(CURSOR)
    assert (record.columns["transport"], record.columns["url"]) == ("sse", "https://words.example/sse")
    assert record.credentials == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"words": {"command": "uvx", "args": ["words"]}}',
        '"words": {"command": "uvx", "args": ["words"]},',
        '"mcpServers": {"words": {"command": "uvx", "args": ["words"]}}',
        "mcpServers:\n  words:\n    command: uvx\n    args: [words]\n",
    ],
    ids=["bare", "fragment", "fragment with its name", "yaml"],
)
def test_parts_of_a_file_are_understood(text: str) -> None:
    assert address(one(text)) == ("", "uvx", ["words"])


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--api-key", "mine"], ["--api-key", "{api-key}"]),
        (["--token=mine"], ["--token={token}"]),
        (["-e", "WORDS_TOKEN=mine"], ["-e", "WORDS_TOKEN={WORDS_TOKEN}"]),
        (["--header", "Authorization: Bearer mine"], ["--header", "Authorization: {Authorization}"]),
        (["--header=Authorization: Bearer mine"], ["--header=Authorization: {secret}"]),
        (["--header", "Authorization: Bearer ${WORD}"], ["--header", "Authorization: Bearer {WORD}"]),
        (["--header", "Authorization:${WORD}"], ["--header", "Authorization:{WORD}"]),
        (["--token", "${env:WORD}"], ["--token", "{WORD}"]),
        (["${env:HOME}/data"], ["{HOME}/data"]),
        (["--port", "80"], ["--port", "80"]),
    ],
)
def test_secrets_among_the_arguments_are_not_shown(args: list[str], shown: list[str]) -> None:
    record = one({"mcpServers": {"words": {"command": "words", "args": args}}})
    assert record.columns["args"] == shown
    assert "mine" not in json.dumps(record.data)


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (["run", "-i", "--rm", "-e", "KEY", "ghcr.io/acme/words:2"], ("pkg:oci:ghcr.io/acme/words",)),
        (["ps"], ()),
    ],
)
def test_a_container_is_known_by_its_image(args: list[str], key: tuple[str, ...]) -> None:
    assert one({"mcpServers": {"words": {"command": "docker", "args": args}}}).identity == key


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (entry("com.acme/words"), "com.acme/words"),
        (entry("com.acme/words")["server"], "com.acme/words"),
        ({"qualifiedName": "@acme/words", "connections": [], "tools": None}, "@acme/words"),
        ({"name": "acme-words", "runtime": "python", "sourceUrl": "https://github.com/acme/words"}, "acme-words"),
        ({"path": "packages/w.json", "content": '{"name": "w", "runtime": "node"}'}, "w"),
        ({"registry": {"words": {"type": "server", "image": "acme/words"}}}, "words"),
        ({"source": "zoo", "external_id": "w", "name": "Words"}, "Words"),
    ],
    ids=["official", "server.json", "smithery", "mcp-get", "mcp-get as a file", "docker", "flat"],
)
def test_a_record_of_any_catalogue_is_understood(record: dict[str, Any], name: str) -> None:
    assert one(record).columns["name"] == name


@pytest.mark.parametrize("text", ["", "hello", "https://words.example/mcp", "npx -y @acme/words", "[1, 2", "3", "null"])
def test_what_is_no_record_gives_none(text: str) -> None:
    assert read_pasted(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"mcpServers": {"words": {"args": []}}}', "neither a command nor a url"),
        ('{"mcpServers": {"words": {"url": "file:///etc"}}}', "impossible address"),
        ('{"name": ""}', "has no name"),
        ("x" * 1_000_001, "too long"),
        ('{"mcpServers": {"w": {"command": "w", "args": ' + "[" * 200 + "]" * 200 + "}}}", "nested deeper"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        read_pasted(text)


def test_a_file_of_a_client_is_imported_without_its_values(tmp_path: Path, db: None) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps(CLAUDE))
    for counts in ("created 2, updated 0", "created 0, updated 0, unchanged 2"):
        outcome = read_catalogue(importer=IMPORTERS["file"], options=ImportOptions(path=str(path)))
        assert str(outcome.counts).startswith(counts)
    stored = json.dumps(list(SourceRecord.objects.values("data", "columns"))) + repr(list(Server.objects.values()))
    assert "WORDS_KEY" in stored and "sk-mine" not in stored
