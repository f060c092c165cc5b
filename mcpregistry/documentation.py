"""What the API's document says beyond what REST framework's views say of themselves."""

from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme

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
REFUSED = {
    "description": "Refused: why, in a sentence a person can act on.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


class ScopedTokenScheme(KnoxTokenScheme):
    """As any token of knox: its scope is no part of how it is sent."""

    target_class = "mcpregistry.tokens.ScopedTokenAuthentication"


def once(endpoints: list[Any]) -> list[Any]:
    """Without the second addresses, below a page's, at which the public registry answers too."""
    return [endpoint for endpoint in endpoints if not endpoint[0].startswith("/servers")]


def with_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every call may be refused, and always in the same shape; the public registry has the shape of its protocol."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR
    for path, calls in result["paths"].items():
        for call in calls.values():
            is_foreign = path.startswith("/v0.1")
            call["responses"].setdefault("default", {"description": REFUSED["description"]} if is_foreign else REFUSED)
    return without_doubt(result)


def without_doubt(schema: Any) -> Any:
    """Anything, or null: null is both, of which only one may hold. Anything alone says the same."""
    if isinstance(schema, list):
        return [without_doubt(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    is_doubtful = schema.get("oneOf") == [{}, {"type": "null"}]
    return {name: without_doubt(each) for name, each in schema.items() if not (is_doubtful and name == "oneOf")}
