"""What stands fixed in a plan may become an input of its template: a city, a file's name."""

import json
from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from chains.plan import PlanError, Problem, Step, Toolbox, parse, pointer_to, scan

KEPT = ("description", "enum", "format")  # of the tool's own schema
TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Literal:
    """An argument that is the same in every run; `key` is "step/argument"."""

    step: str
    argument: str
    value: Any

    @property
    def key(self) -> str:
        return f"{self.step}/{self.argument}"

    @property
    def shown(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


def literals_of(plan: Any) -> list[Literal]:
    """None of a plan that cannot be read."""
    try:
        steps = parse(plan).steps
    except PlanError:
        return []
    return [
        Literal(step.id, name, value)
        for step in steps
        for name, value in step.arguments.items()
        if value is not None and not list(scan(value, ""))
    ]


def with_parameters(plan: Any, chosen: Collection[str], *, user: User) -> dict[str, Any]:
    """The plan with an input for each literal chosen by its key; its value is the default. Raises PlanError."""
    found = {literal.key: literal for literal in literals_of(plan)}
    if unknown := [key for key in chosen if key not in found]:
        raise PlanError([Problem("/steps", "unknown_parameter", f"“{unknown[0]}” is no fixed argument of this plan.")])
    changed = deepcopy(plan)
    inputs = changed.setdefault("inputs", {"type": "object", "properties": {}})
    properties = inputs.setdefault("properties", {})
    toolbox = Toolbox.of(parse(plan).steps, user)
    planned = {step.id: step for step in parse(plan).steps}
    by_id = {step["id"]: step for step in changed["steps"]}
    for literal in (found[key] for key in dict.fromkeys(chosen)):
        name = _free_name(literal, properties)
        properties[name] = _schema(literal, planned[literal.step], toolbox)
        by_id[literal.step]["arguments"][literal.argument] = {"$input": pointer_to(name)}
    return changed


def _free_name(literal: Literal, taken: Collection[str]) -> str:
    names = [literal.argument, f"{literal.step}_{literal.argument}"]
    names += [f"{names[1]}_{number}" for number in range(2, len(taken) + 3)]
    return next(name for name in names if name not in taken)


def _schema(literal: Literal, step: Step, toolbox: Toolbox) -> dict[str, Any]:
    tool = toolbox.tool(step)
    properties = tool.input_schema.get("properties") if tool else None
    own = properties.get(literal.argument) if isinstance(properties, dict) else None
    kept = {name: own[name] for name in KEPT if name in own} if isinstance(own, dict) else {}
    return {"type": TYPES[type(literal.value)], **kept, "default": literal.value}
