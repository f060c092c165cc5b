"""The plan format, version 1: what it may hold, and how it is read. docs/plan-format.md describes it for people."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from chains.plan.problems import PlanError, Problem, pointer_to
from chains.plan.references import INPUT, STEP_ID, Reference, scan

MAX_STEPS = 50
MAX_BYTES = 256_000
MAX_TIMEOUT_S = 600
DEFAULT_TIMEOUT_S = 60
MAX_RETRIES = 5
DEFAULT_RETRIES = 2

_ID = {"type": "string", "pattern": f"^{STEP_ID}$", "not": {"const": INPUT}}
STEP_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "server", "tool"],
    "additionalProperties": False,
    "properties": {
        "id": {**_ID, "description": "unique in the plan"},
        "server": {"type": "string", "minLength": 1, "maxLength": 100, "description": "the server's slug or id"},
        "tool": {"type": "string", "minLength": 1, "maxLength": 512},
        "arguments": {
            "type": "object",
            "description": 'values, or {"$ref": "step#/pointer"}, {"$input": "/pointer"}, '
            '{"$format": "text with {step#/pointer}"}',
        },
        "needs": {"type": "array", "items": _ID, "description": "steps to wait for, beside those referred to"},
        "approval": {"enum": ["auto", "ask", "never"]},
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S},
        "retries": {"type": "integer", "minimum": 0, "maximum": MAX_RETRIES},
    },
}
PLAN_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Plan",
    "type": "object",
    "required": ["version", "steps"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": 1},
        "inputs": {"type": "object", "description": "JSON Schema of what the plan is given when it runs"},
        "steps": {"type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": STEP_SCHEMA},
        "outputs": {
            "type": "object",
            "description": "name → value or reference; default: the last steps' results",
        },
    },
}
_STRUCTURE = Draft202012Validator(PLAN_SCHEMA)
_CODES = {
    "required": "missing_field",
    "additionalProperties": "unknown_field",
    "type": "wrong_type",
    "maxItems": "too_many_steps",
    "minItems": "no_steps",
    "pattern": "bad_id",
    "not": "bad_id",
}


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    server: str
    tool: str
    index: int
    arguments: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()  # those written and those its references imply
    approval: str = ""
    timeout_s: float = DEFAULT_TIMEOUT_S
    retries: int = DEFAULT_RETRIES

    @property
    def path(self) -> str:
        return pointer_to("steps", self.index)


@dataclass(frozen=True, slots=True)
class Plan:
    data: dict[str, Any]  # as it was written
    steps: tuple[Step, ...]
    inputs: dict[str, Any]  # JSON Schema
    outputs: dict[str, Any] | None

    def step(self, step_id: str) -> Step:
        return next(step for step in self.steps if step.id == step_id)


def parse(data: Any) -> Plan:
    """Read a plan. Raises PlanError with everything that is wrong with its form."""
    plan, problems = read(data)
    if plan is None or problems:
        raise PlanError(problems)
    return plan


def read(data: Any) -> tuple[Plan | None, list[Problem]]:
    """A plan and what is wrong with its form; None where not enough of it can be read to say more."""
    problems = [*_size_problems(data), *_structure_problems(data)]
    if problems:
        return None, problems
    references, problems = _references(data)
    steps = tuple(_step(index, item, references) for index, item in enumerate(data["steps"]))
    problems += [*_bad_ids(steps), *_duplicates(steps), *_unknown_steps(data, references), *_cycle(steps)]
    return Plan(data, steps, data.get("inputs", {}), data.get("outputs")), problems


def _size_problems(data: Any) -> Iterator[Problem]:
    if len(json.dumps(data)) > MAX_BYTES:
        yield Problem("", "too_large", f"A plan holds at most {MAX_BYTES // 1000} kB.")


def _structure_problems(data: Any) -> Iterator[Problem]:
    for error in _STRUCTURE.iter_errors(data):
        yield from _structure_problem(error)


def _structure_problem(error: Any) -> Iterator[Problem]:
    path = pointer_to(*error.absolute_path)
    code = _CODES.get(str(error.validator), "invalid_value")
    match error.validator:
        case "required":
            missing = next(name for name in error.validator_value if f"'{name}' is a required" in error.message)
            yield Problem(path + pointer_to(missing), code, f"“{missing}” is missing.")
        case "additionalProperties":
            for name in sorted(set(error.instance) - set(error.schema["properties"])):
                yield Problem(path + pointer_to(name), code, f"“{name[:100]}” is no field of the plan format here.")
        case "maxItems":
            yield Problem(path, code, f"A plan has at most {MAX_STEPS} steps; this one has {len(error.instance)}.")
        case "minItems":
            yield Problem(path, code, "A plan has at least one step.")
        case "pattern" | "not":
            message = f"An id is a letter or _, then up to 63 letters, digits, _ or -, and not “{INPUT}”."
            yield Problem(path, code, message)
        case _:
            yield Problem(path, code, f"{error.message[:300]}.")


def _references(data: Mapping[str, Any]) -> tuple[list[Reference], list[Problem]]:
    places = [(step.get("arguments", {}), pointer_to("steps", i, "arguments")) for i, step in enumerate(data["steps"])]
    places.append((data.get("outputs", {}), "/outputs"))
    found = [item for value, path in places for item in scan(value, path)]
    references = [item for item in found if isinstance(item, Reference)]
    return references, [item for item in found if isinstance(item, Problem)]


def _step(index: int, item: Mapping[str, Any], references: Iterable[Reference]) -> Step:
    prefix = pointer_to("steps", index, "arguments") + "/"
    implied = [reference.step for reference in references if reference.step and reference.path.startswith(prefix)]
    settings = {name: item[name] for name in ("approval", "timeout_s", "retries") if name in item}
    return Step(
        id=item["id"],
        server=item["server"],
        tool=item["tool"],
        index=index,
        arguments=item.get("arguments", {}),
        needs=tuple(dict.fromkeys([*item.get("needs", []), *implied])),
        **settings,
    )


def _bad_ids(steps: Sequence[Step]) -> Iterator[Problem]:
    """In Python the schema's `$` lets a line break pass."""
    for step in steps:
        if step.id.endswith("\n"):
            yield Problem(f"{step.path}/id", "bad_id", "An id ends without a line break.")


def _duplicates(steps: Sequence[Step]) -> Iterator[Problem]:
    seen: set[str] = set()
    for step in steps:
        if step.id in seen:
            yield Problem(f"{step.path}/id", "duplicate_id", f"Another step is already called “{step.id}”.")
        seen.add(step.id)


def _unknown_steps(data: Mapping[str, Any], references: Iterable[Reference]) -> Iterator[Problem]:
    known = {step["id"] for step in data["steps"]}
    for reference in references:
        if reference.step and reference.step not in known:
            message = f"“{reference.name}” refers to a step the plan does not have."
            yield Problem(reference.path, "unknown_step", message)
    for index, step in enumerate(data["steps"]):
        for position, name in enumerate(step.get("needs", [])):
            if name not in known:
                path = pointer_to("steps", index, "needs", position)
                yield Problem(path, "unknown_step", f"It needs “{name}”, a step the plan does not have.")


def _cycle(steps: Sequence[Step]) -> Iterator[Problem]:
    placed = {step.id for layer in _layers(steps) for step in layer}
    stuck = [step for step in steps if step.id not in placed]
    if stuck:
        names = ", ".join(step.id for step in stuck)
        yield Problem(stuck[0].path, "cycle", f"These steps wait for each other and none can start: {names}.")


def layers(plan: Plan) -> list[list[Step]]:
    """Columns for drawing: steps by how many steps must come before them."""
    return _layers(plan.steps)


def _layers(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps that wait for each other in a circle are in no layer; an unknown need does not hold a step back."""
    known = {step.id for step in steps}
    done: set[str] = set()
    columns: list[list[Step]] = []
    left = list(steps)
    while ready := [step for step in left if known.intersection(step.needs) <= done]:
        columns.append(ready)
        done |= {step.id for step in ready}
        left = [step for step in left if step not in ready]
    return columns
