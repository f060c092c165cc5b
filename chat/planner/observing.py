"""What became of a plan, and what may follow from it.

Whoever plans again has read what servers wrote. So nothing that is done, or may be, is done again, and what is planned
now waits for the user's approval unless it only reads.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings

from chains.calls import is_repeatable
from chains.models import Run, ToolRun
from chains.plan import Problem, pointer_to
from chat.drafts import Draft
from chat.planner.state import SoFar
from registry.models import Policy, Tool

if TYPE_CHECKING:
    from chat.planner import Planning

Status = ToolRun.Status
ERROR_CHARACTERS = 300
REFUSED = {"rejected", "forbidden_by_policy", "not_authorised", "changed_tool", "needs_auth"}  # a person's to change
NEVER_CALLED = {"bad_reference", "invalid_arguments", "blocked", "tool_not_found", *REFUSED}
ANSWERED = {"tool_error"}  # by its own word the call did not do what it is for


def reason_to_plan_again(steps: Sequence[ToolRun], planning: dict[str, Any]) -> str:
    """Why a plan whose steps are over is not the end of it, in words of ours alone; empty where it is, or where that
    has been tried enough."""
    if len(planning.get("revisions", [])) >= settings.CHAT_REPLANS:
        return ""
    failed = next((step for step in steps if step.status == Status.FAILED), None)
    if any(step.status == Status.CANCELLED or (step.error or {}).get("code") in REFUSED for step in steps):
        return ""
    if failed is not None:
        return f"step {failed.step} ({failed.server_slug}.{failed.tool}) failed"
    if empty := [step for step in steps if step.status == Status.SUCCEEDED and is_empty(step.result)]:
        return f"step {empty[0].step} ({empty[0].server_slug}.{empty[0].tool}) gave nothing"
    return "the results had to be seen first" if planning.get("look") else ""


def told_reason(because: str, steps: Sequence[ToolRun]) -> str:
    """For the user: with what the tool said."""
    failed = next((step for step in steps if step.status == Status.FAILED), None)
    message = str((failed.error or {}).get("message", ""))[:ERROR_CHARACTERS] if failed else ""
    return f"{because}: {message}" if message else because


def is_empty(result: Any) -> bool:
    """Neither text nor data nor a file: nothing was found."""
    if not isinstance(result, dict) or result.get("files"):
        return False
    text, data = str(result.get("text") or "").strip(), result.get("json")
    return not text if data is None else _holds_nothing(data)


def _holds_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_holds_nothing(item) for item in value.values())
    return value is None or value in ("", [])


def tools_of(run: Run) -> list[Tool]:
    """The tools the run has called, so that they can be shown again."""
    called = {(row.server_id, row.tool) for row in run.current_steps()}
    allowed = Tool.objects.authorised_by(run.owner).filter(
        server__in={server for server, _ in called}, name__in={name for _, name in called}
    )
    return [tool for tool in allowed.select_related("server") if (tool.server_id, tool.name) in called]


def goes_on(planning: "Planning", so_far: SoFar) -> bool:
    """Is there a step that was not there before?"""
    old = {row.step for row in so_far.steps}
    return not planning.problems and any(step["id"] not in old for step in planning.draft.steps)


def joined(draft: Draft, so_far: SoFar, tools: Sequence[Tool]) -> Draft:
    """What is done, then what is planned now, which asks before it changes anything."""
    reading = {(tool.server.slug, tool.name) for tool in tools if tool.is_read_only}
    kept = {step["id"] for step in so_far.kept}
    new = [step for step in draft.steps if step.get("id") not in kept]
    careful = [
        step if (step.get("server"), step.get("tool")) in reading else step | {"approval": Policy.ASK.value}
        for step in new
    ]
    return Draft([*so_far.kept, *careful], draft.say, draft.missing, draft.inputs, draft.look)


def repeated(draft: Draft, so_far: SoFar | None, tools: Sequence[Tool]) -> list[Problem]:
    """New steps that would do again what is done, or may be."""
    if so_far is None:
        return []
    safe = {(tool.server.slug, tool.name) for tool in tools if is_repeatable(tool)}
    old = {row.step for row in so_far.steps}
    problems = []
    for index, step in enumerate(draft.steps):
        called = (step.get("server"), step.get("tool"))
        is_kept = step in so_far.kept
        if step.get("id") in old and not is_kept:
            message = (
                f"A step of this run is called “{step.get('id')}” already; name the new one s{so_far.next_number}."
            )
            problems.append(Problem(pointer_to("steps", index, "id"), "duplicate_id", message))
        if not is_kept and called not in safe and (row := _same_call(step, so_far.steps)):
            message = f"This would repeat step {row.step}, which {_ended(row)}; do not call it again."
            problems.append(Problem(pointer_to("steps", index), "repeated_call", message))
    return problems


def _same_call(step: dict[str, Any], rows: Sequence[ToolRun]) -> ToolRun | None:
    """A call of this tool that may have happened, whatever its arguments; one that did, with the same ones."""
    for row in rows:
        if (row.server_slug, row.tool) != (step.get("server"), step.get("tool")):
            continue
        is_same = _text(row.arguments) == _text(step.get("arguments"))
        if _may_have_happened(row) or (is_same and row.status == Status.SUCCEEDED):
            return row
    return None


def _may_have_happened(row: ToolRun) -> bool:
    code = (row.error or {}).get("code", "")
    is_open = row.status == Status.FAILED and code not in NEVER_CALLED | ANSWERED
    return row.status == Status.UNKNOWN or (is_open and row.started_at is not None)


def _ended(row: ToolRun) -> str:
    return "is done" if row.status == Status.SUCCEEDED else "may have happened although it failed"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
