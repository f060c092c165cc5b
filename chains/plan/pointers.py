"""Where a pointer leads in the JSON that a schema describes, or that was seen before."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chains.plan.problems import pointer_to

MAX_DEPTH = 16  # of references and alternatives inside one schema
MAX_NAME_CHARS = 100  # of a key that is offered to be referred to
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_SCALARS = {"string", "number", "integer", "boolean", "null"}


def dangling(schema: Any, tokens: Sequence[str]) -> str | None:
    """The first token that nothing the schema describes has; None where it leads somewhere or the schema does not say.

    A schema that lists properties is taken at its word, unless it speaks of further ones.
    """
    places = [schema]
    for token in tokens:
        places = [child for place in places for child in _children(place, token, schema, 0)]
        if not places:
            return token
    return None


def _children(place: Any, token: str, root: Any, depth: int) -> list[Any]:
    """The schemas of what `token` can lead to; True says anything, none that there is no such thing."""
    if not isinstance(place, dict) or depth > MAX_DEPTH:
        return [] if place is False else [True]
    parts = [*_branches(place), *([_target(root, place["$ref"])] if "$ref" in place else [])]
    found = [child for part in parts for child in _children(part, token, root, depth + 1)]
    says_itself = not parts or place.get("properties") or "items" in place
    return [*found, *(_own_children(place, token) if says_itself else [])]


def _branches(place: dict[str, Any]) -> list[Any]:
    lists = [place[name] for name in ("anyOf", "oneOf", "allOf") if isinstance(place.get(name), list)]
    return [branch for branches in lists for branch in branches]


def _target(root: Any, ref: Any) -> Any:
    if not isinstance(ref, str) or not ref.startswith("#"):
        return True
    place = root
    for token in ref[1:].split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        place = place.get(name, True) if isinstance(place, dict) else True
    return place


def _own_children(place: dict[str, Any], token: str) -> list[Any]:
    properties = place.get("properties")
    if isinstance(properties, dict) and properties:
        if token in properties:
            return [properties[token]]
        further = place.get("additionalProperties", False)
        return [True] if "patternProperties" in place or further is not False else []
    if place.get("type") == "array":
        return [place.get("items", True)] if _INDEX.fullmatch(token) else []
    types = place.get("type")
    names = {types} if isinstance(types, str) else set(types) if isinstance(types, list) else set()
    return [] if names and names <= _SCALARS else [True]


def is_seen(values: Iterable[Any], tokens: Sequence[str]) -> bool:
    """Has any of these values something there?"""
    return any(_leads(value, tokens) for value in values)


def _leads(value: Any, tokens: Sequence[str]) -> bool:
    for token in tokens:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return False
    return True


def pointers_seen(values: Iterable[Any], depth: int = 2) -> list[str]:
    """Where the parts of these values are: of objects their keys, of a list its first item, so many levels deep."""
    found: dict[str, None] = {}
    for value in values:
        found.update(dict.fromkeys(_inside(value, "", depth)))
    return list(found)


def _inside(value: Any, path: str, depth: int) -> Iterator[str]:
    parts = value.items() if isinstance(value, dict) else [("0", value[0])] if isinstance(value, list) and value else []
    for name, part in parts if depth else ():
        if len(name) <= MAX_NAME_CHARS:
            yield path + pointer_to(name)
            yield from _inside(part, path + pointer_to(name), depth - 1)
