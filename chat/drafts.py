"""What a planner, with a model or without, hands over."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from chains.plan import pointer_to
from chat.schemas import as_input, parameters
from registry.models import Tool

ASK = "$ask"  # {"$ask": "Which city?"} stands in a draft for an argument that nobody gave
QUESTION_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Draft:
    """Steps in the plan's format, or what the user still has to tell; neither where no tool is needed or fits.

    `inputs` is the JSON Schema of arguments nobody gave: the steps take them by `$input`, and the user fills in a form.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    say: str = ""
    missing: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    look: bool = False  # what comes after these steps depends on what they give

    @property
    def is_runnable(self) -> bool:
        return bool(self.steps) and not self.missing

    def as_plan(self) -> dict[str, Any]:
        inputs = {"inputs": self.inputs} if self.inputs else {}
        return {"version": 1, **inputs, "steps": self.steps}


def with_inputs(
    steps: Sequence[dict[str, Any]], tools: Sequence[Tool], *, known: Mapping[str, Any] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The steps with an input for each argument that is asked for, and the schema of all inputs. `known` are a plan's
    inputs so far."""
    schema = deepcopy(dict(known or {})) or {"type": "object", "properties": {}, "required": []}
    by_name = {(tool.server.slug, tool.name): tool for tool in tools}
    changed = [
        _step_with_inputs(step, by_name.get((str(step.get("server")), str(step.get("tool")))), schema) for step in steps
    ]
    return changed, schema if schema["properties"] else {}


def _step_with_inputs(step: dict[str, Any], tool: Tool | None, schema: dict[str, Any]) -> dict[str, Any]:
    arguments = {}
    for name, value in step.get("arguments", {}).items():
        question = value.get(ASK) if isinstance(value, dict) else None
        arguments[name] = value if question is None else _input(step, name, str(question), tool, schema)
    return step | {"arguments": arguments}


def _input(step: dict[str, Any], name: str, question: str, tool: Tool | None, schema: dict[str, Any]) -> dict[str, str]:
    own_name = name if name not in schema["properties"] else f"{step.get('id', '')}_{name}"
    node = dict(parameters(tool.input_schema)).get(name, {}) if tool else {}
    part = as_input(node, tool.input_schema if tool else {}) | {"title": name}
    if question:
        part["description"] = question[:QUESTION_CHARACTERS]
    schema["properties"][own_name] = part
    schema.setdefault("required", []).append(own_name)
    return {"$input": pointer_to(own_name)}


def questions_of(inputs: Mapping[str, Any]) -> Iterator[str]:
    """What each input asks, in words."""
    for name, part in inputs.get("properties", {}).items():
        title, question = part.get("title") or name, part.get("description")
        yield f"`{title}`: {question}" if question else f"`{title}`"
