"""Which package a command starts: npx an npm package, uvx one of PyPI, docker an image, dnx one of NuGet."""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from registry.secrets import masked

PATH = re.compile(r"/.|~/|[A-Za-z]:\\")
Parsed = tuple[list[str], str, list[str]]  # options of the starter, the package, arguments of the package
DOCKER_TAKES_VALUE = frozenset(
    {
        "-e", "--env", "-v", "--volume", "--mount", "--name", "--network", "-p", "--publish", "-w", "--workdir",
        "--entrypoint", "-u", "--user", "--env-file", "--add-host", "--platform", "--memory", "-m", "--cpus",
    }
)  # fmt: skip


def package_of(command: str, args: Sequence[str], variables: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The package in the shape of a server.json; None for a program that is none, or options we do not understand.
    `variables` are those of the environment it asks for."""
    starter = STARTERS.get(PurePath(command).name)
    found = starter[1](masked(args)) if starter else None
    if starter is None or found is None:
        return None
    options, package, rest = found
    name, version = _split(package, "==" if starter[0] == "pypi" else "@")
    is_image = starter[0] == "oci"
    parts = {
        "registryType": starter[0],
        "identifier": package if is_image else name,
        "version": "" if is_image else version,
        "runtimeHint": PurePath(command).name,
        "transport": {"type": "stdio"},
        "runtimeArguments": _positional(options),
        "packageArguments": _positional(rest),
        "environmentVariables": list(variables),
    }
    return {part: value for part, value in parts.items() if value}


def _split(package: str, mark: str) -> tuple[str, str]:
    """Name and version; an @ at the beginning is a scope's."""
    name, _, version = package[1:].partition(mark)
    return package[:1] + name, version


def _positional(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """A path of this machine is nobody else's: they are asked for theirs."""
    path = {"type": "positional", "valueHint": "path", "isRequired": True}
    return [path if PATH.match(one) else {"type": "positional", "value": one} for one in arguments]


def _npx(args: list[str]) -> Parsed | None:
    while args and args[0] in {"-y", "--yes", "-q", "--quiet"}:
        args = args[1:]
    return _named([], args)


def _uvx(args: list[str]) -> Parsed | None:
    return _named([], args)


def _dnx(args: list[str]) -> Parsed | None:
    named = _named([], args)
    if named is None:
        return None
    rest = [arg for arg in named[2][:2] if arg not in {"--yes", "-y", "--"}] + named[2][2:]
    return [], named[1], rest


def _docker(args: list[str]) -> Parsed | None:
    if args[:1] != ["run"]:
        return None
    options, rest = [], args[1:]
    while rest and rest[0].startswith("-"):
        count = 2 if rest[0] in DOCKER_TAKES_VALUE else 1
        options += rest[:count]
        rest = rest[count:]
    return _named(_beyond_the_usual(options), rest)


def _beyond_the_usual(options: list[str]) -> list[str]:
    """Without what starting a server by docker always says: -i, --rm, and names of variables passed on."""
    kept, skip = [], False
    for option, following in zip(options, [*options[1:], ""], strict=True):
        if skip or option in {"-i", "--rm", "-it", "--interactive"}:
            skip = False
        elif option in {"-e", "--env"} and "=" not in following:
            skip = True
        else:
            kept.append(option)
    return kept


def _named(options: list[str], args: list[str]) -> Parsed | None:
    return (options, args[0], args[1:]) if args and not args[0].startswith("-") else None


STARTERS: dict[str, tuple[str, Callable[[list[str]], Parsed | None]]] = {
    "npx": ("npm", _npx),
    "uvx": ("pypi", _uvx),
    "docker": ("oci", _docker),
    "dnx": ("nuget", _dnx),
}
