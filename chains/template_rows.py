"""Rows of templates as they are made, whatever from."""

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from chains.models import Template
from chains.plan import Plan, Toolbox
from registry.quotas import check_quota


def keep_template(*, owner: User, **columns: Any) -> Template:
    """Raises QuotaReached."""
    with transaction.atomic():
        check_quota(owner, "templates", Template.objects.owned_by(owner))
        return Template.objects.create(owner=owner, **columns)


def duplicate_template(*, template: Template, owner: User) -> Template:
    """Its present plan under another name, without its history; it accepts no tool that the first one did not."""
    return keep_template(
        owner=owner,
        name=f"{template.name[:190]} (copy)",
        description=template.description,
        plan=template.plan,
        tool_hashes=template.tool_hashes,
    )


def tool_hashes(plan: Plan, *, user: User) -> dict[str, str]:
    """'server/tool' → schema_hash, for every tool the plan names."""
    toolbox = Toolbox.of(plan.steps, user)
    tools = [tool for step in plan.steps if (tool := toolbox.tool(step))]
    return {f"{tool.server.slug}/{tool.name}": tool.schema_hash for tool in tools}
