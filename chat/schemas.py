"""Reading the input schemas of tools: servers wrote them, so nothing in them can be taken for granted."""

from collections.abc import Mapping
from typing import Any

MAX_PARAMETERS = 24  # of one tool; required ones first
MAX_DEPTH = 3  # of a parameter's schema: what is deeper may be anything
_KEPT = ("type", "enum", "const")
_OF_AN_INPUT = ("enum", "default", "minimum", "maximum", "maxLength", "format", "items", "description")


def required(schema: Mapping[str, Any]) -> list[str]:
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def parameters(schema: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and schemas of a tool's parameters, the required ones first."""
    found = schema.get("properties")
    properties: dict[str, Any] = found if isinstance(found, dict) else {}
    needed = [name for name in required(schema) if name in properties]
    order = [*needed, *(name for name in properties if name not in needed)]
    return [(name, properties[name] if isinstance(properties[name], dict) else {}) for name in order]


def simplified(node: Any, root: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A parameter's schema as a small model's grammar takes it: types, choices, shapes; local references resolved."""
    node = resolved(node, root)
    if depth >= MAX_DEPTH or not isinstance(node, dict):
        return {}
    for keyword in ("anyOf", "oneOf"):
        if isinstance(variants := node.get(keyword), list) and variants:
            return {"anyOf": [simplified(variant, root, depth + 1) for variant in variants]}
    kept = {keyword: node[keyword] for keyword in _KEPT if keyword in node}
    if node.get("type") == "array":
        kept["items"] = simplified(node.get("items", {}), root, depth + 1)
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        inner = parameters(node)[:MAX_PARAMETERS]
        kept["properties"] = {name: simplified(child, root, depth + 1) for name, child in inner}
        kept["required"] = [name for name in required(node) if name in kept["properties"]]
    return kept


def resolved(node: Any, root: Mapping[str, Any]) -> Any:
    """The definition a local `$ref` names, else the node itself; a chain of them is followed a few steps."""
    for _ in range(MAX_DEPTH):
        if not isinstance(node, dict) or not isinstance(pointer := node.get("$ref"), str):
            return node
        node = _definition(pointer, root)
    return {}


def _definition(pointer: str, root: Any) -> Any:
    if not pointer.startswith("#/"):
        return {}
    for part in pointer[2:].split("/"):
        root = root.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(root, dict) else {}
    return root


def type_of(node: Mapping[str, Any]) -> str:
    """The first type that is not null, also inside anyOf."""
    kinds = node.get("type")
    if kinds is None:
        variants = node.get("anyOf") or node.get("oneOf") or []
        kinds = [variant.get("type") for variant in variants if isinstance(variant, dict)]
    listed = kinds if isinstance(kinds, list) else [kinds]
    return next((kind for kind in listed if isinstance(kind, str) and kind != "null"), "string")


def as_input(node: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema as that of a plan's input: one plain type and what a form can show. References in its
    items, which would lead nowhere there, are left out."""
    node = resolved(node, root)
    if not isinstance(node, dict):
        return {"type": "string"}
    kept = {keyword: node[keyword] for keyword in _OF_AN_INPUT if keyword in node}
    if "items" in kept:
        kept["items"] = simplified(kept["items"], root)
    if not isinstance(kept.get("description", ""), str):
        del kept["description"]
    return {"type": type_of(node), **kept}
