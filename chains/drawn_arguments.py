"""The arguments of a step as a person reads them: text, and the names of what they refer to."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

MAX_CHARS = 20_000  # of a piece of text


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of an argument: text, or the name of what it refers to."""

    text: str
    is_reference: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    segments: tuple[Segment, ...]


def shown_arguments(arguments: Any) -> list[Argument]:
    if not isinstance(arguments, dict):
        return []
    return [Argument(name, tuple(_joined(_segments(value, inside=False)))) for name, value in arguments.items()]


def _segments(value: Any, *, inside: bool) -> Iterator[Segment]:
    """`inside` JSON text is quoted; alone it is shown as it is."""
    match value:
        case {"$ref": str(target)}:
            yield Segment(f"← {_readable(target)}", is_reference=True)
        case {"$input": str(pointer)}:
            yield Segment(f"← {pointer.strip('/') or 'inputs'}", is_reference=True)
        case {"$format": str(text)}:
            yield from _format_segments(text)
        case dict() if value:
            yield from _list_segments("{", ((f"{json.dumps(name)}: ", item) for name, item in value.items()), "}")
        case list() if value:
            yield from _list_segments("[", (("", item) for item in value), "]")
        case str() if not inside:
            yield Segment(value)
        case _:
            yield Segment(json.dumps(value, ensure_ascii=False))


def _list_segments(start: str, items: Iterable[tuple[str, Any]], end: str) -> Iterator[Segment]:
    yield Segment(start)
    for index, (label, item) in enumerate(items):
        yield Segment((", " if index else "") + label)
        yield from _segments(item, inside=True)
    yield Segment(end)


def _format_segments(text: str) -> Iterator[Segment]:
    while text:
        before, brace, rest = text.partition("{")
        inside, closing, after = rest.partition("}")
        is_reference = bool(closing) and "#" in inside
        if before:
            yield Segment(before)
        if is_reference:
            yield Segment(f"← {_readable(inside)}", is_reference=True)
        elif brace:
            yield Segment(brace + inside + closing)
        text = after


def _readable(target: str) -> str:
    """`s1#/json/datetime` as `s1 datetime`: where it comes from and which part of it."""
    step, _, pointer = target.partition("#")
    path = pointer.strip("/").removeprefix("json/")
    return path if step == "input" else f"{step} {path}".strip()


def _joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Neighbouring pieces of plain text as one."""
    text = ""
    for segment in segments:
        if segment.is_reference:
            if text:
                yield Segment(text[:MAX_CHARS])
            yield segment
            text = ""
        else:
            text += segment.text
    if text:
        yield Segment(text[:MAX_CHARS])
