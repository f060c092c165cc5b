"""How a package is started: npm by npx, PyPI by uvx, container images by docker, NuGet by dnx."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from registry.importers.base import BadRecord
from registry.importers.fields import mapping, mappings, text, variables

_IDENTIFIER = re.compile(r"[A-Za-z0-9@][\w.@/:+\-]*")
_PLACEHOLDER = re.compile(r"\{([\w.\-]+)\}")
_PINNED_IMAGE = re.compile(r"(@sha256:|:[\w.\-]+$)")

Starter = Callable[[str, str, list[str], list[str]], tuple[str, list[str]]]


def _npx(name: str, version: str, runtime: list[str], env: list[str]) -> tuple[str, list[str]]:
    return "npx", [*(runtime or ["-y"]), f"{name}@{version}" if version else name]


def _uvx(name: str, version: str, runtime: list[str], env: list[str]) -> tuple[str, list[str]]:
    return "uvx", [*runtime, f"{name}=={version}" if version else name]


def _docker(name: str, version: str, runtime: list[str], env: list[str]) -> tuple[str, list[str]]:
    image = f"{name}:{version}" if version and not _PINNED_IMAGE.search(name.rpartition("/")[2]) else name
    return "docker", ["run", "-i", "--rm", *(part for one in env for part in ("-e", one)), *runtime, image]


def _dnx(name: str, version: str, runtime: list[str], env: list[str]) -> tuple[str, list[str]]:
    return "dnx", [*runtime, f"{name}@{version}" if version else name, "--yes", "--"]


STARTERS: dict[str, Starter] = {"npm": _npx, "pypi": _uvx, "oci": _docker, "nuget": _dnx}


def startable(packages: Any) -> dict[str, Any] | None:
    """The first package, in the order of STARTERS, that a command can start and that speaks over stdio."""
    usable = [one for one in mappings(packages) if text(mapping(one.get("transport")), "type") in {"stdio", ""}]
    order = list(STARTERS)
    known = [one for one in usable if text(one, "registryType") in STARTERS]
    return min(known, key=lambda one: order.index(text(one, "registryType")), default=None)


def command_of(package: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The command and its arguments. Raises BadRecord for a name that a command could take for an option."""
    name, version = text(package, "identifier"), text(package, "version", 255)
    if not _IDENTIFIER.fullmatch(name) or (version and not _IDENTIFIER.fullmatch(version)):
        raise BadRecord(f"Its package has an impossible name or version: {name[:100]!r} {version[:100]!r}.")
    env = [entry["name"] for entry in variables(package.get("environmentVariables"), "env")]
    runtime = _arguments(package.get("runtimeArguments"))
    start = STARTERS[text(package, "registryType")]
    command, args = start(name, "" if version == "latest" else version, runtime, env)
    return command, [*args, *_arguments(package.get("packageArguments"))]


def _arguments(entries: Any) -> list[str]:
    return [part for entry in mappings(entries) for part in _argument(entry)]


def _argument(entry: Mapping[str, Any]) -> Iterable[str]:
    """Nothing for an optional argument without a value; `{name}` for a required one the user has to fill in."""
    value = text(entry, "value") or text(entry, "default")
    name = text(entry, "name")
    filled = filled_in(value, mapping(entry.get("variables")))
    if text(entry, "type") == "named" and name:
        if filled:
            return [name, filled]
        return [name] if entry.get("isRequired") else []
    if filled:
        return [filled]
    return [f"{{{text(entry, 'valueHint') or 'value'}}}"] if entry.get("isRequired") else []


def filled_in(template: str, described: Mapping[str, Any]) -> str:
    """The template with each `{name}` replaced by that variable's default, where there is one."""

    def value_of(match: re.Match[str]) -> str:
        variable = mapping(described.get(match[1]))
        return text(variable, "value") or text(variable, "default") or match[0]

    return _PLACEHOLDER.sub(value_of, template)
