"""What somebody pasted to add servers: an address, a command line, or the configuration of some client.

Nothing is stored here. Values that are or may be secret are taken out of what is shown, into `credentials`.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from rest_framework.exceptions import ValidationError

from registry.importers.base import BadRecord, CatalogueRecord
from registry.importers.clients import package_of
from registry.importers.fields import auth_type as auth_type_of
from registry.importers.fields import web_address
from registry.importers.shapes import read_pasted
from registry.models import Server
from registry.pages import first_sentence
from registry.secrets import is_example, is_secret, places, taken_from_args, taken_from_url
from registry.serializers import SecretsField, ServerInput
from registry.services import ServerFields

MAX_SERVERS = 50
MAX_CHARACTERS = 1_000_000
STARTERS = {
    "npx": "npm",
    "bunx": "npm",
    "uvx": "pypi",
    "pipx": "pypi",
    "docker": "oci",
    "podman": "oci",
    "dnx": "nuget",
}
PROGRAMS = {*STARTERS, "node", "bun", "deno", "python", "python3", "uv", "java", "dotnet", "go"}
COMMON_PARTS = {"mcp", "sse", "api", "www", "server", "v1", "v2", "v3", "docs", "http", "stream"}
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.S)
URL = re.compile(r"https?://\S+", re.I)
OPENAPI_LOOK = re.compile(r"openapi|swagger|api-docs|\.(?:json|ya?ml)$", re.I)
OPENAPI_DOCUMENT = re.compile(r"""["']?(?:openapi|swagger)["']?\s*:""")
HINT = "Paste an address (https://…), a command (npx …, uvx …, docker run …), an mcp.json or a server.json."


class NotUnderstood(Exception):
    """The message says why, and never repeats what was pasted: it may be secret."""


@dataclass(frozen=True, slots=True)
class Understood:
    """One server. `{name}` in its address stands for a credential of that name."""

    name: str
    transport: str
    address: Mapping[str, Any]  # url, or openapi_url, or command and args
    env_schema: tuple[Mapping[str, Any], ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    said: Mapping[str, str] = field(default_factory=dict)  # title, description and the like
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        told = json.dumps([self.name, self.address], sort_keys=True)
        return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:12]

    @property
    def shown(self) -> str:
        if "command" in self.address:
            return " ".join(shlex.quote(part) if " " in part else part for part in self.words)
        return str(self.address.get("url") or self.address.get("openapi_url"))

    @property
    def words(self) -> list[str]:
        return [self.address["command"], *self.address["args"]]

    @property
    def is_command(self) -> bool:
        return self.transport == Server.Transport.STDIO

    @property
    def asked(self) -> list[str]:
        """What it wants to be told and was not yet."""
        return [str(one["name"]) for one in self.env_schema if one["name"] not in self.credentials]

    def told(self, *, name: str = "", transport: str = "") -> ServerFields:
        """What `add_server` takes; an address may turn out to be of another kind than it looks."""
        address = dict(self.address)
        kind = self.transport if self.is_command else transport or self.transport
        if not self.is_command:
            url = str(address.get("url") or address.get("openapi_url"))
            address = {"openapi_url": url} if kind == Server.Transport.OPENAPI else {"url": url, "transport": kind}
        told: Any = {**self.said, **address, "name": name or self.name, "env_schema": list(self.env_schema)}
        return {**told, "credentials": dict(self.credentials), "auth_type": auth_type_of(self.env_schema)}


def understand(text: str) -> list[Understood]:
    """Every server of what was pasted, at least one. Raises NotUnderstood."""
    text = text.strip()
    if not text:
        raise NotUnderstood(HINT)
    if len(text) > MAX_CHARACTERS:
        raise NotUnderstood("This is too long to be pasted: an administrator can import it as a file.")
    if text[0] in "{[" or OPENAPI_DOCUMENT.match(text):
        found = _from_document(text)
    else:
        found = _from_lines(text) or _from_document(text)
    if len(found) > MAX_SERVERS:
        raise NotUnderstood(f"These are {len(found)} servers: an administrator can import them as a file.")
    return list({one.key: one for one in map(_checked, found)}.values())


def _from_lines(text: str) -> list[Understood]:
    """Addresses and commands, one a line; none where any line is something else."""
    lines = [line.strip().removeprefix("$ ") for line in re.sub(r"\\\r?\n", " ", text).splitlines()]
    found = [_from_url(line) if URL.fullmatch(line) else _from_command(line) for line in lines if line]
    return [] if None in found else [one for one in found if one]


def _from_document(text: str) -> list[Understood]:
    if OPENAPI_DOCUMENT.search(text[:500]):
        raise NotUnderstood("This is an OpenAPI document itself: paste the address where it is served.")
    try:
        records = read_pasted(text)
    except BadRecord as reason:
        raise NotUnderstood(f"No server in it can be used. {reason}") from reason
    if not records:
        raise NotUnderstood(f"This holds no server that can be read. {HINT}")
    return [_from_record(record) for record in records]


def _from_url(url: str) -> Understood:
    if not web_address(url):
        raise NotUnderstood("This address cannot be: it needs a host, and no name and password before it.")
    shown, secrets = taken_from_url(url)
    is_document = bool(OPENAPI_LOOK.search(urlsplit(shown).path))
    is_sse = urlsplit(shown).path.rstrip("/").endswith("/sse")
    http = Server.Transport.SSE if is_sse else Server.Transport.STREAMABLE_HTTP
    address = {"openapi_url": shown} if is_document else {"url": shown, "transport": http}
    transport = Server.Transport.OPENAPI if is_document else http
    return Understood(_name_of_url(shown), transport, address, _asked(places([shown])), secrets)


def _name_of_url(url: str) -> str:
    """What stands in the path where it says something, else the first part of the host that does."""
    parts = urlsplit(url)
    labels = (parts.hostname or "").split(".")
    steps = [step for step in parts.path.split("/") if re.fullmatch(r"[A-Za-z][\w-]*", step)]
    named = [step for step in reversed(steps) if step.lower() not in COMMON_PARTS and not OPENAPI_LOOK.search(step)]
    hosts = [label for label in labels[:-1] if label.lower() not in COMMON_PARTS and not label.isdigit()]
    return next(iter([*named, *hosts]), parts.hostname or url)


def _from_command(line: str) -> Understood | None:
    """None for what does not begin with a program that starts servers."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        if line.split(maxsplit=1)[0] in PROGRAMS:
            raise NotUnderstood("A quotation mark is not closed.") from error
        return None
    env: dict[str, str] = {}
    while words and (words[0] == "env" or ASSIGNMENT.fullmatch(words[0])):
        if assigned := ASSIGNMENT.fullmatch(words[0]):
            env[assigned[1]] = assigned[2]
        words = words[1:]
    if not words or not (PurePath(words[0]).name in PROGRAMS or words[0].startswith(("/", "./", "~/"))):
        return None
    args, passed = _taken_from_docker(words) if words[0] in {"docker", "podman"} else (words[1:], {})
    shown, secrets = taken_from_args(args)
    address = {"command": words[0], "args": shown}
    variables = env | passed
    given = {name: value for name, value in variables.items() if value and not is_example(value)}
    asked = (*_asked(variables, "env"), *_asked(places(shown) - variables.keys()))
    return Understood(_name_of_command(words[0], args), Server.Transport.STDIO, address, asked, given | secrets)


def _taken_from_docker(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """`-e NAME=value` becomes `-e NAME`: the value is passed on from the environment."""
    args: list[str] = []
    passed: dict[str, str] = {}
    for before, word in pairwise(words):
        inline = word.startswith("--env=")
        assigned = ASSIGNMENT.fullmatch(word.removeprefix("--env=")) if inline or before in {"-e", "--env"} else None
        if assigned:
            passed[assigned[1]] = assigned[2]
        args.append(f"{'--env=' if inline else ''}{assigned[1]}" if assigned else word)
    return args, passed


def _name_of_command(command: str, args: list[str]) -> str:
    registry = STARTERS.get(PurePath(command).name, "")
    package = package_of(registry, args) if registry else next((arg for arg in args if not arg.startswith("-")), "")
    last = package.rstrip("/").rpartition("/")[2]
    name = re.sub(r"(==|@|:).*$|\.(?:py|js|mjs|ts|jar)$", "", last)
    return name or PurePath(command).name


def _from_record(record: CatalogueRecord) -> Understood:
    columns = record.columns
    transport = str(columns.get("transport") or "")
    if not transport:
        raise NotUnderstood(f"{columns.get('name')} names neither an address nor a package that a command can start.")
    said = {name: columns[name] for name in ("title", "description", "version", "homepage", "repository")
            if columns.get(name)}  # fmt: skip
    command = {"command": columns["command"], "args": list(columns["args"])}
    address = {"url": columns["url"], "transport": transport} if columns["url"] else command
    entries = [one for one in columns.get("env_schema", []) if one.get("name")]
    listed = tuple({**one, "secret": one.get("secret") or is_secret(one["name"])} for one in entries)
    named = {one["name"] for one in listed}
    others = places([columns["url"], *columns["args"]]) - named
    given = {name: value for name, value in record.credentials.items() if not is_example(value)}
    name = str(columns["name"])
    return Understood(name, transport, address, (*listed, *_asked(others)), given, said)


def _asked(names: Any, place: str = "address") -> tuple[dict[str, Any], ...]:
    """As in Server.env_schema."""
    return tuple(
        {
            "name": name,
            "description": "",
            "required": True,
            "in": place,
            "secret": place == "address" or is_secret(name),
        }
        for name in sorted(names)
    )


def _checked(one: Understood) -> Understood:
    """By the same rules as the API. A credential that cannot be one is left out, and said. Raises NotUnderstood."""
    known = {name: value for name, value in one.address.items() if name != "transport" or "url" in one.address}
    serializer = ServerInput(data={"name": one.name, **known, **_short(one.said)})
    if not serializer.is_valid():
        raise NotUnderstood(f"{one.name[:80]}: {first_sentence(serializer.errors)}")
    kept = {name: value for name, value in one.credentials.items() if _can_be_sent(name, value)}
    left = sorted(one.credentials.keys() - kept.keys())
    notes = (f"{', '.join(left)} cannot be set here and is left out.",) if left else ()
    schema = tuple(entry for entry in one.env_schema if entry["name"] not in left)
    return Understood(one.name, one.transport, one.address, schema, kept, _short(one.said), notes)


def _can_be_sent(name: str, value: str) -> bool:
    try:
        SecretsField.check(name, value)
    except ValidationError:
        return False
    return True


def _short(said: Mapping[str, str]) -> dict[str, str]:
    limits = {"title": 255, "version": 255}
    return {name: value[: limits.get(name, 10_000)] for name, value in said.items()}
