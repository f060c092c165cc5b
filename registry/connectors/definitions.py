"""What a server's tools declare, as hashes and counts: to see that a definition changed, and how much it models."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from registry.connectors.base import Introspection, ToolDefinition


def schema_hash(tool: ToolDefinition) -> str:
    """sha256 of what a caller relies on. The hints are in it: approval goes by them."""
    return _sha256([tool.name, tool.description, tool.input_schema, tool.output_schema, tool.annotations])


def toolset_hash(schema_hashes: Iterable[str]) -> str:
    """Of all tools together, whatever their order."""
    return _sha256(sorted(schema_hashes))


def models_of(found: Introspection) -> int:
    """As many as a document names, else as its tools' schemas have titles."""
    return model_count(found.tools) if found.model_count is None else found.model_count


def model_count(tools: Iterable[ToolDefinition]) -> int:
    """Distinct titled schemas among inputs, outputs and their `$defs`."""
    titles = {
        title for tool in tools for schema in (tool.input_schema, tool.output_schema) for title in _titles(schema)
    }
    return len(titles)


def _titles(schema: dict[str, Any] | None) -> Iterator[str]:
    if not schema:
        return
    definitions = schema.get("$defs") or schema.get("definitions")
    named = definitions.values() if isinstance(definitions, dict) else ()
    for each in (schema, *named):
        if isinstance(each, dict) and isinstance(title := each.get("title"), str) and title:
            yield title


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
