"""What happened to the tools of saved templates since they were saved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.contrib.auth.models import User

from chains.models import Template
from chains.plan import Step, Toolbox, read
from registry.changes import PartDiff, diff
from registry.models import Definition, Server, Tool

GONE = "gone"
REDEFINED = "redefined"
WORDS = {
    GONE: "is gone from its server",
    REDEFINED: "changed since this template was saved",
    Tool.Change.NEW: "is new since you authorised its server, and not accepted yet",
    Tool.Change.CHANGED: "changed, and you have not accepted it yet",
    Tool.Change.HELD: "is held back by whoever looks after the registry",
}


@dataclass(frozen=True, slots=True)
class StepChange:
    """`kind` is GONE, REDEFINED or a Tool.Change. `parts`: how its definition differs, where the old one is known."""

    name: str
    kind: str
    server: Server
    saved_hash: str | None
    tool: Tool | None
    parts: list[PartDiff] = field(default_factory=list)

    @property
    def words(self) -> str:
        return WORDS[self.kind]


def changes_of(templates: Sequence[Template], user: User) -> dict[object, list[StepChange]]:
    """By template, without `parts`: three queries, however many templates."""
    steps = {template.pk: _steps(template) for template in templates}
    toolbox = Toolbox.of([step for each in steps.values() for step in each], user)
    return {template.pk: _changes(steps[template.pk], template, toolbox) for template in templates}


def explained(changes: Sequence[StepChange]) -> list[StepChange]:
    """With what is different about each tool."""
    old = Definition.objects.in_bulk([change.saved_hash for change in changes if change.saved_hash])
    return [_explained(change, old.get(change.saved_hash or "")) for change in changes]


def _explained(change: StepChange, old: Definition | None) -> StepChange:
    if old is None or change.tool is None:
        return change
    parts = diff(old, change.tool)
    return StepChange(change.name, change.kind, change.server, change.saved_hash, change.tool, parts)


def _steps(template: Template) -> tuple[Step, ...]:
    plan, _ = read(template.plan)
    return plan.steps if plan else ()


def _changes(steps: Sequence[Step], template: Template, toolbox: Toolbox) -> list[StepChange]:
    """Each tool once. A server that is not there at all is the plan's problem, told when it is run."""
    found: dict[str, StepChange] = {}
    for step in steps:
        server, tool = toolbox.servers.get(step.server), toolbox.tool(step)
        if server is None:
            continue
        name = f"{server.slug}/{step.tool}"
        saved = template.tool_hashes.get(name)
        if kind := _kind(tool, saved, toolbox):
            found[name] = StepChange(name, kind, server, saved, tool)
    return list(found.values())


def _kind(tool: Tool | None, saved: str | None, toolbox: Toolbox) -> str:
    if tool is None:
        return GONE if saved else ""
    return toolbox.change(tool) or (REDEFINED if saved not in (None, tool.schema_hash) else "")
