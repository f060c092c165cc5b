"""YAML that somebody else wrote: by the C loader, after a cap of its size and a look at its depth."""

from typing import Any

import yaml

from registry.importers.fields import MAX_DEPTH

MAX_BYTES = 20 * 1024 * 1024


class BadYaml(Exception):
    """It is too large, too deep, or no YAML; the message says which."""


def parse(body: bytes) -> Any:
    if len(body) > MAX_BYTES:
        raise BadYaml(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        _refuse_deep(body)
        return yaml.load(body, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadYaml(str(error).splitlines()[0]) from error


def _refuse_deep(body: bytes) -> None:
    """The C loader recurses without a limit of its own: deep nesting would end the process, not raise. An alias could
    grow to anything."""
    depth = 0
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it refers to parts of itself, which is not read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
