"""Answers without a model: the results as they are, or what is missing, in plain sentences."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from chains.models import Result, ToolRun
from chat.memory import shortened

RESULT_CHARACTERS = 2_000
CONNECT = "No language model is connected, so I worked by matching words. [Connect one](/account) to talk freely."


def of_steps(steps: Sequence[ToolRun]) -> str:
    return "\n\n".join(_of_step(step) for step in steps)


def _of_step(step: ToolRun) -> str:
    name = f"`{step.server_slug}.{step.tool}`"
    if step.status == ToolRun.Status.SUCCEEDED:
        return f"{name} gave:\n\n{_block(step)}"
    because = (step.error or {}).get("message") or "It did not run."
    return f"{name} {_ENDED.get(step.status, step.status)}: {because}{_advice(step)}"


_ENDED: dict[str, str] = {
    ToolRun.Status.FAILED: "failed",
    ToolRun.Status.SKIPPED: "was skipped",
    ToolRun.Status.CANCELLED: "was not run",
    ToolRun.Status.UNKNOWN: "was interrupted",
}


def _advice(step: ToolRun) -> str:
    if step.status == ToolRun.Status.FAILED:
        return " You can try the run again, or ask in other words."
    return ""


def _block(step: ToolRun) -> str:
    """The result as a code block that its own text cannot end."""
    result = step.result or {}
    text = str(result.get("text") or "") or json.dumps(result.get("json"), ensure_ascii=False, indent=2)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{shortened(text, RESULT_CHARACTERS)}\n{fence}"


def asking(missing: Sequence[str]) -> str:
    listed = "\n".join(f"- {name}" for name in missing)
    return f"Before I can run this I need to know:\n\n{listed}"


def remembered(found: Sequence[Result]) -> str:
    """What was kept of other runs, word for word."""
    listed = "\n\n".join(
        f"**{_line(result.title)}** ({result.created_at:%Y-%m-%d})\n\n{result.summary}" for result in found
    )
    return f"Nothing had to be run for this. From your results:\n\n{listed}"


def revised(revision: Mapping[str, Any]) -> str:
    """Why there was another plan."""
    return f"Planned again because {revision.get('because', '')}. {revision.get('say', '')}".strip()


def _line(text: str) -> str:
    return " ".join(text.replace("*", "").split())


def no_tools() -> str:
    return (
        "You have not authorised any tool that works yet. [Find a server](/servers), test its connection and authorise "
        "its tools; then ask again."
    )


def no_fit(tools: Sequence[str]) -> str:
    listed = "\n".join(f"- `{name}`" for name in tools)
    return f"None of your tools seems to fit this. I looked at:\n\n{listed}\n\nSay what you want in their words."


def no_plan(problems: Sequence[str]) -> str:
    listed = "\n".join(f"- {problem}" for problem in problems)
    return (
        f"I could not make a plan that can run. What was wrong with the last one:\n\n{listed}\n\n"
        "Nothing was run. Try again in other words, or name the tool and its arguments."
    )
