"""Arguments by schema: what each parameter wants is told by its name, type and format; the message has facts."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chat.offline.facts import Fact, Facts
from chat.offline.words import stems
from chat.schemas import parameters, required, resolved, type_of
from registry.embeddings import split_words
from registry.models import Tool

# A parameter's words → what it wants. The first that fits counts.
_WANTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"url", "uri", "link", "href", "website"}), "url"),
    (frozenset({"email", "mail", "recipient", "recipients"}), "email"),
    (frozenset({"timezone", "tz", "zone"}), "zone"),
    (frozenset({"directory", "folder", "dir"}), "folder"),
    (frozenset({"path", "file", "filename", "filepath"}), "file"),
    (frozenset({"date", "day", "datetime"}), "date"),
    (frozenset({"time", "clock"}), "time"),
    (frozenset({"query", "q", "search", "term", "keyword", "keywords", "topic", "question"}), "query"),
    (frozenset({"city", "location", "place", "country", "region", "address", "name", "title", "subject"}), "name"),
    (frozenset({"pattern", "glob"}), "pattern"),
    (frozenset({"content", "contents", "text", "body", "message", "data", "input", "value", "note"}), "text"),
)
_FORMATS = {"uri": "url", "url": "url", "email": "email", "date": "date", "date-time": "date", "time": "time"}
_FOR_SALE = frozenset({"url", "email", "zone", "folder", "file", "date", "time"})  # also fill what is optional
_FROM = frozenset({"source", "from", "src", "origin"})
_TO = frozenset({"target", "to", "destination", "dest"})
_ASKING = re.compile(
    r"^\W*(?:please\s+)?(?:can you\s+)?(?:search|find|look\s+up|look\s+for|google|query)"
    r"(?:\s+(?:for|about|the web for))?\s+",
    re.IGNORECASE,
)
_ABOUT_ZONES = re.compile(r"\btime ?zone\b", re.IGNORECASE)
_AFTER_COLON = re.compile(r":\s+(\S.*)$", re.DOTALL)


@dataclass(slots=True)
class Filled:
    """A tool's arguments as far as they could be filled."""

    tool: Tool
    arguments: dict[str, Any] = field(default_factory=dict)
    used: list[Fact] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # required parameters
    references: int = 0

    @property
    def missing_text(self) -> list[str]:
        """What another tool's output could fill."""
        return [name for name in self.missing if wanted(self.tool, name) in ("text", "query", "any")]


def node_of(tool: Tool, name: str) -> dict[str, Any]:
    found = resolved(dict(parameters(tool.input_schema)).get(name, {}), tool.input_schema)
    return found if isinstance(found, dict) else {}


def wanted(tool: Tool, name: str) -> str:
    """url, email, zone, folder, file, date, time, query, name, text, or "any" text."""
    node = node_of(tool, name)
    if isinstance(form := node.get("format"), str) and form in _FORMATS:
        return _FORMATS[form]
    words = set(split_words(name).lower().split())
    want = next((want for known, want in _WANTS if words & known), "any")
    about = node.get("description")
    if (
        want in ("any", "name", "time")
        and isinstance(about, str)
        and re.search(r"\btime ?zone\b", about, re.IGNORECASE)
    ):
        return "zone" if want != "time" else want
    if want == "file" and {"directory", "folder", "dir"} & set(split_words(tool.name).lower().split()):
        return "folder"
    return want


def fill(tool: Tool, facts: Facts, previous: "Sequence[Filled]" = ()) -> Filled:
    """Arguments for one call from the facts, and from what the step before it gave."""
    filled = Filled(tool)
    needed = set(required(tool.input_schema))
    for name, _ in parameters(tool.input_schema):
        left = facts.without(filled.used)
        if not _fill_one(filled, name, left, needed=name in needed, previous=previous) and name in needed:
            filled.missing.append(name)
    return filled


def _fill_one(filled: Filled, name: str, facts: Facts, *, needed: bool, previous: Sequence[Filled]) -> bool:
    node = node_of(filled.tool, name)
    if "const" in node or (not needed and "default" in node and not isinstance(node.get("enum"), list)):
        return _default(filled, name, node, needed)
    if isinstance(choices := node.get("enum"), list):
        return _choose(filled, name, choices, facts) or _default(filled, name, node, needed)
    match type_of(node):
        case "integer" | "number" as kind:
            found = _number(filled, name, facts, kind, needed=needed)
        case "array":
            found = needed and _several(filled, name, node, facts)
        case "string":
            found = _text(filled, name, facts, needed=needed)
        case _:
            found = False
    return found or (needed and _reference(filled, name, previous)) or _default(filled, name, node, needed)


def _default(filled: Filled, name: str, node: dict[str, Any], needed: bool) -> bool:
    value = node.get("const", node.get("default"))
    if not needed or value is None:
        return False
    filled.arguments[name] = value
    return True


def _choose(filled: Filled, name: str, choices: Sequence[Any], facts: Facts) -> bool:
    said = stems(facts.text)
    for choice in choices:
        words = stems(choice) if isinstance(choice, str) else set()
        if words and words <= said:
            filled.arguments[name] = choice
            return True
    return False


def _number(filled: Filled, name: str, facts: Facts, kind: str, *, needed: bool) -> bool:
    own_words = stems(name)
    for fact in facts.of("number"):
        near = stems(facts.text[max(0, fact.start - 20) : fact.end + 20])
        value = float(fact.value)
        if (needed or near & own_words) and (kind == "number" or value.is_integer()):
            filled.arguments[name] = int(value) if value.is_integer() else value
            filled.used.append(fact)
            return True
    return False


def _several(filled: Filled, name: str, node: dict[str, Any], facts: Facts) -> bool:
    items = resolved(node.get("items"), filled.tool.input_schema)
    kind = type_of(items) if isinstance(items, dict) else "string"
    if kind in ("integer", "number"):
        found, values = facts.of("number"), [json.loads(fact.value) for fact in facts.of("number")]
    else:
        found = facts.of("quoted", "file", "url") if kind == "string" else []
        values = [fact.value for fact in found]
    if values:
        filled.arguments[name] = values
        filled.used.extend(found)
    return bool(values)


def _text(filled: Filled, name: str, facts: Facts, *, needed: bool) -> bool:
    want = wanted(filled.tool, name)
    if not needed and want not in _FOR_SALE:
        return False
    fact = _fact_for(want, name, facts)
    if fact is not None:
        filled.arguments[name] = fact.value
        filled.used.append(fact)
        return True
    words = _own_words(want, facts) if needed else ""
    if words:
        filled.arguments[name] = words
    return bool(words)


def _fact_for(want: str, name: str, facts: Facts) -> Fact | None:
    match want:
        case "file" | "folder":
            found = facts.of("file", "folder") if want == "file" else facts.of("folder")
        case "url" | "email" | "date" | "time" | "zone":
            found = [fact for fact in facts.found if fact.kind == want]
        case "name":
            found = facts.of("quoted", "name")
        case "pattern":
            found = facts.of("quoted", "pattern")
        case "any" if set(split_words(name).lower().split()) & (_FROM | _TO):
            found = facts.of("quoted", "file", "folder", "url")
        case _:
            found = facts.of("quoted")
    return _directed(found, set(split_words(name).lower().split()))


def _directed(found: list[Fact], words: set[str]) -> Fact | None:
    """ "from Paris to Tokyo": what is called source takes what stands after "from"."""
    for side, said in ((_FROM, {"from"}), (_TO, {"to", "into", "in"})):
        if words & side and (pointed := [fact for fact in found if fact.before in said]):
            return pointed[0]
    return found[0] if found else None


def _own_words(want: str, facts: Facts) -> str:
    """What follows a colon, or the clause without "search for"."""
    if want in ("text", "query", "any") and (found := _AFTER_COLON.search(facts.text)):
        return found[1].strip()
    if want == "query" and _ASKING.match(facts.text):
        return _ASKING.sub("", facts.text).strip(" ?.!")
    return ""


def _reference(filled: Filled, name: str, previous: Sequence[Filled]) -> bool:
    """The output of the newest step that declares a field of this name, else its whole text for what wants text."""
    if not previous:
        return False
    for number, step in reversed(list(enumerate(previous, 1))):
        if name in declared(step.tool):
            return _refer(filled, name, f"s{number}#/json/{name}")
    is_text = type_of(node_of(filled.tool, name)) == "string" and wanted(filled.tool, name) in ("text", "any", "query")
    return is_text and _refer(filled, name, f"s{len(previous)}#/text")


def declared(tool: Tool) -> dict[str, Any]:
    properties = (tool.output_schema or {}).get("properties")
    return properties if isinstance(properties, dict) else {}


def _refer(filled: Filled, name: str, target: str) -> bool:
    filled.arguments[name] = {"$ref": target}
    filled.references += 1
    return True
