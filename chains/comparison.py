"""Two runs side by side: step by step their arguments, results and durations, and what differs."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chains.differences import Detail, details_of
from chains.drawing import STEP_WORDS, readable_result
from chains.models import Run, ToolRun

MAX_LINES = 300  # of a result, compared line by line
MAX_LINE_CHARS = 500


@dataclass(frozen=True, slots=True)
class Side:
    """One run's part of a row; `line` is empty where the other run has lines that this one has not."""

    line: str
    is_different: bool


@dataclass(frozen=True, slots=True)
class StepSide:
    state: str
    words: str
    duration_ms: int | None
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class StepPair:
    """A step of both runs; None on the side of a run that has no such step."""

    step: str
    tool: str
    server: str
    left: StepSide | None
    right: StepSide | None
    arguments: tuple[Detail, ...]
    result: list[tuple[Side, Side]]
    is_cut: bool

    @property
    def sides(self) -> tuple[StepSide | None, StepSide | None]:
        return self.left, self.right

    @property
    def slower_ms(self) -> int | None:
        """By how much the right one took longer; negative where it was faster."""
        times = [side.duration_ms if side else None for side in (self.left, self.right)]
        return None if times[0] is None or times[1] is None else times[1] - times[0]

    @property
    def has_other_result(self) -> bool:
        return any(left.is_different or right.is_different for left, right in self.result)

    @property
    def differs(self) -> bool:
        left, right = self.left, self.right
        ended_otherwise = left is None or right is None or left.state != right.state
        return ended_otherwise or bool(self.arguments) or self.has_other_result


@dataclass(frozen=True, slots=True)
class Comparison:
    left: Run
    right: Run
    inputs: tuple[Detail, ...]
    steps: list[StepPair]
    outputs: tuple[Detail, ...]

    @property
    def runs(self) -> tuple[Run, Run]:
        return self.left, self.right

    @property
    def different_steps(self) -> int:
        return sum(pair.differs for pair in self.steps)

    @property
    def slower_ms(self) -> int | None:
        left, right = self.left.duration_ms, self.right.duration_ms
        return None if left is None or right is None else right - left

    @property
    def is_same(self) -> bool:
        same_end = self.left.status == self.right.status
        return same_end and not (self.inputs or self.outputs or self.different_steps)


def compared(left: Run, right: Run) -> Comparison:
    """Steps are the same where they have the same name. One query for each run, none where steps are prefetched."""
    before = {row.step: row for row in left.current_steps()}
    after = {row.step: row for row in right.current_steps()}
    names = [*after, *(name for name in before if name not in after)]
    return Comparison(
        left,
        right,
        details_of(left.inputs, right.inputs),
        [_pair(name, before.get(name), after.get(name)) for name in names],
        details_of(_outputs(left), _outputs(right)),
    )


def _outputs(run: Run) -> Mapping[str, Any]:
    """Without the results of steps, which are compared at their steps."""
    outputs = run.outputs if isinstance(run.outputs, dict) else {}
    return {name: value for name, value in outputs.items() if not _is_result(value)}


def _is_result(value: Any) -> bool:
    return isinstance(value, dict) and {"text", "content", "is_error"} <= value.keys()


def _pair(name: str, left: ToolRun | None, right: ToolRun | None) -> StepPair:
    shown = right or left
    assert shown is not None
    texts = [_lines(row) for row in (left, right)]
    return StepPair(
        step=name,
        tool=shown.tool,
        server=shown.server_slug,
        left=_side(left),
        right=_side(right),
        arguments=details_of(_arguments(left), _arguments(right)) if left and right else (),
        result=list(_beside(texts[0][:MAX_LINES], texts[1][:MAX_LINES])),
        is_cut=any(len(lines) > MAX_LINES for lines in texts),
    )


def _side(row: ToolRun | None) -> StepSide | None:
    if row is None:
        return None
    error = row.error if isinstance(row.error, dict) else {}
    words = STEP_WORDS[ToolRun.Status(row.status)]
    return StepSide(row.status, words, row.duration_ms, row.attempt, str(error.get("message", "")))


def _arguments(row: ToolRun) -> Mapping[str, Any]:
    return row.arguments if isinstance(row.arguments, dict) else {"arguments": row.arguments}


def _lines(row: ToolRun | None) -> list[str]:
    """A result as readable lines, JSON with its keys in order so that only what differs is told."""
    if row is None or not isinstance(row.result, dict):
        return []
    structured = row.result.get("json")
    if isinstance(structured, dict | list):
        text = json.dumps(structured, indent=2, ensure_ascii=False, sort_keys=True)
    else:
        text = readable_result(row.result)
    return [line[:MAX_LINE_CHARS] for line in text.splitlines()]


def _beside(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[Side, Side]]:
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for offset in range(max(i2 - i1, j2 - j1)):
            old = left[i1 + offset] if i1 + offset < i2 else ""
            new = right[j1 + offset] if j1 + offset < j2 else ""
            yield Side(old, tag != "equal"), Side(new, tag != "equal")
