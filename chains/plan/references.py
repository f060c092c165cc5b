"""References inside a plan: `{"$ref": "step#/pointer"}`, `{"$input": "/pointer"}`, `{"$format": "{step#/pointer}"}`."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chains.plan.problems import Problem, pointer_to

STEP_ID = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
INPUT = "input"  # in $format, where a step's id would stand
RESULT_PARTS = ("text", "json", "content", "files", "is_error")
MARKERS = ("$ref", "$input", "$format")
_REF = re.compile(rf"({STEP_ID})#((?:/.*)?)", re.DOTALL)
_PLACEHOLDER = re.compile(rf"\{{({STEP_ID})#((?:/[^{{}}]*)?)\}}")
_NEARLY = re.compile(rf"\{{({STEP_ID})\}}")


@dataclass(frozen=True, slots=True)
class Reference:
    path: str  # where in the plan it stands
    step: str | None  # None: the plan's inputs
    pointer: str
    marker: str

    @property
    def name(self) -> str:
        return f"{self.step or INPUT}#{self.pointer}"


class Unresolved(Exception):
    """A reference points at nothing; the message is a sentence."""


def marker_of(value: Any) -> str | None:
    """The marker of an object that means a reference; None for a literal."""
    if isinstance(value, dict):
        return next((marker for marker in MARKERS if marker in value), None)
    return None


def scan(value: Any, path: str) -> Iterator[Reference | Problem]:
    """Every reference inside `value`, and every one that is written wrongly."""
    marker = marker_of(value)
    if marker is not None:
        yield from _read(marker, value, path)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from scan(item, path + pointer_to(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from scan(item, path + pointer_to(index))


def _read(marker: str, value: dict[str, Any], path: str) -> Iterator[Reference | Problem]:
    target = value[marker]
    if len(value) != 1 or not isinstance(target, str):
        yield Problem(path, "bad_reference", f"An object with {marker} holds that one key, and its value is text.")
        return
    yield from _READERS[marker](target, path)


def _read_ref(target: str, path: str) -> Iterator[Reference | Problem]:
    match = _REF.fullmatch(target)
    if match is None:
        yield Problem(path, "bad_reference", f"“{target}” is not of the form step#/pointer, such as s1#/text.")
    elif match[1] == INPUT:
        yield Problem(path, "bad_reference", f'An input is referred to as {{"$input": "{match[2] or "/name"}"}}.')
    else:
        yield from _checked(Reference(path, match[1], match[2], "$ref"))


def _read_input(target: str, path: str) -> Iterator[Reference | Problem]:
    if target and not target.startswith("/"):
        yield Problem(path, "bad_reference", f"“{target}” is not a JSON pointer; write “/{target}”.")
    else:
        yield from _checked(Reference(path, None, target, "$input"))


def _read_format(text: str, path: str) -> Iterator[Reference | Problem]:
    for match in _NEARLY.finditer(text):
        yield Problem(path, "bad_format", f"{match[0]} has no pointer; write {{{match[1]}#/text}}.")
    for match in _PLACEHOLDER.finditer(text):
        yield from _checked(Reference(path, None if match[1] == INPUT else match[1], match[2], "$format"))


_READERS: dict[str, Callable[[str, str], Iterator[Reference | Problem]]] = {
    "$ref": _read_ref,
    "$input": _read_input,
    "$format": _read_format,
}


def _checked(reference: Reference) -> Iterator[Reference | Problem]:
    if re.search(r"~(?![01])", reference.pointer):
        yield Problem(reference.path, "bad_reference", f"In a JSON pointer “~” is written “~0”: “{reference.pointer}”.")
        return
    tokens = tokens_of(reference.pointer)
    if reference.step and tokens and tokens[0] not in RESULT_PARTS:
        message = f"A step's result has {', '.join(RESULT_PARTS)}; “{reference.name}” asks for “{tokens[0]}”."
        yield Problem(reference.path, "bad_reference", message)
        return
    yield reference


def tokens_of(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def resolve(value: Any, results: Mapping[str, Any], inputs: Any) -> Any:
    """`value` with its references replaced: `$ref` and `$input` keep the type they point at, `$format` makes text.

    `results` holds the result of every step that is done, by its id. Raises Unresolved.
    """
    match marker_of(value):
        case "$ref":
            step, _, pointer = value["$ref"].partition("#")
            return _target(step, pointer, results, inputs)
        case "$input":
            return _target(INPUT, value["$input"], results, inputs)
        case "$format":
            return _PLACEHOLDER.sub(lambda m: as_text(_target(m[1], m[2], results, inputs)), value["$format"])
    if isinstance(value, dict):
        return {name: resolve(item, results, inputs) for name, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, results, inputs) for item in value]
    return value


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _target(name: str, pointer: str, results: Mapping[str, Any], inputs: Any) -> Any:
    if name != INPUT and name not in results:
        raise Unresolved(f"Step {name} has no result to take {name}#{pointer} from.")
    value = inputs if name == INPUT else results[name]
    for token in tokens_of(pointer):
        value = _follow(value, token, f"{name}#{pointer}")
    return value


def _follow(value: Any, token: str, name: str) -> Any:
    if isinstance(value, dict) and token in value:
        return value[token]
    if isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", token) and int(token) < len(value):
        return value[int(token)]
    raise Unresolved(f"{name} points at nothing: {_described(value, token)}.")


def _described(value: Any, token: str) -> str:
    if isinstance(value, dict):
        there = ", ".join(list(value)[:10]) or "nothing"
        return f"there is no “{token}”, there is {there}"
    if isinstance(value, list):
        return f"the list has {len(value)} items and no “{token}”"
    return f"“{token}” is looked for inside {type(value).__name__ if value is not None else 'null'}"
