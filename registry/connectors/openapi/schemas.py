"""The document's schemas as JSON Schema 2020-12 that stands on its own: references lead to `$defs`, sizes are bounded.

A recursive schema stays recursive by way of `$defs`. What would be too large is cut to an outline of its type, which
allows more than it should: the service itself has the last word.
"""

import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.connectors.openapi.document import BadReference, Document, Unusable, items, mapping

IN, OUT = "readOnly", "writeOnly"  # what is hidden of requests, and of answers
CUT_LEVELS = (12, 8, 6, 4, 2, 1)
TOO_LARGE = 2  # times the budget
SUBSCHEMA = {"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"}
CONDITIONS = {"not", "if", "then", "else"}
LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
MAPS = {"properties", "patternProperties"}
TEXTS = {"title", "description", "format", "pattern", "contentMediaType", "contentEncoding"}
NUMBERS = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems",
    "maxItems", "minProperties", "maxProperties", "minContains", "maxContains",
}  # fmt: skip
ANYTHING = {"default", "const"}
FLAGS = {"uniqueItems", "deprecated", "readOnly", "writeOnly"}
TYPES = {"string", "number", "integer", "boolean", "array", "object", "null"}
MAX_OUTLINE_TEXT = 200


@dataclass(frozen=True, slots=True)
class Converted:
    """A schema and the names of the `$defs` it refers to. `size` in characters of JSON."""

    schema: dict[str, Any]
    refs: frozenset[str]
    size: int


@dataclass
class Schemas:
    """`hidden` is IN or OUT. A definition of the document is converted once, however many tools use it."""

    document: Document
    hidden: str
    names: dict[str, str] = field(default_factory=dict)  # pointer → name in $defs
    pointers: dict[str, str] = field(default_factory=dict)  # the other way round
    known: dict[str, Converted] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)  # of names that are alike
    problems: list[str] = field(default_factory=list)

    def convert(self, schema: Any, refs: set[str]) -> dict[str, Any]:
        """Adds to `refs` what it refers to. Raises BadReference for references out of the document."""
        if not isinstance(schema, dict):
            return {"not": {}} if schema is False else {}
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema, refs)
        converted: dict[str, Any] = {}
        for name, value in schema.items():
            if name in SUBSCHEMA:
                self._subschema(name, value, refs, converted)
            elif name in LISTS and isinstance(value, list) and value:
                converted[name] = [self.convert(each, refs) for each in value]
            elif name in MAPS and isinstance(value, dict):
                converted[name] = self._properties(value, refs)
            elif _is_plain(name, value):
                converted[name] = value
        _required(schema, converted)
        _of_version_3_0(schema, converted)
        return converted

    def inlined(self, schema: Any, refs: set[str]) -> dict[str, Any]:
        """The same with a reference at the top written out, so that a reader need not follow it."""
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            return self.convert(schema, refs)
        said = {name: schema[name] for name in ("description", "default") if name in schema}
        return self.convert(self._value_of(schema["$ref"]), refs) | said

    def closed(self, schema: dict[str, Any], refs: set[str], budget: int) -> dict[str, Any]:
        """With the `$defs` it needs, those nearest first, in about `budget` characters of JSON. Raises Unusable."""
        for levels in CUT_LEVELS:
            if size(schema) <= budget:
                break
            schema = cut(schema, levels)
            refs = self.pointers.keys() & set(_refs_of(schema))
        if (used := size(schema)) > TOO_LARGE * budget:
            raise Unusable("more fields than can be described")
        definitions: dict[str, Any] = {}
        waiting = deque(sorted(refs))
        while waiting:
            if (name := waiting.popleft()) in definitions:
                continue
            found = self._definition(name)
            fits = used + found.size <= budget
            definitions[name] = found.schema if fits else outline(found.schema)
            used += found.size if fits else size(definitions[name])
            if fits:
                waiting.extend(sorted(found.refs - definitions.keys()))
        return {**schema, "$defs": definitions} if definitions else schema

    def _reference(self, schema: dict[str, Any], refs: set[str]) -> dict[str, Any]:
        try:
            pointer = self.document.target(schema["$ref"])
        except BadReference as error:
            self._tolerate(schema["$ref"], error)
            return {}
        name = self._name_of(pointer)
        refs.add(name)
        said = {key: schema[key] for key in ("description",) if isinstance(schema.get(key), str)}
        return {"$ref": f"#/$defs/{name}"} | said

    def _tolerate(self, reference: str, error: BadReference) -> None:
        """A gap in the document is no reason to lose the tool; a way out of it is."""
        if not reference.startswith("#"):
            raise error
        self.problems.append(f"The document has {error}: anything is taken there.")

    def _value_of(self, reference: str) -> Any:
        try:
            return self.document.value_of(reference)
        except BadReference as error:
            self._tolerate(reference, error)
            return {}

    def _definition(self, name: str) -> Converted:
        if name not in self.known:
            refs: set[str] = set()
            schema = self.convert(self.document.value_of(self.pointers[name]), refs)
            self.known[name] = Converted(schema, frozenset(refs), size(schema))
        return self.known[name]

    def _name_of(self, pointer: str) -> str:
        """The last part of the pointer, as it can stand in another one; numbered where two are alike."""
        if pointer not in self.names:
            last = pointer.rpartition("/")[2] or "schema"
            plain = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in last)
            name = plain
            while name in self.pointers:
                self.counts[plain] += 1
                name = f"{plain}_{self.counts[plain] + 1}"
            self.names[pointer], self.pointers[name] = name, pointer
        return self.names[pointer]

    def _subschema(self, name: str, value: Any, refs: set[str], converted: dict[str, Any]) -> None:
        if isinstance(value, bool):
            converted[name] = value
        elif isinstance(value, dict):
            converted[name] = self.convert(value, refs)
        elif isinstance(value, list) and value and name == "items":
            converted["prefixItems"] = [self.convert(each, refs) for each in value]

    def _properties(self, properties: dict[str, Any], refs: set[str]) -> dict[str, Any]:
        shown = {name: part for name, part in properties.items() if not self.hides(part)}
        return {name: self.convert(part, refs) for name, part in shown.items()}

    def hides(self, schema: Any) -> bool:
        return isinstance(schema, dict) and schema.get(self.hidden) is True


def _is_plain(name: str, value: Any) -> bool:
    if name in TEXTS:
        return isinstance(value, str)
    if name in NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "type":
        return bool(value) and all(isinstance(each, str) and each in TYPES for each in _listed(value))
    if name == "enum":
        return isinstance(value, list) and bool(value)
    return name in ANYTHING or (name in FLAGS and isinstance(value, bool))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _required(schema: dict[str, Any], converted: dict[str, Any]) -> None:
    """Properties that are hidden are not asked for."""
    hidden = mapping(schema.get("properties")).keys() - mapping(converted.get("properties")).keys()
    names = [name for name in items(schema.get("required")) if isinstance(name, str) and name not in hidden]
    if names:
        converted["required"] = list(dict.fromkeys(names))


def _of_version_3_0(schema: dict[str, Any], converted: dict[str, Any]) -> None:
    """What earlier versions say in words of their own."""
    if schema.get("nullable") is True:
        if isinstance(converted.get("type"), str):
            converted["type"] = [converted["type"], "null"]
        if isinstance(converted.get("enum"), list) and None not in converted["enum"]:
            converted["enum"] = [*converted["enum"], None]
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True and limit in converted:
            converted[exclusive] = converted.pop(limit)
    if isinstance(schema.get("example"), str | int | float | bool):
        converted["examples"] = [schema["example"]]


def size(schema: Any) -> int:
    return len(json.dumps(schema, ensure_ascii=False))


def _refs_of(schema: dict[str, Any]) -> Iterator[str]:
    """The names in `$defs` that a converted schema refers to."""
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix("#/$defs/")
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def outline(schema: dict[str, Any]) -> dict[str, Any]:
    """Its type and what it is about, which every value that fits the schema fits, too."""
    kept: dict[str, Any] = {name: schema[name] for name in ("type", "title") if name in schema}
    if isinstance(schema.get("description"), str):
        kept["description"] = schema["description"][:MAX_OUTLINE_TEXT]
    return kept


def cut(schema: Any, levels: int) -> Any:
    """Not deeper than so many levels of schemas."""
    if not isinstance(schema, dict):
        return schema
    if levels <= 0:
        return outline(schema)
    shorter = dict(schema)
    for name, value in schema.items():
        if name in MAPS and isinstance(value, dict):
            shorter[name] = {key: cut(each, levels - 1) for key, each in value.items()}
        elif name in LISTS and isinstance(value, list):
            shorter[name] = [cut(each, levels - 1) for each in value]
        elif name in CONDITIONS:
            del shorter[name]  # an outline there would forbid what the whole allows
        elif name in SUBSCHEMA:
            shorter[name] = cut(value, levels - 1)
    return shorter
