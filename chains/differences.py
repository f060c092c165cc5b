"""What changed from one plan to another, in words a person reads: steps by their ids, arguments by their names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_VALUE_CHARS = 2_000
SETTINGS = ("server", "tool", "needs", "approval", "timeout_s", "retries")


@dataclass(frozen=True, slots=True)
class Detail:
    """One value; empty text where there was none before, or is none now."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    kind: str  # added, removed, changed
    subject: str  # “step s1”, “inputs”, …
    details: tuple[Detail, ...] = ()


def differences(before: Any, after: Any) -> list[Difference]:
    """From `before` to `after`, both plans as they were saved."""
    old, new = _steps(before), _steps(after)
    return [
        *(Difference("removed", _named(step)) for key, step in old.items() if key not in new),
        *(_added(step) for key, step in new.items() if key not in old),
        *_changed(old, new),
        *_order(list(old), list(new)),
        *_part("inputs", _properties(before), _properties(after)),
        *_part("required inputs", _required(before), _required(after)),
        *_part("outputs", _object(before, "outputs"), _object(after, "outputs")),
    ]


def _object(data: Any, name: str) -> dict[str, Any]:
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _steps(data: Any) -> dict[str, dict[str, Any]]:
    steps = data.get("steps", []) if isinstance(data, dict) else []
    return {str(step["id"]): step for step in steps if isinstance(step, dict) and "id" in step}


def _properties(data: Any) -> dict[str, Any]:
    return _object(_object(data, "inputs"), "properties")


def _required(data: Any) -> dict[str, Any]:
    names = _object(data, "inputs").get("required", [])
    return {str(name): "required" for name in names} if isinstance(names, list) else {}


def _named(step: Mapping[str, Any]) -> str:
    return f"step {step['id']} ({step.get('server')}.{step.get('tool')})"


def _added(step: Mapping[str, Any]) -> Difference:
    return Difference("added", _named(step), details_of({}, _object(step, "arguments")))


def _changed(old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> Iterator[Difference]:
    for key in (key for key in new if key in old):
        before, after = old[key], new[key]
        details = [
            *details_of(_settings(before), _settings(after)),
            *details_of(_object(before, "arguments"), _object(after, "arguments")),
        ]
        if details:
            yield Difference("changed", _named(after), tuple(details))


def _settings(step: Mapping[str, Any]) -> dict[str, Any]:
    return {name: step[name] for name in SETTINGS if name in step}


def _order(old: Sequence[str], new: Sequence[str]) -> Iterator[Difference]:
    before, after = [key for key in old if key in new], [key for key in new if key in old]
    if before != after:
        yield Difference("changed", "order of the steps", (Detail("order", ", ".join(before), ", ".join(after)),))


def _part(subject: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    if details := details_of(before, after):
        yield Difference("changed", subject, details)


def details_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Detail, ...]:
    names = [*after, *(name for name in before if name not in after)]
    return tuple(
        Detail(name, _shown(before, name), _shown(after, name))
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    )


def _shown(values: Mapping[str, Any], name: str) -> str:
    """Text in quotation marks, as JSON has it, so that an empty one is told from none."""
    return json.dumps(values[name], ensure_ascii=False)[:MAX_VALUE_CHARS] if name in values else ""
