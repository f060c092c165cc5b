"""The tools of a server as its page lists them: some at a time, found by their names, what changed by itself."""

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Q

from registry.changes import ToolChange, changes_of, digest_of
from registry.models import Connection, Policy, Server, Tool, ToolQuerySet
from registry.pages import PageRequest

TOOLS_A_PAGE = 50
MAX_FIND_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address says of the list: words to find, only what changed, which page."""

    find: str = ""
    is_changed: bool = False
    page: str = "1"

    @classmethod
    def of(cls, request: PageRequest) -> "Asked":
        find = request.GET.get("find", "").replace("\x00", "").strip()[:MAX_FIND_CHARACTERS]
        return cls(find, "changed" in request.GET, request.GET.get("page", "1"))


@dataclass(frozen=True, slots=True)
class Row:
    tool: Tool
    policy: Policy | None
    change: ToolChange | None


@dataclass(frozen=True, slots=True)
class ToolList:
    """`count` of all its tools; `page` of those that were asked for. `pending` wait for the user to accept them."""

    asked: Asked
    count: int
    page: Page[Any]
    rows: list[Row]
    pending: list[ToolChange]
    digest: str

    @property
    def is_long(self) -> bool:
        return self.count > TOOLS_A_PAGE


def tool_list(server: Server, connection: Connection | None, asked: Asked) -> ToolList:
    """Of a long list only the page's tools are read whole, however many there are."""
    tools = Tool.objects.filter(server=server).present()
    valid = connection if connection and connection.is_valid else None
    changes = waiting(tools, valid)
    found = _found(tools, asked, changes).order_by("name", "pk")
    page = Paginator(found, TOOLS_A_PAGE).get_page(asked.page)
    rows = [Row(tool, connection.policy_for(tool) if connection else None, changes.get(tool.pk)) for tool in page]
    pending = [change for change in changes.values() if change.kind != Tool.Change.HELD]
    return ToolList(asked, tools.count(), page, rows, pending, digest_of(changes.values()))


def waiting(tools: ToolQuerySet, connection: Connection | None) -> dict[int, ToolChange]:
    """By tool: what is held back, or waits for the connection's user."""
    return changes_of(tools.not_accepted_by(connection), connection)


def _found(tools: ToolQuerySet, asked: Asked, changes: dict[int, ToolChange]) -> ToolQuerySet:
    if asked.is_changed:
        tools = tools.filter(pk__in=list(changes))
    for word in asked.find.split():
        tools = tools.filter(Q(name__icontains=word) | Q(title__icontains=word) | Q(description__icontains=word))
    return tools
