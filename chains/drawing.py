"""What a person sees of plans and runs: cards in columns, with the words and the advice that go with each state.

One drawing serves the first page, every later fragment and the page after a reload. It says which event it shows last
(`seq`), so that a browser can apply the events after it on top.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from chains.drawn_arguments import Argument, shown_arguments
from chains.models import Result, Run, RunEvent, ToolRun
from chains.plan import Plan, PlanError, Step, layers, parse

MAX_TEXT_CHARS = 20_000
MAX_EDITED_CHARS = 2_000
RUN_WORDS = {
    Run.Status.QUEUED: "waiting to start",
    Run.Status.PLANNING: "planning",
    Run.Status.AWAITING_APPROVAL: "needs your approval",
    Run.Status.RUNNING: "running",
    Run.Status.SUCCEEDED: "done",
    Run.Status.FAILED: "failed",
    Run.Status.CANCELLED: "stopped",
}
STEP_WORDS = {
    ToolRun.Status.PENDING: "waiting",
    ToolRun.Status.AWAITING_APPROVAL: "needs your approval",
    ToolRun.Status.RUNNING: "running",
    ToolRun.Status.SUCCEEDED: "done",
    ToolRun.Status.FAILED: "failed",
    ToolRun.Status.SKIPPED: "skipped",
    ToolRun.Status.CANCELLED: "stopped",
    ToolRun.Status.UNKNOWN: "may have happened",
}
ADVICE = {
    "needs_auth": "Open the server's page and sign in, or enter its credentials. Then retry.",
    "not_authorised": "Open the server's page and authorise this tool. Then retry.",
    "tool_not_found": "Open the server's page and test the connection: its tools have changed.",
    "unknown_tool": "Open the server's page and test the connection: its tools have changed.",
    "unreachable": "Check that the server is running, test its connection, then retry.",
    "timeout": "The server was too slow. Retry, or give the step more time in the plan.",
    "blocked": "The address may not be reached from here. Ask your administrator to allow it.",
    "tool_error": "The tool refused these arguments. Read what it says, change the inputs, and run it again.",
    "rejected": "You rejected this step. Run the plan again to be asked again.",
}
GENERAL_ADVICE = "Retry goes on from the first unfinished step; what is done stays done."
UNKNOWN_ADVICE = "Look on the server whether it happened, then say how to go on."


@dataclass(frozen=True, slots=True)
class Card:
    step: str
    server: str
    tool: str
    state: str
    words: str
    arguments: list[Argument]
    needs: str
    exact_arguments: str = ""
    approval_hash: str = ""
    attempt: int = 1
    started_at: datetime | None = None
    duration_ms: int | None = None
    output: str = ""
    log: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    advice: str = ""
    files: list[Result] = field(default_factory=list)

    @property
    def arguments_to_edit(self) -> str:
        """Nothing where they are so large that the journal may have cut them."""
        return self.exact_arguments if len(self.exact_arguments) <= MAX_EDITED_CHARS else ""


@dataclass(frozen=True, slots=True)
class Output:
    """`is_markdown`: a model wrote it, for a person to read."""

    name: str
    text: str
    is_markdown: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plan as it is drawn; `run` is None for one that is not running, such as a template's."""

    columns: list[list[Card]]
    run: Run | None = None
    seq: int = 0
    words: str = ""
    error: str = ""
    advice: str = ""
    outputs: list[Output] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    answer_so_far: str = ""
    is_answering: bool = False
    is_preview: bool = False  # nothing of it has run, and its arguments may still be changed

    @property
    def cards(self) -> list[Card]:
        return [card for column in self.columns for card in column]

    @property
    def title(self) -> str:
        count = len(self.cards)
        if not count:
            return "Plan"
        return "1 step" if count == 1 else f"{count} steps"

    @property
    def servers(self) -> int:
        return len({card.server for card in self.cards})

    @property
    def shape(self) -> str:
        """Changes when the cards or the arrows do, so that a browser knows when to draw the whole plan anew."""
        if self.cards:
            return " ".join(f"{card.step}:{card.needs}" for card in self.cards)
        return "answering" if self.is_answering else "ended" if self.run and self.run.is_finished else "planning"

    @property
    def rewound(self) -> "Drawing":
        """As it was before the first step began."""
        planned = drawing_of_plan(self.run.plan) if self.run and self.run.plan else self
        return replace(self, columns=planned.columns, error="", advice="", outputs=[])

    @property
    def is_drawn(self) -> bool:
        """A question that needs no tools leads to an answer without a plan."""
        return bool(self.cards or self.error or self.problems) or self.shape == "planning"

    @property
    def can_retry(self) -> bool:
        run = self.run
        return bool(run and self.cards and run.status in {Run.Status.FAILED, Run.Status.CANCELLED})

    @property
    def can_save(self) -> bool:
        return bool(self.run and self.cards and not self.problems and not self.is_preview)


def drawing_of_plan(data: Any) -> Drawing:
    try:
        columns = layers(parse(data))
    except PlanError as error:
        return Drawing(columns=[], problems=[problem.message for problem in error.problems])
    return Drawing(columns=[[_planned(step) for step in column] for column in columns])


def drawing_to_approve(run: Run, data: Any) -> Drawing:
    """A plan that the run has not been given yet."""
    columns = [
        [replace(_planned(step), exact_arguments=_pretty(step.arguments)) for step in column]
        for column in layers(parse(data))
    ]
    return Drawing(columns=columns, run=run, seq=run.last_seq, words="waits for your approval", is_preview=True)


def drawing_of_steps(steps: Sequence[Step]) -> Drawing:
    """Of a plan that may be wrong in any way: steps that wait for each other in a circle stand last."""
    columns = layers(Plan({}, tuple(steps), {}, None))
    placed = [step for column in columns for step in column]
    stuck = [step for step in steps if step not in placed]
    return Drawing(columns=[[_planned(step) for step in column] for column in [*columns, stuck] if column])


def drawing_of(run: Run) -> Drawing:
    return drawings_of([run])[run.pk]


def drawings_of(runs: Sequence[Run]) -> dict[UUID, Drawing]:
    """A drawing of each run, with three queries for all of them."""
    journal = _tool_runs(runs)
    files = _files(runs)
    streamed = _streamed([run for run in runs if not run.is_finished])
    return {run.pk: _drawing(run, journal[run.pk], files[run.pk], streamed[run.pk]) for run in runs}


def _tool_runs(runs: Sequence[Run]) -> dict[UUID, dict[str, ToolRun]]:
    """Of each step its newest attempt."""
    found: dict[UUID, dict[str, ToolRun]] = defaultdict(dict)
    for tool_run in ToolRun.objects.filter(run__in=runs).order_by("attempt"):
        found[tool_run.run_id][tool_run.step] = tool_run
    return found


def _files(runs: Sequence[Run]) -> dict[UUID, dict[str, list[Result]]]:
    found: dict[UUID, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in Result.objects.filter(run__in=runs, kind=Result.Kind.FILE).order_by("created_at"):
        if result.run_id:
            found[result.run_id][result.step].append(result)
    return found


@dataclass(slots=True)
class _Streamed:
    """What only the events of an unfinished run know: progress, and text that came in pieces."""

    outputs: dict[str, str] = field(default_factory=lambda: defaultdict(str))
    logs: dict[str, str] = field(default_factory=lambda: defaultdict(str))
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: str | None = None  # None: none has begun

    def add(self, event: RunEvent) -> None:
        data, step = event.data, event.data.get("step", "")
        match event.type:
            case "STEP_STARTED":
                self.outputs.pop(step, None)
                self.logs.pop(step, None)
                self.progress.pop(step, None)
            case "TOOL_CALL_PROGRESS":
                self.progress[step] = data
                self.outputs[step] = "\n".join(filter(None, [self.outputs[step], _text(data.get("message"))]))
            case "TOOL_CALL_LOG":
                self.logs[step] += _text(data.get("delta"))
            case "TEXT_MESSAGE_START":
                self.answer = ""
            case "TEXT_MESSAGE_CONTENT":
                self.answer = (self.answer or "") + _text(data.get("delta"))


_IN_PIECES = ["STEP_STARTED", "TOOL_CALL_PROGRESS", "TOOL_CALL_LOG", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]


def _streamed(runs: Sequence[Run]) -> dict[UUID, _Streamed]:
    """Up to each run's own `last_seq`: what comes after it, the browser adds."""
    found: dict[UUID, _Streamed] = defaultdict(_Streamed)
    newest = {run.pk: run.last_seq for run in runs}
    for event in RunEvent.objects.filter(run__in=runs, type__in=_IN_PIECES).order_by("seq") if runs else ():
        if event.seq <= newest[event.run_id]:
            found[event.run_id].add(event)
    return found


def _drawing(
    run: Run, journal: Mapping[str, ToolRun], files: Mapping[str, list[Result]], streamed: _Streamed
) -> Drawing:
    plan = drawing_of_plan(run.plan) if run.plan else Drawing(columns=[])
    columns = [
        [_live(card, journal[card.step], files, streamed) if card.step in journal else card for card in column]
        for column in plan.columns
    ]
    error = run.error or {}
    is_told = any(card.error and card.step == error.get("step") for column in columns for card in column)
    return Drawing(
        columns=columns,
        run=run,
        seq=run.last_seq,
        words=RUN_WORDS[Run.Status(run.status)],
        error="" if is_told else _text(error.get("message")),
        advice=ADVICE.get(error.get("code", ""), GENERAL_ADVICE if run.plan else ""),
        outputs=list(_outputs(run)),
        problems=plan.problems,
        answer_so_far=streamed.answer or "",
        is_answering=streamed.answer is not None,
    )


def _planned(step: Step) -> Card:
    return Card(
        step=step.id,
        server=step.server,
        tool=step.tool,
        state=ToolRun.Status.PENDING,
        words=STEP_WORDS[ToolRun.Status.PENDING],
        arguments=shown_arguments(step.arguments),
        needs=" ".join(step.needs),
    )


def _live(card: Card, tool_run: ToolRun, files: Mapping[str, list[Result]], streamed: _Streamed) -> Card:
    error = tool_run.error or {}
    is_running = tool_run.status == ToolRun.Status.RUNNING
    return Card(
        step=card.step,
        server=tool_run.server_slug or card.server,
        tool=tool_run.tool,
        state=tool_run.status,
        words="rejected" if error.get("code") == "rejected" else STEP_WORDS[ToolRun.Status(tool_run.status)],
        arguments=shown_arguments(tool_run.arguments),
        needs=card.needs,
        exact_arguments=json.dumps(tool_run.arguments, indent=2, ensure_ascii=False),
        approval_hash=tool_run.approval_hash,
        attempt=tool_run.attempt,
        started_at=tool_run.started_at,
        duration_ms=tool_run.duration_ms,
        output=streamed.outputs[tool_run.step][-MAX_TEXT_CHARS:] if is_running else readable_result(tool_run.result),
        log=streamed.logs[tool_run.step][-MAX_TEXT_CHARS:] if is_running else "",
        progress=streamed.progress.get(tool_run.step, {}) if is_running else {},
        error=_text(error.get("message")),
        advice=_advice(tool_run, error),
        files=files.get(tool_run.step, []),
    )


def _advice(tool_run: ToolRun, error: Mapping[str, Any]) -> str:
    if tool_run.status == ToolRun.Status.UNKNOWN:
        return UNKNOWN_ADVICE
    if not error or tool_run.status in {ToolRun.Status.SKIPPED, ToolRun.Status.CANCELLED}:
        return ""
    return ADVICE.get(error.get("code", ""), GENERAL_ADVICE)


def readable_result(result: Any) -> str:
    """A result in readable form: the text the tool wrote, indented where it is JSON, else its structured content."""
    if not isinstance(result, dict):
        return ""
    text, structured = _text(result.get("text")), result.get("json")
    is_json = text.lstrip().startswith(("{", "[")) and isinstance(structured, dict | list)
    return (_pretty(structured) if structured is not None and (is_json or not text) else text)[:MAX_TEXT_CHARS]


def _outputs(run: Run) -> Iterator[Output]:
    is_chat = run.kind == Run.Kind.CHAT
    if isinstance(run.outputs, dict):
        for name, value in run.outputs.items():
            yield Output(name, _readable_output(value), is_markdown=is_chat and isinstance(value, str))
    elif run.outputs is not None:
        yield Output("result", _pretty(run.outputs)[:MAX_TEXT_CHARS])


def _readable_output(value: Any) -> str:
    is_result = isinstance(value, dict) and {"text", "content", "is_error"} <= value.keys()
    return readable_result(value) if is_result else _pretty(value)[:MAX_TEXT_CHARS]


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
