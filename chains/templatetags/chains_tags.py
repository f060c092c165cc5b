"""How runs and templates read on a page."""

from django import template

from chains.drawing import RUN_WORDS
from chains.models import Run, Template
from registry.templatetags.page_tags import milliseconds

register = template.Library()

MAX_TOOLS_SHOWN = 6


@register.filter
def run_duration(run: Run) -> str:
    return "" if run.duration_ms is None else milliseconds(run.duration_ms)


@register.filter
def delta(slower_ms: int) -> str:
    """How much longer something took than something else."""
    if slower_ms == 0:
        return "as long"
    return f"{milliseconds(abs(slower_ms))} {'longer' if slower_ms > 0 else 'shorter'}"


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
def run_words(run: Run) -> str:
    return RUN_WORDS[Run.Status(run.status)]


@register.filter
def plan_tools(kept: Template) -> list[str]:
    """The tools a template calls, in the plan's order."""
    steps = kept.plan.get("steps", []) if isinstance(kept.plan, dict) else []
    return [str(step["tool"]) for step in steps if isinstance(step, dict) and "tool" in step][:MAX_TOOLS_SHOWN]
