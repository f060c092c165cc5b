"""What the API's document says beyond what REST framework's views say of themselves."""

from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "fields"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "fields": {}},
        }
    },
}
REFUSALS = {
    "400": "Something in the request is wrong: `fields` names it.",
    "401": "Nobody is signed in, or the token is wrong or has ended.",
    "403": "You may not do this.",
    "404": "There is no such thing, or not for you.",
    "429": "Too often in a short time: come back after `Retry-After` seconds.",
    "default": "Refused: why, in a sentence a person can act on.",
}
# What Python takes for blank and JSON Schema's \s does not, and the other way round, counts as blank here.
NOT_BLANK = r"[^\s\x1c-\x1f\x85\ufeff]"
UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


class ScopedTokenScheme(KnoxTokenScheme):
    """As any token of knox: its scope is no part of how it is sent."""

    target_class = "mcpregistry.tokens.ScopedTokenAuthentication"


class TextExtension(OpenApiSerializerFieldExtension):
    """Text that may not be blank."""

    target_class = "rest_framework.fields.CharField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Any:
        schema = auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)
        if isinstance(schema.get("type"), list):  # that it may be null is added once more by the caller
            schema["type"] = "string"
        is_text = direction == "request" and not self.target.allow_blank and self.target.trim_whitespace
        return schema | ({"pattern": NOT_BLANK} if is_text else {})


class IdExtension(OpenApiSerializerFieldExtension):
    target_class = "rest_framework.fields.UUIDField"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Any:
        return {"type": "string", "format": "uuid", "pattern": UUID}


class AnythingExtension(OpenApiSerializerFieldExtension):
    """Any JSON, and null only where it is taken."""

    target_class = "rest_framework.fields.JSONField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Any:
        is_something = direction == "request" and not self.target.allow_null
        return {"type": ["object", "array", "string", "number", "boolean"]} if is_something else {}


class InputExtension(OpenApiSerializerExtension):
    """Of the names in `one_of` a body has exactly one."""

    target_class = "registry.inputs.Input"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        choice = [{"required": [name]} for name in self.target.one_of]
        if not choice:
            return schema
        return schema | ({"not": {"anyOf": pairs(choice)}} if self.target.partial else {"oneOf": choice})


def pairs(choice: list[dict[str, list[str]]]) -> list[dict[str, list[str]]]:
    """Any two of them together."""
    names = [each["required"][0] for each in choice]
    return [{"required": [one, other]} for at, one in enumerate(names) for other in names[at + 1 :]]


def once(endpoints: list[Any]) -> list[Any]:
    """Without the second addresses, below a page's, at which the public registry answers too."""
    return [endpoint for endpoint in endpoints if not endpoint[0].startswith("/servers")]


def with_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every call may be refused, and always in the same shape; the public registry has the shape of its protocol."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR
    for path, calls in result["paths"].items():
        for call in calls.values():
            is_public = path.startswith("/v0.1")
            for status, description in REFUSALS.items():
                if (status != "404" or "{" in path) and not (is_public and status in {"401", "403"}):
                    call["responses"].setdefault(status, refused(description, is_public))
    return without_doubt(result)


def refused(description: str, is_public: bool) -> dict[str, Any]:
    shape = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {"description": description} | ({} if is_public else {"content": {"application/json": shape}})


def without_doubt(schema: Any) -> Any:
    """Anything, or null: null is both, of which only one may hold. Anything alone says the same."""
    if isinstance(schema, list):
        return [without_doubt(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    is_doubtful = schema.get("oneOf") == [{}, {"type": "null"}]
    return {name: without_doubt(each) for name, each in schema.items() if not (is_doubtful and name == "oneOf")}
