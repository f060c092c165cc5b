"""The form to try a tool: made from whatever schema its server sent."""

from collections.abc import Mapping
from typing import Any

from django import forms

from registry.models import Tool
from registry.schema_forms import JsonField, SchemaForm

MAX_FIELDS = 60  # with more, all arguments are written as one JSON object
MAX_REFERENCES = 8
WHOLE = "arguments"
LONG_TEXTS = {"body", "code", "content", "html", "markdown", "message", "prompt", "query", "script", "sql", "text"}
KINDS = {"string", "integer", "number", "boolean"}
YES_OR_NO = [("", "—"), ("true", "yes"), ("false", "no")]


class ToolForm(SchemaForm):
    """`values` are the arguments of the call."""

    def __init__(self, tool: Tool, data: Any = None, initial: dict[str, Any] | None = None) -> None:
        schema = readable(tool.input_schema)
        self.is_whole = schema is None
        shown = {WHOLE: initial} if initial is not None and self.is_whole else initial
        super().__init__(schema or {}, data, prefix="argument", initial=shown)
        if self.is_whole:
            help_text = "All of them, as one JSON object."
            self.fields[WHOLE] = JsonField(label="Arguments", required=False, initial={}, help_text=help_text)
        for name, field in self.fields.items():
            self.fields[name] = suited(name, field)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.is_whole and not isinstance(cleaned.get(WHOLE) or {}, dict):
            self.add_error(WHOLE, "Write an object: { … }.")
        return cleaned

    @property
    def values(self) -> dict[str, Any]:
        return (self.cleaned_data[WHOLE] or {}) if self.is_whole else super().values


def suited(name: str, field: forms.Field) -> forms.Field:
    """A switch that may stay untouched has three positions; long text has room to grow."""
    if isinstance(field, forms.BooleanField) and field.initial is None:
        return forms.TypedChoiceField(
            choices=YES_OR_NO, coerce=_is_true, empty_value=None, required=False, label=field.label,
            help_text=field.help_text,
        )  # fmt: skip
    if isinstance(field.widget, forms.TextInput) and type(field) is forms.CharField and name.lower() in LONG_TEXTS:
        field.widget = forms.Textarea(attrs={"rows": 2})
    return field


def _is_true(value: Any) -> bool:
    return value in {"true", True}


def readable(schema: Any) -> dict[str, Any] | None:
    """The schema with each property reduced to one simple type where it has one; None for one that no form fits."""
    properties = schema.get("properties", {}) if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(properties) > MAX_FIELDS:
        return None
    if not properties and schema.get("additionalProperties") not in (None, False):
        return None
    required = schema.get("required")
    return {
        "properties": {name: _simple(part, schema) for name, part in properties.items()},
        "required": [name for name in required if isinstance(name, str)] if isinstance(required, list) else [],
    }


def _simple(part: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A reference followed, and of a choice between one type and nothing that type. The type `json` stands for all
    that is left."""
    said: dict[str, Any] = {}
    for _ in range(MAX_REFERENCES):
        if not isinstance(part, dict):
            break
        said = {**part, **said}
        following = _following(part, root)
        if following is None:
            break
        part = following
    kind = said.get("type")
    if isinstance(kind, list):
        named = [one for one in kind if one != "null"]
        kind = named[0] if len(named) == 1 else None
    if kind is None and _are_texts(said.get("enum")):
        kind = "string"
    return {**said, "type": kind if isinstance(kind, str) and kind in KINDS else "json"}


def _following(part: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    if isinstance(reference := part.get("$ref"), str) and reference.startswith("#/"):
        found: Any = root
        for token in reference.removeprefix("#/").split("/"):
            found = found.get(token) if isinstance(found, dict) else None
        return found
    for way in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := part.get(way), list):
            named = [option for option in options if not (isinstance(option, dict) and option.get("type") == "null")]
            return named[0] if len(named) == 1 else None
    return None


def _are_texts(choices: Any) -> bool:
    return isinstance(choices, list) and bool(choices) and all(isinstance(choice, str) for choice in choices)
