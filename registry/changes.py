"""What changed about tools since somebody accepted them, as people read it."""

import difflib
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from registry.models import Connection, Definition, Tool

MAX_LINES = 1_500  # of a definition that is compared line by line
MAX_DIFFS = 30  # on one page
CONTEXT_LINES = 2
FROM_THE_START = ("@@ -0,0 ", "@@ -1 ", "@@ -1,")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
PARTS = {
    "description": "Description",
    "input_schema": "What it takes",
    "output_schema": "What it gives back",
    "annotations": "Hints",
}


class Defined(Protocol):
    """A tool, or a definition of it that was kept."""

    title: Any
    description: Any
    input_schema: Any
    output_schema: Any
    annotations: Any


@dataclass(frozen=True, slots=True)
class Line:
    kind: str  # added, removed, same
    text: str


@dataclass(frozen=True, slots=True)
class PartDiff:
    name: str
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A tool its user has not accepted as it is. `parts` is empty for a new one, and beyond the first MAX_DIFFS."""

    tool: Tool
    kind: Tool.Change
    parts: list[PartDiff] = field(default_factory=list)


def changes_of(tools: Iterable[Tool], connection: Connection | None) -> dict[int, ToolChange]:
    """By tool: what waits for the connection's user. Tools loaded `with_acceptance_of` that user; those whose
    difference is shown are read whole."""
    found = [(tool, kind) for tool in tools if (kind := tool.change_for(connection))]
    compared = [tool for tool, kind in found if kind == Tool.Change.CHANGED][:MAX_DIFFS]
    before = Definition.objects.in_bulk([tool.accepted_hash for tool in compared])
    now = Tool.objects.in_bulk([tool.pk for tool in compared])
    diffs = {
        tool.pk: diff(before[tool.accepted_hash], now[tool.pk]) for tool in compared if tool.accepted_hash in before
    }
    return {tool.pk: ToolChange(tool, kind, diffs.get(tool.pk, [])) for tool, kind in found}


def digest_of(changes: Iterable[ToolChange]) -> str:
    """What a page showed: “Accept all” accepts that, and nothing that came later."""
    shown = sorted(f"{change.tool.name} {change.tool.schema_hash}" for change in changes)
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()


def diff(old: Defined, new: Defined) -> list[PartDiff]:
    """Only the parts that differ, each with a little of what surrounds the difference."""
    parts = [PartDiff(words, _compared(_lines(old, part), _lines(new, part))) for part, words in PARTS.items()]
    return [part for part in parts if part.lines]


def _lines(defined: Defined, part: str) -> list[str]:
    value = getattr(defined, part)
    if part == "description":
        text = "\n".join(SENTENCE_END.split(value))
    else:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) if value else ""
    return [plain(line) for line in text.split("\n")] if text else []


def _compared(old: Sequence[str], new: Sequence[str]) -> list[Line]:
    if old == new:
        return []
    if max(len(old), len(new)) > MAX_LINES:
        return [Line("same", f"Too long to compare line by line: {len(old)} lines before, {len(new)} now.")]
    kinds = {"+": "added", "-": "removed", " ": "same"}
    compared = list(difflib.unified_diff(old, new, n=CONTEXT_LINES, lineterm=""))[2:]
    if compared[0].startswith(FROM_THE_START):
        del compared[0]
    return [Line(kinds[line[0]], line[1:]) if line[0] in kinds else Line("same", "…") for line in compared]


def plain(text: str) -> str:
    """Characters that nobody sees, but a model reads, are spelled out."""
    return "".join(f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _UNSEEN else char for char in text)


_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
