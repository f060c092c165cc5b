"""What a person's word is bound to: a tool as it is defined now, with exact arguments, once, for an hour."""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from chains.models import Run, ToolRun
from chains.plan import Problem, Reference, Toolbox, parse, resolve, scan
from chains.plan.references import Unresolved
from chains.plan.schemas import problems_of
from registry.models import Tool

VALID_FOR = timedelta(hours=1)


def hash_of(tool: Tool, arguments: dict[str, Any]) -> str:
    """What a person approves: this tool as it is defined now, with exactly these arguments."""
    approved = [tool.schema_hash, tool.server.slug, tool.name, arguments]
    return hashlib.sha256(json.dumps(approved, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_approved(row: ToolRun, approval_hash: str) -> bool:
    is_fresh = row.approved_at is not None and row.approved_at > timezone.now() - VALID_FOR
    return is_fresh and row.approved_hash == approval_hash


def edited(run: Run, row: ToolRun, arguments: dict[str, Any]) -> tuple[str, list[Problem]]:
    """The hash of the row's tool with other arguments, and what is wrong with these."""
    plan = parse(run.plan)
    tool = Toolbox.of(plan.steps, run.owner).tool(plan.step(row.step))
    if tool is None:
        return "", [Problem("", "unknown_tool", f"{row.server_slug}.{row.tool} is not there any more.")]
    return hash_of(tool, arguments), problems_of(arguments, tool.input_schema, "")


def known_ahead(run: Run, rows: list[ToolRun]) -> Iterator[tuple[ToolRun, str]]:
    """Of the steps that have not begun those that take nothing from another step's result, with their hashes."""
    plan = parse(run.plan)
    toolbox = Toolbox.of(plan.steps, run.owner)
    pending = {row.step: row for row in rows if row.status == ToolRun.Status.PENDING}
    for step in plan.steps:
        tool, row = toolbox.tool(step), pending.get(step.id)
        found = scan(step.arguments, "")
        if tool and row and all(isinstance(item, Reference) and item.step is None for item in found):
            try:
                yield row, hash_of(tool, resolve(step.arguments, {}, run.inputs))
            except Unresolved:
                continue  # it will fail when it runs


def approve_known(run: Run, user: User) -> None:
    """A person's word for every call of a plan that has not begun, as far as its arguments are known."""
    rows = []
    for row, approval_hash in known_ahead(run, run.current_steps()):
        row.approval_hash = row.approved_hash = approval_hash
        row.approved_by, row.approved_at = user, timezone.now()
        rows.append(row)
    ToolRun.objects.bulk_update(rows, ["approval_hash", "approved_hash", "approved_by", "approved_at"])
