"""Which definitions of tools a user accepted: at authorising, and one by one when a server changes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from registry.models import Acceptance, Connection, Definition, Server, Tool
from registry.services.errors import UnknownTools

BATCH_SIZE = 500
DEFINING = ("title", "description", "input_schema", "output_schema", "annotations")


class NotConnected(Exception):
    """There is nothing to accept for somebody who has not authorised the server."""

    def __init__(self) -> None:
        super().__init__("You have not authorised this server: authorise its tools first.")


class ChangedAgain(Exception):
    """What was looked at is not what the tool is now."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"{', '.join(names[:5])} changed again meanwhile: look at it as it is now.")
        self.names = list(names)


def accept_tools(*, user: User, server: Server, seen: Mapping[str, str | None]) -> int:
    """Accept tools as they are now, for this user only. `seen`: name → the schema_hash that was looked at, None to
    accept any. Raises NotConnected, UnknownTools or ChangedAgain, and then accepts nothing."""
    with transaction.atomic():
        connection = Connection.objects.valid().select_for_update().filter(user=user, server=server).first()
        if connection is None:
            raise NotConnected
        names = [name for name in seen if "\x00" not in name]
        tools = list(Tool.objects.present().filter(server=server, name__in=names))
        allowed = {tool.name for tool in tools if connection.allows(tool.name)}
        if unknown := [name for name in seen if name not in allowed]:
            raise UnknownTools(unknown, "tools")
        if changed := [tool.name for tool in tools if seen[tool.name] not in (None, tool.schema_hash)]:
            raise ChangedAgain(changed)
        write_acceptances((connection, tool) for tool in tools)
    return len(tools)


def accept_for_everybody(*, tools: QuerySet[Tool]) -> int:
    """A curator's word: no longer held back, and accepted as they are by all who authorised them."""
    with transaction.atomic():
        chosen = list(tools.filter(removed_at=None))
        Tool.objects.filter(pk__in=[tool.pk for tool in chosen]).update(quarantined=False)
        servers = {tool.server_id for tool in chosen}
        by_server: dict[object, list[Connection]] = {}
        for connection in Connection.objects.filter(server__in=servers):
            by_server.setdefault(connection.server_id, []).append(connection)
        write_acceptances(
            (connection, tool)
            for tool in chosen
            for connection in by_server.get(tool.server_id, [])
            if connection.allows(tool.name)
        )
    return len(chosen)


def accept_granted(connection: Connection, was_allowed: Callable[[str], bool]) -> None:
    """After a change of what is authorised: what was not before is accepted as it is now, what was before stays in
    quarantine where it is, and what is no more is forgotten."""
    if not connection.all_tools:
        connection.acceptances.exclude(name__in=connection.tools).delete()
    tools = Tool.objects.present().filter(server=connection.server_id)
    if not connection.all_tools:
        tools = tools.filter(name__in=connection.tools)
    write_acceptances((connection, tool) for tool in tools if not was_allowed(tool.name))


def accept_first_sight(server: Server, tools: Iterable[Tool]) -> None:
    """The first tools a server ever showed, for those who authorised all of it before anything was known."""
    connections = list(Connection.objects.filter(server=server, all_tools=True))
    write_acceptances((connection, tool) for tool in tools for connection in connections)


def write_acceptances(pairs: Iterable[tuple[Connection, Tool]]) -> None:
    pairs = list(pairs)
    now = timezone.now()
    definitions = {tool.schema_hash: tool for _, tool in pairs}
    Definition.objects.bulk_create(
        [
            Definition(schema_hash=digest, kept_at=now, **{name: getattr(tool, name) for name in DEFINING})
            for digest, tool in definitions.items()
        ],
        batch_size=BATCH_SIZE,
        ignore_conflicts=True,
    )
    Acceptance.objects.bulk_create(
        [
            Acceptance(connection=connection, name=tool.name, definition_id=tool.schema_hash, accepted_at=now)
            for connection, tool in pairs
        ],
        batch_size=BATCH_SIZE,
        update_conflicts=True,
        unique_fields=["connection", "name"],
        update_fields=["definition", "accepted_at"],
    )
