"""What the fields of the editor say, read into the plan they were drawn from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.http import QueryDict

from chains.editing import PlanData, input_properties, needs_of, object_of, rename_step, steps_of
from chains.editor_fields import ABSENT, read_value
from chains.plan import Problem, Step, Toolbox, pointer_to

NUMBERS = ("timeout_s", "retries")


@dataclass(slots=True)
class Reading:
    """The fields of the cards, read into the plan they were drawn from."""

    data: PlanData
    posted: QueryDict
    user: User
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def plan(self) -> PlanData:
        toolbox = toolbox_of(self.data, self.user)
        steps = [self._step(index, step, toolbox) for index, step in enumerate(steps_of(self.data))]
        plan = self.data | {"steps": steps}
        for part, value in (("inputs", self._inputs()), ("outputs", self._outputs())):
            if value:
                plan[part] = value
            else:
                plan.pop(part, None)
        for index in range(len(steps)):
            name = self.posted.get(f"s{index}-id", "").strip()
            plan = rename_step(plan, index, name) if name else plan
        return plan

    def _step(self, index: int, step: Mapping[str, Any], toolbox: Toolbox) -> dict[str, Any]:
        if f"s{index}-id" not in self.posted:
            return dict(step)
        changed = {**step, "arguments": self._arguments(index, step, toolbox)}
        if needs := self.posted.getlist(f"s{index}-needs"):
            changed["needs"] = needs
        else:
            changed.pop("needs", None)
        for name in ("approval", *NUMBERS):
            self._setting(changed, index, name)
        return changed

    def _setting(self, step: dict[str, Any], index: int, name: str) -> None:
        typed = self.posted.get(f"s{index}-{name}", "").strip()
        if not typed:
            step.pop(name, None)
            return
        step[name] = number(typed) if name in NUMBERS else typed

    def _arguments(self, index: int, step: Mapping[str, Any], toolbox: Toolbox) -> dict[str, Any]:
        known = {}
        for position, (name, schema, _) in enumerate(parameters(toolbox, step, index)):
            value = self._value(f"a{index}-{position}", schema, pointer_to("steps", index, "arguments", name))
            if value is not ABSENT:
                known[name] = value
        return known

    def _value(self, key: str, schema: Mapping[str, Any], path: str) -> Any:
        value, error = read_value(self.posted, key, schema)
        if error:
            self.refused[key] = self.posted.get(f"{key}-kind", ""), self.posted.get(f"{key}-value", "")
            self.problems.append(Problem(path, "invalid_argument", error))
        return value

    def _inputs(self) -> dict[str, Any]:
        schema = object_of(self.data, "inputs")
        properties, required = {}, []
        for position, (old, part) in enumerate(input_properties(self.data).items()):
            name = self.posted.get(f"i{position}-name", old).strip()
            if not name or self.posted.get("do") == f"remove-input:{position}":
                continue
            properties[name] = self._input(f"i{position}", part)
            if f"i{position}-required" in self.posted:
                required.append(name)
        if not properties:
            return {}
        kept = {key: value for key, value in schema.items() if key not in ("properties", "required")}
        return {"type": "object", **kept, "properties": properties} | ({"required": required} if required else {})

    def _input(self, key: str, part: Mapping[str, Any]) -> dict[str, Any]:
        changed = dict(part) | {"type": self.posted.get(f"{key}-type", "string")}
        for name in ("description", "default"):
            if typed := self.posted.get(f"{key}-{name}", ""):
                changed[name] = typed if name == "description" else default_value(typed, changed["type"])
            else:
                changed.pop(name, None)
        return changed

    def _outputs(self) -> dict[str, Any]:
        outputs = {}
        for position, old in enumerate(object_of(self.data, "outputs")):
            name = self.posted.get(f"o{position}-name", old).strip()
            value = self._value(f"o{position}", {}, pointer_to("outputs", name))
            if name and self.posted.get("do") != f"remove-output:{position}":
                outputs[name] = "" if value is ABSENT else value
        return outputs


def like(step: Mapping[str, Any], index: int) -> Step:
    """For looking a step up among the tools and for drawing it, however wrong it is otherwise."""
    return Step(
        str(step.get("id", "")),
        str(step.get("server", "")),
        str(step.get("tool", "")),
        index,
        arguments=object_of(step, "arguments"),
        needs=tuple(sorted(needs_of(step))),
    )


def toolbox_of(data: PlanData, user: User) -> Toolbox:
    return Toolbox.of([like(step, index) for index, step in enumerate(steps_of(data))], user)


def parameters(toolbox: Toolbox, step: Mapping[str, Any], index: int) -> list[tuple[str, dict[str, Any], bool]]:
    """Name, schema and is it required: those the tool declares, then others the plan gives."""
    tool = toolbox.tool(like(step, index))
    schema = tool.input_schema if tool and isinstance(tool.input_schema, dict) else {}
    declared = object_of(schema, "properties")
    named = schema.get("required")
    required = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    parts = {name: declared.get(name) for name in [*required, *declared, *object_of(step, "arguments")]}
    return [(name, part if isinstance(part, dict) else {}, name in required) for name, part in parts.items()]


def number(typed: str) -> Any:
    """As it was typed where it is none: validation says so."""
    try:
        value = float(typed)
    except ValueError:
        return typed
    return int(value) if value.is_integer() else value


def default_value(typed: str, kind: str) -> Any:
    if kind == "string":
        return typed
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed
