"""Swagger 2.0 in the words of OpenAPI 3."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

FORM, MULTIPART, JSON = "application/x-www-form-urlencoded", "multipart/form-data", "application/json"
NOT_OF_SCHEMA = {"name", "in", "description", "required", "collectionFormat", "allowEmptyValue"}
KEPT = ("name", "in", "description", "required")
STYLES = {  # collectionFormat → style and explode, of a query or form parameter
    "csv": ("form", False),
    "multi": ("form", True),
    "ssv": ("spaceDelimited", False),
    "tsv": ("tabDelimited", False),
    "pipes": ("pipeDelimited", False),
}


def split(
    parameters: Sequence[dict[str, Any]], consumes: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Parameters proper, and the request body that the others make."""
    proper = [_parameter(each) for each in parameters if each["in"] not in {"body", "formData"}]
    fields = [each for each in parameters if each["in"] == "formData"]
    bodies = [each for each in parameters if each["in"] == "body"]
    if fields:
        return proper, _form(fields, consumes)
    return proper, _body(bodies[0], consumes) if bodies else None


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        name: parameter[name] for name in ("name", "in", "description", "required") if name in parameter
    }
    kept["schema"] = _schema(parameter)
    if kept["in"] == "query" and parameter.get("type") == "array":
        kept["style"], kept["explode"] = _style(parameter)
    return kept


def _schema(parameter: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameter.items() if name not in NOT_OF_SCHEMA}


def _style(parameter: dict[str, Any]) -> tuple[str, bool]:
    return STYLES.get(str(parameter.get("collectionFormat", "csv")), STYLES["csv"])


def _form(fields: Sequence[dict[str, Any]], consumes: Sequence[str]) -> dict[str, Any]:
    has_file = any(field.get("type") == "file" for field in fields)
    media_type = MULTIPART if has_file or (MULTIPART in consumes and FORM not in consumes) else FORM
    properties = {field["name"]: _schema(field) | _described(field) for field in fields}
    required = [field["name"] for field in fields if field.get("required") is True]
    encoding = {}
    for field in fields:
        if field.get("type") == "array":
            style, explode = _style(field)
            encoding[field["name"]] = {"style": style, "explode": explode}
    schema = {"type": "object", "properties": properties, "required": required}
    return {"required": bool(required), "content": {media_type: {"schema": schema, "encoding": encoding}}}


def _described(field: dict[str, Any]) -> dict[str, Any]:
    return {"description": field["description"]} if isinstance(field.get("description"), str) else {}


def _body(parameter: dict[str, Any], consumes: Sequence[str]) -> dict[str, Any]:
    content = {media_type: {"schema": parameter.get("schema")} for media_type in consumes or [JSON]}
    return {"required": parameter.get("required"), "description": parameter.get("description"), "content": content}


def base_url(root: dict[str, Any], operation: dict[str, Any], document_url: str) -> str:
    """Where it is served; what the document does not say is as for the document itself."""
    found = urlsplit(document_url)
    schemes = operation.get("schemes") or root.get("schemes")
    known = [each for each in ("https", "http") if isinstance(schemes, list) and each in schemes]
    scheme = next(iter(known), found.scheme)
    host = root.get("host") if isinstance(root.get("host"), str) else ""
    base_path = root.get("basePath") if isinstance(root.get("basePath"), str) else ""
    return f"{scheme}://{host or found.netloc}/{(base_path or '').strip('/')}".rstrip("/")


def scheme(raw: dict[str, Any]) -> dict[str, Any]:
    return raw | {"type": "http", "scheme": "basic"} if raw.get("type") == "basic" else raw
