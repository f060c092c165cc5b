"""How a plan is asked from a model and read from its reply.

The model writes references as {"ref": "s1#/text"} and {"format": "… {s1#/text} …"} instead of "$ref" and "$format": a
property called "$ref" in the schema of a reply makes several servers look for a definition and fail. Both are read.
{"ask": "Which city?"} is an argument that nobody gave: it becomes an input of the plan, and the user is asked.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from chat.drafts import ASK, Draft, with_inputs
from chat.schemas import MAX_PARAMETERS, parameters, required, simplified
from registry.embeddings import storable
from registry.models import Tool

MAX_STEPS = 8  # of one reply
MISSING_CHARACTERS = 200
MAX_QUESTIONS = 4

_POINTER = r"s[1-9]\d?#/[A-Za-z0-9_./~-]*"
_REFERENCE = re.compile(rf"^[\W_]*(?:\$?ref\W+)?({_POINTER})\W*$")
_PLACEHOLDER = re.compile(rf"\$?\{{+({_POINTER})\}}+")

REFERENCE_SCHEMA = {
    "type": "object",
    "properties": {"ref": {"type": "string", "pattern": "^s[1-9][0-9]?#/(text|json.*)$"}},
    "required": ["ref"],
    "additionalProperties": False,
}
FORMAT_SCHEMA = {
    "type": "object",
    "properties": {"format": {"type": "string"}},
    "required": ["format"],
    "additionalProperties": False,
}
ASK_SCHEMA = {
    "type": "object",
    "properties": {"ask": {"type": "string"}},
    "required": ["ask"],
    "additionalProperties": False,
}
QUESTIONS_SCHEMA = {
    "type": "object",
    "properties": {"questions": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_QUESTIONS}},
    "required": ["questions"],
    "additionalProperties": False,
}


class UnreadableReply(ValueError):
    """The reply is not the JSON that was asked for; the text says why, for the model."""


def reply_schema(tools: Sequence[Tool], *, first: int = 1) -> dict[str, Any]:
    """JSON Schema of a draft over these tools: one variant of a step for each; ids count from `first`."""
    ids = [f"s{number}" for number in range(first, first + MAX_STEPS)]
    return {
        "type": "object",
        "properties": {
            "say": {"type": "string"},
            "missing": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_STEPS},
            "steps": {
                "type": "array",
                "maxItems": MAX_STEPS,
                "items": {"anyOf": [_step_schema(tool, ids) for tool in tools]},
            },
            "look": {"type": "boolean"},
        },
        "required": ["say", "missing", "steps", "look"],
        "additionalProperties": False,
    }


def _step_schema(tool: Tool, ids: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "do": {"type": "string"},  # what the step is for, said before the tool is chosen: small models plan better
            "id": {"type": "string", "enum": list(ids)},
            "server": {"type": "string", "const": tool.server.slug},
            "tool": {"type": "string", "const": tool.name},
            "arguments": _arguments_schema(tool.input_schema),
        },
        "required": ["do", "id", "server", "tool", "arguments"],
        "additionalProperties": False,
    }


def _arguments_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(parameters(schema)[:MAX_PARAMETERS])
    return {
        "type": "object",
        "properties": {name: _value_schema(simplified(node, schema)) for name, node in properties.items()},
        "required": [name for name in required(schema) if name in properties],
        "additionalProperties": False,
    }


def _value_schema(literal: dict[str, Any]) -> dict[str, Any]:
    references = [REFERENCE_SCHEMA]
    if literal.get("type") in ("string", None):
        references.append(FORMAT_SCHEMA)
    return {"anyOf": [literal, *references, ASK_SCHEMA]}


def read_reply(text: str, tools: Sequence[Tool], *, known: Mapping[str, Any] | None = None) -> Draft:
    """The draft in a model's reply, fenced or not; `known` are the plan's inputs so far. Raises UnreadableReply."""
    data = _json_in(text)
    data = data.get("plan", data) if isinstance(data, dict) and "steps" not in data else data
    if not isinstance(data, dict) or not isinstance(data.get("steps", []), list):
        raise UnreadableReply('The reply must be one JSON object with "say", "missing" and "steps".')
    missing = data["missing"] if isinstance(data.get("missing"), list) else []
    steps, inputs = with_inputs([_step(step) for step in data.get("steps", [])], tools, known=known)
    return Draft(
        steps=steps,
        say=storable(str(data.get("say") or "")),
        missing=[storable(str(name))[:MISSING_CHARACTERS] for name in missing if name],
        inputs=inputs,
        look=data.get("look") is True,
    )


def read_questions(text: str) -> list[str]:
    """The questions in a model's reply. Raises UnreadableReply."""
    data = _json_in(text)
    listed = data.get("questions") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise UnreadableReply('The reply must be one JSON object with "questions".')
    return [storable(item) for item in listed if isinstance(item, str) and item.strip()][:MAX_QUESTIONS]


def _json_in(text: str) -> Any:
    start, end = text.find("{"), text.rfind("}")
    try:
        return json.loads(text[start : end + 1])
    except ValueError as error:
        raise UnreadableReply(f"The reply is not JSON: {error}.") from error
    except RecursionError as error:
        raise UnreadableReply("The reply is nested too deeply.") from error


def _step(step: Any) -> dict[str, Any]:
    if not isinstance(step, dict):
        raise UnreadableReply("Each step must be an object with id, server, tool and arguments.")
    arguments = step.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise UnreadableReply("The arguments of a step must be an object.")
    kept = {key: step[key] for key in ("id", "server", "tool", "needs") if key in step}
    return kept | {"arguments": {name: as_value(value) for name, value in arguments.items()}}


def as_value(value: Any) -> Any:
    """A value in the plan's format: what the model meant as a reference becomes one, also where it wrote a string."""
    if isinstance(value, list):
        return [as_value(item) for item in value]
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, str):
        return _text(value)
    return value


def _object(value: dict[str, Any]) -> Any:
    match value:
        case {"ref": str(pointer)} if len(value) == 1 and "#" in pointer:
            return {"$ref": pointer}
        case {"format": str(text)} if len(value) == 1 and _PLACEHOLDER.search(text):
            return _text(text)
        case {"ask": str(question)} if len(value) == 1:
            return {ASK: storable(question)}
        case {"$ref": _} | {"$format": _}:
            return value
    return {name: as_value(item) for name, item in value.items()}


def _text(value: str) -> Any:
    value = storable(value)
    if found := _REFERENCE.match(value):
        return {"$ref": found[1]}
    if _PLACEHOLDER.search(value):
        return {"$format": _PLACEHOLDER.sub(r"{\1}", value)}
    return value
