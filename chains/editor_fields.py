"""One value of a plan in the editor: a literal by its schema, JSON, text with references, or a reference."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from chains.plan import Problem
from registry.schema_forms import JsonField, field_for

NONE, VALUE, JSON, FORMAT, OTHER = "", "value", "json", "format", "ref"
STEP, INPUT = "step ", "input "  # before the reference that a choice stands for
WORDS = {
    NONE: "left out",
    VALUE: "a value",
    JSON: "JSON",
    FORMAT: "text with {step#/text} in it",
    OTHER: "another part of a result",
}


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    label: str
    choices: list[Choice]


@dataclass(slots=True)
class ValueField:
    """How a value is shown: a choice of its kind, and beside it what was chosen."""

    key: str  # unique on the page
    name: str
    kind: str
    value_html: str
    groups: list[Group]
    label: str = ""
    help: str = ""
    required: bool = False
    problems: list[Problem] = field(default_factory=list)


def value_field(
    key: str,
    name: str,
    value: Any,
    schema: Mapping[str, Any],
    groups: Sequence[Group],
    *,
    required: bool,
    refused: "Mapping[str, tuple[str, str]]",
) -> ValueField:
    """`value` is ABSENT where there is none; `refused` holds kind and text, by key, of what could not be read."""
    kind, typed = refused.get(key) or (kind_of(value, schema, groups, required), None)
    own = [Choice(each, words) for each, words in WORDS.items() if each != NONE or not required]
    label = str(schema.get("title") or name)
    html = ""
    if not kind.startswith((STEP, INPUT)) and kind != NONE:
        html = _html(key, kind, value if typed is None else typed, schema, label, is_raw=typed is not None)
    offered = [Group("Written here", own), *groups]
    return ValueField(key, name, kind, html, offered, label, str(schema.get("description") or "")[:500], required)


class Absent:
    """There is no such value in the plan."""


ABSENT = Absent()


def kind_of(value: Any, schema: Mapping[str, Any], groups: Sequence[Group], required: bool) -> str:
    offered = {choice.value for group in groups for choice in group.choices}
    match value:
        case Absent():
            return VALUE if required else NONE
        case {"$ref": str(target)} if len(value) == 1:
            return STEP + target if STEP + target in offered else OTHER
        case {"$input": str(pointer)} if INPUT + pointer in offered:
            return INPUT + pointer
        case {"$format": str()} if len(value) == 1:
            return FORMAT
    return VALUE if _fits(literal_field(schema), value) else JSON


def _fits(written: forms.Field, value: Any) -> bool:
    """Can the field show this value without losing any of it?"""
    match written:
        case JsonField():
            return True
        case forms.ChoiceField():
            return value in {choice for choice, _ in written.choices}  # type: ignore[misc, union-attr]
        case forms.BooleanField():
            return isinstance(value, bool)
        case forms.IntegerField():
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def literal_field(schema: Mapping[str, Any]) -> forms.Field:
    """The run form's field for this schema, never required: an empty one leaves the value out."""
    made = field_for("value", dict(schema), False)
    made.initial = None
    return made


def _html(key: str, kind: str, value: Any, schema: Mapping[str, Any], label: str, *, is_raw: bool) -> str:
    made = _FIELDS[kind]() if kind in _FIELDS else literal_field(schema)
    attributes = {**made.widget.attrs, "id": f"{key}-value", "aria-label": f"{label}: value"}
    shown = value if is_raw else _shown(made, kind, value)
    return str(made.widget.render(f"{key}-value", shown, attributes))


_FIELDS: dict[str, Any] = {
    JSON: JsonField,
    FORMAT: lambda: forms.CharField(widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"})),
    OTHER: lambda: forms.CharField(widget=forms.TextInput(attrs={"class": "code", "placeholder": "s1#/json/name"})),
}


def _shown(made: forms.Field, kind: str, value: Any) -> Any:
    match kind, value:
        case _, Absent():
            return None
        case _, {"$format": str(text)}:
            return text
        case "ref", {"$ref": str(target)}:
            return target
        case "json", str() | bool() | int() | float() | None:
            return json.dumps(value, ensure_ascii=False)
        case "json", _:
            return json.dumps(value, indent=2, ensure_ascii=False)
        case "format" | "ref", _:
            return value if isinstance(value, str) else ""
    return made.prepare_value(value)


def read_value(posted: QueryDict, key: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """What the fields of `key` say (ABSENT: nothing), and what is wrong with it. What was typed stays, as text."""
    kind, typed = posted.get(f"{key}-kind", NONE), posted.get(f"{key}-value", "")
    if kind.startswith(STEP):
        return {"$ref": kind.removeprefix(STEP)}, ""
    if kind.startswith(INPUT):
        return {"$input": kind.removeprefix(INPUT)}, ""
    if kind == FORMAT:
        return {"$format": typed}, ""
    if kind == OTHER:
        return {"$ref": typed}, ""
    if kind == NONE:
        return ABSENT, ""
    return _read_literal(JsonField(required=False) if kind == JSON else literal_field(schema), posted, key)


def _read_literal(made: forms.Field, posted: QueryDict, key: str) -> tuple[Any, str]:
    typed = made.widget.value_from_datadict(posted, MultiValueDict(), f"{key}-value")
    if typed in (None, ""):
        return ABSENT, ""
    if isinstance(made, JsonField) and typed.strip() == "null":
        return None, ""
    try:
        return made.clean(typed), ""
    except ValidationError as error:
        return typed, str(error.messages[0])
