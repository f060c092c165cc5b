"""Forms made from JSON schemas: of a plan's inputs, of a tool's arguments."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

LONG_TEXT_CHARS = 200
MAX_CHOICES = 500  # with more, one is written instead of chosen


class JsonField(forms.CharField):
    """A value that no simple field can hold, written as JSON."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false"}), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or value is None else json.dumps(value, indent=2, ensure_ascii=False)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            value = json.loads(text)
            text = json.dumps(value, ensure_ascii=False)
            text.encode()
        except UnicodeEncodeError as error:
            raise ValidationError("Half of a surrogate pair is no character.") from error
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is not JSON: {error}. Text goes in double quotes.") from error
        if "\\u0000" in text:
            raise ValidationError("Text must not hold NUL characters.")
        return value


class SchemaForm(forms.Form):
    """One field for each property of an object's schema; `values` is what was filled in, types kept."""

    def __init__(self, schema: Any, data: Any = None, *, prefix: str, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, prefix=prefix, initial=initial)
        properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
        required = schema.get("required", []) if isinstance(schema, dict) else []
        names = [*(name for name in required if name in properties), *properties]
        for name in dict.fromkeys(names):
            part = properties[name]
            self.fields[name] = field_for(name, part if isinstance(part, dict) else {}, name in required)

    @property
    def values(self) -> dict[str, Any]:
        """What was left empty is left out, so that the schema's defaults apply."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None and value != ""}

    def add_problem(self, path: str, message: str) -> None:
        """Put a problem at the field its path begins with."""
        name = path.strip("/").split("/")[0].replace("~1", "/").replace("~0", "~")
        self.add_error(name if name in self.fields else None, message)


def field_for(name: str, part: dict[str, Any], required: bool) -> forms.Field:
    settings: dict[str, Any] = {
        "label": str(part.get("title") or name),
        "help_text": str(part.get("description") or ""),
        "required": required,
        "initial": part.get("default"),
    }
    choices = part.get("enum")
    if isinstance(choices, list) and len(choices) <= MAX_CHOICES and all(isinstance(choice, str) for choice in choices):
        options = [(choice, choice) for choice in choices]
        return forms.ChoiceField(choices=options if required else [("", "—"), *options], **settings)
    match part.get("type", "string"):
        case "string":
            return forms.CharField(widget=text_widget(part), strip=False, **settings)
        case "integer":
            return forms.IntegerField(**bounds(part), **settings)
        case "number":
            return forms.FloatField(**bounds(part), **settings)
        case "boolean":
            return forms.BooleanField(**{**settings, "required": False})
    return JsonField(**settings)


def text_widget(part: dict[str, Any]) -> forms.Widget:
    limit = part.get("maxLength")
    is_long = isinstance(limit, int) and limit > LONG_TEXT_CHARS
    return forms.Textarea(attrs={"rows": 4}) if is_long else forms.TextInput()


def bounds(part: dict[str, Any]) -> dict[str, Any]:
    found = {"min_value": part.get("minimum"), "max_value": part.get("maximum")}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
