"""An OpenAPI document's bytes as JSON values, whatever they are made to do to a parser.

YAML is read event by event: nothing nests or multiplies beyond a limit before we notice, what looks like a date or
like `no` stays the text it is (YAML 1.2, as OpenAPI asks), and every key is a text.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from registry.connectors.base import ConnectorError
from registry.connectors.tools import depth, storable

MAX_DEPTH = 100  # real documents stay under 40
MAX_NODES = 1_500_000  # what aliases stand for counted each time; a document of 6 MB has 300,000
MAX_MARKS = 4_000_000  # brackets and commas of JSON, those in texts too
MAX_QUOTED = 200
NULLS = {"", "~", "null", "Null", "NULL"}
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
MAY_BE_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])|[\x00\ud800-\udfff]", re.IGNORECASE)
STRING_TAG = "tag:yaml.org,2002:str"
MERGE = "<<"


def not_openapi(message: str) -> ConnectorError:
    """The address answers, but what it holds cannot be used."""
    return ConnectorError("not_openapi", message)


def parsed(body: bytes, content_type: str = "") -> dict[str, Any]:
    """The document. Raises ConnectorError for what is neither JSON nor YAML, or is not meant to be read."""
    text = _text_of(body)
    start = text.lstrip()[:1]
    if not start:
        raise not_openapi("The document is empty.")
    if start == "<" or content_type == "text/html":
        what = "a web page" if content_type == "text/html" or "<html" in text[:2_000].lower() else "XML"
        raise not_openapi(f"The address answers with {what}, not with an OpenAPI document in JSON or YAML.")
    root = _json(text) if start in "{[" else storable(_yaml(text))
    if depth(root) > MAX_DEPTH:
        raise _too_deep()
    if not isinstance(root, dict):
        raise not_openapi("This is no OpenAPI document: it is not an object with a field `openapi` or `swagger`.")
    return root


def _text_of(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_openapi("The address answers with binary data, not with an OpenAPI document.") from error


def _json(text: str) -> Any:
    if sum(map(text.count, "[{,")) > MAX_MARKS:
        raise _too_many()
    try:
        root = json.loads(text, parse_constant=lambda name: None)  # NaN and Infinity are no JSON
        return storable(root) if MAY_BE_UNSTORABLE.search(text) else root
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        return _yaml_like_json(text, error)


def _yaml_like_json(text: str, json_error: ValueError) -> Any:
    """YAML may start with a brace, too; else JSON's own complaint says more."""
    try:
        return _yaml(text)
    except ConnectorError:
        raise not_openapi(f"The document is not valid JSON: {json_error}.") from json_error


def _yaml(text: str) -> Any:
    builder = Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())[:MAX_QUOTED]
        raise not_openapi(f"The document is neither JSON nor valid YAML: {said}.") from error
    return builder.root


def _too_many() -> ConnectorError:
    return not_openapi("The document has, its aliases unfolded, more than a million values, so it is not read.")


def _too_deep() -> ConnectorError:
    return not_openapi(f"The document is nested deeper than {MAX_DEPTH} levels, so it is not read.")


@dataclass(slots=True)
class Node:
    """A list or mapping under construction. `count` is how many nodes it stands for, aliases written out."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    merged: list[Any] = field(default_factory=list)
    count: int = 1

    def add(self, value: Any, raw: str | None) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is None:
            if raw is None:
                raise not_openapi("The document is YAML with a list or an object as a key, which JSON has not.")
            self.key = raw
        else:
            self._set(self.key, value)
            self.key = None

    def _set(self, key: str, value: Any) -> None:
        assert isinstance(self.value, dict)
        if key == MERGE and isinstance(value, dict | list):
            self.merged += value if isinstance(value, list) else [value]
        else:
            self.value[key] = value

    def finish(self) -> None:
        if isinstance(self.value, dict):
            for mapping in self.merged:
                if isinstance(mapping, dict):
                    self.value.update({key: item for key, item in mapping.items() if key not in self.value})


class Builder:
    """Makes values of YAML events; an alias is the very value of its anchor."""

    def __init__(self) -> None:
        self.root: Any = None
        self.open: list[Node] = []
        self.anchors: dict[str, tuple[Any, str | None, int]] = {}  # value, its text, its count
        self.total = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                value = scalar(event)
                if event.anchor:
                    self.anchors[event.anchor] = (value, event.value, 1)
                self._add(value, event.value, 1)
            case yaml.AliasEvent():
                self._add(*self._anchored(event.anchor))
            case yaml.MappingStartEvent():
                self._begin({}, event.anchor)
            case yaml.SequenceStartEvent():
                self._begin([], event.anchor)
            case yaml.CollectionEndEvent():
                self._end()

    def _begin(self, value: Any, anchor: str | None) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise _too_deep()
        self.open.append(Node(value, anchor))

    def _end(self) -> None:
        node = self.open.pop()
        node.finish()
        if node.anchor:
            self.anchors[node.anchor] = (node.value, None, node.count)
        self._add(node.value, None, node.count)

    def _add(self, value: Any, raw: str | None, count: int) -> None:
        if not self.open:
            self.root = value
            return
        self.open[-1].count += count
        if self.open[-1].count > MAX_NODES:
            raise _too_many()
        self.open[-1].add(value, raw)

    def _anchored(self, name: str | None) -> tuple[Any, str | None, int]:
        if name is None or name not in self.anchors:
            raise not_openapi("The document's YAML has an alias that contains itself or has no anchor.")
        return self.anchors[name]


def scalar(event: yaml.ScalarEvent) -> Any:
    """By the core schema of YAML 1.2, as far as JSON has the type."""
    text = event.value
    if not event.implicit[0] or event.tag == STRING_TAG:
        return text
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def strings(value: Any) -> Iterator[str]:
    """The texts of a list, whatever else is in it."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, str))
