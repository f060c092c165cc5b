"""How runs, times and values read on a page."""

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

from chains.drawing import RUN_WORDS
from chains.models import Run, Template

register = template.Library()

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S
MAX_TOOLS_SHOWN = 6


@register.filter
def milliseconds(value: int) -> str:
    """84 ms, 1.2 s, 3 min 5 s."""
    seconds = value / 1000
    if seconds < 1:
        return f"{value} ms"
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{int(seconds // MINUTE_S)} min {int(seconds % MINUTE_S)} s"


@register.filter
def run_duration(run: Run) -> str:
    if run.finished_at is None:
        return ""
    took = run.finished_at - (run.started_at or run.created_at)
    return milliseconds(max(0, int(took.total_seconds() * 1000)))


@register.filter
def ago(value: datetime | None) -> str:
    """Short: just now, 5 min ago, 3 h ago, then the date."""
    if value is None:
        return "never"
    seconds = (timezone.now() - value).total_seconds()
    if seconds < MINUTE_S:
        return "just now"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min ago"
    if seconds < DAY_S:
        return f"{int(seconds // HOUR_S)} h ago"
    return f"{value:%-d %b %Y}"


@register.filter
def run_title(run: Run) -> str:
    """The template it came from, else what it calls."""
    if run.template is not None:
        return run.template.name
    steps = run.plan.get("steps", []) if isinstance(run.plan, dict) else []
    names = [str(step.get("tool", "")) for step in steps if isinstance(step, dict)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return " → ".join(names[:3]) + more if names else "Run without steps"


@register.filter
def plain(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@register.filter
def unlocalized(value: Any) -> str:
    """A number as HTML attributes want it."""
    return str(value) if isinstance(value, int | float) else "0"


@register.filter
def pairs(value: Any) -> list[tuple[str, Any]]:
    """The items of a dict, whatever its keys are called."""
    return list(value.items()) if isinstance(value, dict) else []


@register.filter
def run_words(run: Run) -> str:
    return RUN_WORDS[Run.Status(run.status)]


@register.filter
def plan_tools(kept: Template) -> list[str]:
    """The tools a template calls, in the plan's order."""
    steps = kept.plan.get("steps", []) if isinstance(kept.plan, dict) else []
    return [str(step["tool"]) for step in steps if isinstance(step, dict) and "tool" in step][:MAX_TOOLS_SHOWN]
