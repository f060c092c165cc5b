"""How other clients are told about a server: what to write into their configuration, with placeholders for credentials.

Claude Desktop starts programs only: an address is bridged by `mcp-remote`. VS Code asks for what is secret, Cursor and
the plain `mcp.json` take it from the environment.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.forms import asked_for
from registry.models import Server
from registry.secrets import filled, masked, places, without_secrets

HTTP_TYPES = {Server.Transport.STREAMABLE_HTTP: "http", Server.Transport.SSE: "sse"}
BRIDGE_MODES = {"http": "http-only", "sse": "sse-only"}
_PLACEHOLDER = re.compile(r"\{([\w.\-]+)\}")


@dataclass(frozen=True, slots=True)
class Snippet:
    client: str  # also a part of its id on the page
    name: str
    place: str  # where it is to be written
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A header or variable a user fills in. `template` holds `{}` where the value goes."""

    name: str
    description: str = ""
    is_secret: bool = True
    template: str = "{}"

    @property
    def variable(self) -> str:
        return re.sub(r"\W+", "_", self.name).upper().strip("_")

    def filled(self, value: str) -> str:
        return self.template.replace("{}", value)


@dataclass(frozen=True, slots=True)
class Address:
    """A server as a client needs to know it: the address, or the program."""

    key: str
    type: str  # http, sse or stdio
    url: str = ""
    command: str = ""
    args: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def entry(self, reference: Callable[[Asked], str]) -> dict[str, Any]:
        """Without its type; each credential as `reference` names it."""
        values = {one.name: one.filled(reference(one)) for one in self.asked}
        inside = {name: reference(Asked(name)) for name in self.placed}
        if self.type == "stdio":
            args = [filled(part, inside) for part in self.args]
            return {"command": self.command, "args": args, **({"env": values} if values else {})}
        return {"url": filled(self.url, inside), **({"headers": values} if values else {})}

    @property
    def placed(self) -> list[str]:
        """Names of what stands in the address or the arguments as `{name}`."""
        return sorted(places([self.url, *self.args]))


def snippets_of(server: Server) -> list[Snippet]:
    """None for a server that speaks no MCP or whose address nobody knows."""
    address = _address(server)
    if address is None:
        return []
    return [
        Snippet("claude", "Claude Desktop", "claude_desktop_config.json (Settings, Developer, Edit Config)",
                _text(_claude(address))),
        Snippet("vscode", "VS Code", ".vscode/mcp.json of the workspace, or “MCP: Open User Configuration”",
                _text(_vscode(address))),
        Snippet("cursor", "Cursor", ".cursor/mcp.json of the project, or ~/.cursor/mcp.json",
                _text(_cursor(address))),
        Snippet("plain", "mcp.json", "mcp.json of any other client", _text(_plain(address))),
    ]  # fmt: skip


def _address(server: Server) -> Address | None:
    if server.transport in HTTP_TYPES and server.url:
        kind = HTTP_TYPES[Server.Transport(server.transport)]
        return Address(server.slug, kind, url=without_secrets(server.url), asked=_asked(server, "header"))
    if server.transport == Server.Transport.STDIO and server.command:
        args, asked = masked(server.args), _asked(server, "env")
        return Address(server.slug, "stdio", command=server.command, args=args, asked=asked)
    return None


def _asked(server: Server, place: str) -> list[Asked]:
    return list(_each_asked(server, [one for one in asked_for(server) if one.get("in", place) == place]))


def _each_asked(server: Server, variables: Iterable[Mapping[str, Any]]) -> Iterable[Asked]:
    named = set()
    for one in variables:
        name, said = str(one["name"]), str(one.get("value") or "")
        is_bearer = name.lower() == "authorization" and server.auth_type in {"bearer", "oauth2"}
        template = _PLACEHOLDER.sub("{}", said) if _PLACEHOLDER.search(said) else "Bearer {}" if is_bearer else "{}"
        named.add(name)
        yield Asked(name, str(one.get("description") or ""), bool(one.get("secret")), template)
    for name in server.env if server.transport == Server.Transport.STDIO else {}:
        if name not in named:
            yield Asked(name)


def _claude(address: Address) -> dict[str, Any]:
    entry = address.entry(lambda one: f"<{one.variable}>")
    if address.type != "stdio":
        headers = [part for one in address.asked for part in ("--header", f"{one.name}:${{{one.variable}}}")]
        args = ["-y", "mcp-remote", entry["url"], "--transport", BRIDGE_MODES[address.type], *headers]
        env = {one.variable: one.filled(f"<{one.variable}>") for one in address.asked}
        entry = {"command": "npx", "args": args, **({"env": env} if env else {})}
    return {"mcpServers": {address.key: entry}}


def _vscode(address: Address) -> dict[str, Any]:
    inputs = [
        {
            "type": "promptString",
            "id": one.variable.lower(),
            "description": one.description or one.name,
            "password": one.is_secret,
        }
        for one in [*address.asked, *map(Asked, address.placed)]
    ]
    entry = {"type": address.type, **address.entry(lambda one: f"${{input:{one.variable.lower()}}}")}
    return {**({"inputs": inputs} if inputs else {}), "servers": {address.key: entry}}


def _cursor(address: Address) -> dict[str, Any]:
    return {"mcpServers": {address.key: address.entry(lambda one: f"${{env:{one.variable}}}")}}


def _plain(address: Address) -> dict[str, Any]:
    entry = {"type": address.type, **address.entry(lambda one: f"${{{one.variable}}}")}
    return {"mcpServers": {address.key: entry}}


def _text(configuration: Mapping[str, Any]) -> str:
    return json.dumps(configuration, indent=2, ensure_ascii=False)
