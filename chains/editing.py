"""Changes of a plan that is being edited. Each returns a new plan; one that makes no sense returns it unchanged.

A plan here is JSON that may be wrong in any way: what cannot be understood is left as it is.
"""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chains.plan import Reference, scan

PlanData = dict[str, Any]
EMPTY: PlanData = {"version": 1, "steps": []}


def steps_of(data: Any) -> list[dict[str, Any]]:
    """The steps that are objects: what the editor shows as cards, at their places in the plan."""
    steps = data.get("steps") if isinstance(data, dict) else None
    return [step if isinstance(step, dict) else {} for step in steps] if isinstance(steps, list) else []


def add_step(data: PlanData, server: str, tool: str) -> PlanData:
    step = {"id": free_id(data), "server": server, "tool": tool, "arguments": {}}
    return data | {"steps": [*steps_of(data), step]}


def free_id(data: PlanData) -> str:
    """`s1`, `s2`, …: the first that no step has."""
    taken = {step.get("id") for step in steps_of(data)}
    return next(name for number in range(1, len(taken) + 2) if (name := f"s{number}") not in taken)


def remove_step(data: PlanData, index: int) -> PlanData:
    steps = steps_of(data)
    if not 0 <= index < len(steps):
        return data
    gone = steps.pop(index).get("id")
    for step in steps:
        if isinstance(step.get("needs"), list):
            step["needs"] = [name for name in step["needs"] if name != gone]
    return data | {"steps": steps}


def move_step(data: PlanData, index: int, by: int) -> PlanData:
    steps = steps_of(data)
    if 0 <= index < len(steps) and 0 <= index + by < len(steps):
        steps.insert(index + by, steps.pop(index))
    return data | {"steps": steps}


def rename_step(data: PlanData, index: int, name: str) -> PlanData:
    """With every reference to it."""
    steps = steps_of(data)
    old = steps[index].get("id")
    steps[index] = steps[index] | {"id": name}
    changed = data | {"steps": steps}
    if not isinstance(old, str) or not old or old == name or any(step.get("id") == old for step in steps):
        return changed
    for step in steps:
        if isinstance(step.get("needs"), list):
            step["needs"] = [name if need == old else need for need in step["needs"]]
        step["arguments"] = _redirected(step.get("arguments", {}), old, name)
    return changed | {"outputs": _redirected(data["outputs"], old, name)} if "outputs" in data else changed


def _redirected(value: Any, old: str, new: str) -> Any:
    match value:
        case {"$ref": str(target)} if target.startswith(f"{old}#"):
            return {"$ref": new + target[len(old) :]}
        case {"$format": str(text)}:
            return {"$format": re.sub(rf"\{{{re.escape(old)}(?=#)", "{" + new, text)}
        case dict():
            return {key: _redirected(item, old, new) for key, item in value.items()}
        case list():
            return [_redirected(item, old, new) for item in value]
    return value


def swap_tool(data: PlanData, index: int, tool: str) -> PlanData:
    """The same step by another tool of its server, with the arguments it had."""
    steps = steps_of(data)
    if 0 <= index < len(steps) and tool:
        steps[index] = steps[index] | {"tool": tool}
    return data | {"steps": steps}


def carry_argument(data: PlanData, index: int, old: str, new: str) -> PlanData:
    """What was given as one argument, given as another."""
    steps = steps_of(data)
    arguments = object_of(steps[index], "arguments") if 0 <= index < len(steps) else {}
    if old in arguments and new not in arguments:
        carried = {new if name == old else name: value for name, value in arguments.items()}
        steps[index] = steps[index] | {"arguments": carried}
    return data | {"steps": steps}


def add_input(data: PlanData) -> PlanData:
    schema = object_of(data, "inputs")
    properties = object_of(schema, "properties")
    name = _free("input", properties)
    return data | {"inputs": {"type": "object", **schema, "properties": {**properties, name: {"type": "string"}}}}


def add_output(data: PlanData) -> PlanData:
    outputs, steps = object_of(data, "outputs"), names_of(steps_of(data))
    value: Any = {"$ref": f"{steps[-1]}#/text"} if steps else ""
    return data | {"outputs": {**outputs, _free("output", outputs): value}}


def _free(word: str, taken: Mapping[str, Any]) -> str:
    return next(name for number in range(1, len(taken) + 2) if (name := f"{word}{number}") not in taken)


def done(data: PlanData, deed: str) -> PlanData:
    """The plan after what a button says: `up:1`, `remove:0`, `add:server/tool`, `swap:0/tool`,
    `carry:0/["old argument", "new argument"]`, `add-input`."""
    verb, _, target = deed.partition(":")
    plan = copy.deepcopy(data)
    place, slash, name = target.partition("/")
    if verb == "add" and slash:
        return add_step(plan, place, name)
    if verb == "swap" and place.isdecimal():
        return swap_tool(plan, int(place), name)
    if verb == "carry" and place.isdecimal():
        return carry_argument(plan, int(place), *_two_names(name))
    if verb in BY_INDEX and target.isdecimal():
        return BY_INDEX[verb](plan, int(target))
    return PLAIN[verb](plan) if verb in PLAIN else plan


def _two_names(text: str) -> tuple[str, str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    is_pair = isinstance(names, list) and len(names) == 2 and all(isinstance(name, str) for name in names)
    return (names[0], names[1]) if is_pair else ("", "")


BY_INDEX: dict[str, Callable[[PlanData, int], PlanData]] = {
    "up": lambda data, index: move_step(data, index, -1),
    "down": lambda data, index: move_step(data, index, 1),
    "remove": remove_step,
}
PLAIN: dict[str, Callable[[PlanData], PlanData]] = {"add-input": add_input, "add-output": add_output}


def names_of(steps: Sequence[dict[str, Any]]) -> list[str]:
    return [step["id"] for step in steps if isinstance(step.get("id"), str)]


def object_of(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def input_properties(data: PlanData) -> dict[str, dict[str, Any]]:
    properties = object_of(object_of(data, "inputs"), "properties")
    return {name: part for name, part in properties.items() if isinstance(part, dict)}


def needs_of(step: Mapping[str, Any]) -> set[str]:
    """The steps it waits for: those written and those it refers to."""
    needs = step.get("needs")
    written = {name for name in needs if isinstance(name, str)} if isinstance(needs, list) else set()
    found = [item for item in scan(step.get("arguments"), "") if isinstance(item, Reference)]
    return written | {item.step for item in found if item.step}


def dependants(steps: Sequence[Mapping[str, Any]], index: int) -> set[str]:
    """Steps that wait for this one, directly or not, and itself: a reference to one of them would be a circle."""
    found = {str(steps[index].get("id"))}
    while more := {str(step.get("id")) for step in steps if needs_of(step) & found} - found:
        found |= more
    return found
