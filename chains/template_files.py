"""Templates as files: a plan with its name, its description and the servers it needs, and nothing secret.

{"format": "mcp-registry-template", "name": "…", "description": "…", "plan": {…},
 "servers": [{"slug": "time", "name": "Time", "package": "pypi:mcp-server-time", "tools": ["get_current_time"]}]}
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth.models import User
from django.db.models import Q

from chains.models import Template
from chains.plan import Plan, PlanError, Problem, Toolbox, check, errors, parse, read
from chains.template_rows import keep_template, tool_hashes
from registry.models import Server
from registry.packages import package_of

FORMAT = "mcp-registry-template"
MAX_SERVERS = 50


@dataclass(frozen=True, slots=True)
class Imported:
    """A template that was kept, and what it still lacks here before it can run."""

    template: Template
    missing: list[Problem]


def exported(template: Template, *, user: User) -> dict[str, Any]:
    """The file of a template, with what this user may see of its servers; those it names by id are named by slug.
    Raises PlanError."""
    plan = parse(template.plan)
    toolbox = Toolbox.of(plan.steps, user)
    slugs = {name: server.slug for name, server in toolbox.servers.items()}
    return {
        "format": FORMAT,
        "name": template.name,
        "description": template.description,
        "plan": _renamed(plan.data, slugs),
        "servers": [_needed(name, plan, toolbox) for name in dict.fromkeys(step.server for step in plan.steps)],
    }


def _needed(name: str, plan: Plan, toolbox: Toolbox) -> dict[str, Any]:
    server = toolbox.servers.get(name)
    tools = sorted({step.tool for step in plan.steps if step.server == name})
    if server is None:
        return {"slug": name, "tools": tools}
    told = {
        "slug": server.slug,
        "name": server.title or server.name,
        "url": plain_address(server.url or server.openapi_url),
        "package": _package(server),
        "tools": tools,
    }
    return {key: value for key, value in told.items() if value}


def plain_address(url: str) -> str:
    """Without what may be secret in it: user, password, query, fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _package(server: Server) -> str:
    """`npm:name`, without its arguments: they may say where one's files are."""
    found = package_of(server.command, server.args, []) if server.command else None
    return f"{found['registryType']}:{found['identifier']}" if found else ""


def import_template(*, user: User, file: Mapping[str, Any]) -> Imported:
    """Keep a template from its file. Its servers are found here by slug, else by address or package; what is missing
    is named and does not keep it out. Raises PlanError where the plan cannot be read, or QuotaReached."""
    plan, problems = read(file["plan"])
    if plan is None or problems:
        raise PlanError(problems)
    data = _renamed(plan.data, _found_here(user, plan, file.get("servers", [])))
    checked, missing = check(data, user=user)
    hashes = tool_hashes(checked, user=user) if checked else {}
    template = keep_template(
        owner=user, name=file["name"], description=file.get("description", ""), plan=data, tool_hashes=hashes
    )
    return Imported(template, errors(missing))


def _found_here(user: User, plan: Plan, told: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The slug each server of the file has here, where it is another one."""
    known = Toolbox.of(plan.steps, user).servers
    wanted = [server for server in told[:MAX_SERVERS] if server["slug"] not in known]
    urls = {server["url"] for server in wanted if "://" in server.get("url", "")}
    by_place = {place: server.slug for server in _candidates(user, urls) for place in _places(server)}
    return {
        server["slug"]: slug
        for server in wanted
        if (slug := by_place.get(server.get("url", "")) or by_place.get(server.get("package", "")))
    }


def _candidates(user: User, urls: set[str]) -> Iterator[Server]:
    same_address = Q()
    for url in urls:
        place = url.partition("://")[2]  # what stands here may have a user before it and a query behind it
        same_address |= Q(url__contains=place) | Q(openapi_url__contains=place)
    visible = Server.objects.visible_to(user)
    if urls:
        yield from visible.filter(same_address)[:MAX_SERVERS]
    yield from visible.connected_by(user).exclude(command="")[: 10 * MAX_SERVERS]


def _places(server: Server) -> list[str]:
    return [place for place in (plain_address(server.url or server.openapi_url), _package(server)) if place]


def _renamed(data: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    steps = [step | {"server": names.get(step["server"], step["server"])} for step in data["steps"]]
    return data | {"steps": steps}
