"""Request bodies: as arguments of a tool, and as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.connectors.openapi.document import BadReference, Document, items, mapping
from registry.connectors.openapi.operations import Body, Field
from registry.connectors.openapi.parsing import strings
from registry.connectors.openapi.schemas import Schemas

MULTIPART, FORM = "multipart/form-data", "application/x-www-form-urlencoded"
MAX_MERGED = 20  # levels of allOf
NOT_FLAT = {"anyOf", "oneOf", "not", "discriminator", "if", "patternProperties"}
FILE: dict[str, Any] = {
    "description": "The content: a text, or an object that names the file and has it as text or base64.",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "base64": {"type": "string"},
                "filename": {"type": "string"},
                "content_type": {"type": "string"},
            },
            "additionalProperties": False,
        },
    ],
}


@dataclass(frozen=True, slots=True)
class DeclaredBody:
    """A body, and the properties and required names it adds to the tool's input schema."""

    body: Body
    properties: dict[str, Any]
    required: list[str]


def declared_body(
    document: Document, schemas: Schemas, raw: Mapping[str, Any], taken: set[str], refs: set[str]
) -> DeclaredBody | None:
    """None where no media type is declared. `taken` are the names of parameters. Raises BadReference."""
    content = {name: mapping(each) for name, each in mapping(raw.get("content")).items() if _essence(name)}
    if not content:
        return None
    media_type = min(content, key=_rank)
    kind, declared = kind_of(media_type), content[media_type]
    is_required = raw.get("required") is True
    if kind in {"json", "form", "multipart"}:
        flat = _flat(document, declared.get("schema"))
        if flat is not None and not taken & flat.properties.keys():
            return _flattened(document, schemas, media_type, declared, flat, is_required, refs)
    name = "body" if "body" not in taken else "request_body"
    schema = _whole_schema(schemas, kind, declared.get("schema"), refs)
    if isinstance(raw.get("description"), str) and "description" not in schema:
        schema["description"] = raw["description"]
    fields = _fields(document, declared, mapping(document.resolved(declared.get("schema")).get("properties")))
    body = Body(media_type, whole=name, fields=fields, required=is_required)
    return DeclaredBody(body, {name: schema}, [name] if is_required else [])


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def kind_of(media_type: str) -> str:
    """json, form, multipart, text or binary."""
    essence = _essence(media_type)
    if "json" in essence or essence == "*/*":  # also where somebody forgot the slash
        return "json"
    if essence == FORM:
        return "form"
    if essence.startswith("multipart/"):
        return "multipart"
    return "text" if essence.startswith("text/") or essence.endswith(("xml", "yaml", "graphql")) else "binary"


def _rank(media_type: str) -> int:
    return ["json", "multipart", "form", "text", "binary"].index(kind_of(media_type))


@dataclass(frozen=True, slots=True)
class Flat:
    properties: dict[str, Any]
    required: list[str]


def _flat(document: Document, schema: Any, levels: int = MAX_MERGED) -> Flat | None:
    """The properties of a plain object, also of one put together by allOf; None for all other schemas."""
    schema = document.resolved(schema)
    kind = schema.get("type")
    is_object = kind in (None, "object") or (isinstance(kind, list) and "object" in kind)
    is_open = schema.get("additionalProperties") not in (None, False)
    if not levels or not is_object or is_open or NOT_FLAT & schema.keys():
        return None
    properties, required = dict(mapping(schema.get("properties"))), list(strings(schema.get("required")))
    for part in items(schema.get("allOf")):
        merged = _flat(document, part, levels - 1)
        if merged is None:
            return None
        properties = merged.properties | properties
        required += merged.required
    return Flat(properties, required) if properties else None


def _flattened(
    document: Document,
    schemas: Schemas,
    media_type: str,
    declared: Mapping[str, Any],
    flat: Flat,
    is_required: bool,
    refs: set[str],
) -> DeclaredBody:
    shown = {name: part for name, part in flat.properties.items() if not schemas.hides(part)}
    fields = _fields(document, declared, shown) if kind_of(media_type) != "json" else {}
    properties = {name: _part(document, schemas, part, fields.get(name), refs) for name, part in shown.items()}
    required = [name for name in dict.fromkeys(flat.required) if name in shown] if is_required else []
    body = Body(media_type, properties={name: name for name in shown}, fields=fields, required=is_required)
    return DeclaredBody(body, properties, required)


def _part(document: Document, schemas: Schemas, schema: Any, field: Field | None, refs: set[str]) -> dict[str, Any]:
    if field is None or not field.is_file:
        return schemas.inlined(schema, refs)
    resolved = document.resolved(schema)
    said = {"description": resolved["description"]} if isinstance(resolved.get("description"), str) else {}
    return ({"type": "array", "items": FILE} if resolved.get("type") == "array" else FILE) | said


def _whole_schema(schemas: Schemas, kind: str, schema: Any, refs: set[str]) -> dict[str, Any]:
    if kind == "binary":
        return dict(FILE)
    if kind == "text":
        return {"type": "string"}
    return schemas.inlined(schema, refs)


def _fields(document: Document, declared: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Field]:
    encodings = mapping(declared.get("encoding"))
    return {name: _field(document, part, mapping(encodings.get(name))) for name, part in properties.items()}


def _field(document: Document, schema: Any, encoding: Mapping[str, Any]) -> Field:
    style = encoding.get("style") if isinstance(encoding.get("style"), str) else ""
    explode = (
        encoding.get("explode") if isinstance(encoding.get("explode"), bool) else style in {"", "form", "deepObject"}
    )
    content_type = encoding.get("contentType") if isinstance(encoding.get("contentType"), str) else ""
    return Field(str(style), bool(explode), str(content_type).partition(",")[0].strip(), _is_file(document, schema))


def _is_file(document: Document, schema: Any) -> bool:
    try:
        resolved = document.resolved(schema)
        if resolved.get("type") == "array":
            resolved = document.resolved(resolved.get("items"))
    except BadReference:
        return False
    is_binary = resolved.get("format") == "binary" or resolved.get("type") == "file"
    return is_binary or ("contentMediaType" in resolved and "contentEncoding" not in resolved)
