"""Add, change and delete servers."""

from typing import Any, TypedDict, Unpack

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from registry.deleting import delete_whole
from registry.models import Connection, Health, Server
from registry.outbound import OutboundRefused, check_url
from registry.precedence import CURATOR
from registry.quotas import check_quota, one_at_a_time
from registry.search.indexing import describe
from registry.services.connections import keep_credentials
from registry.services.embedding import embed_on_commit
from registry.services.grants import forget_grants
from registry.slugs import free_slugs

ADDRESS_FIELDS = ("transport", "url", "command", "args", "openapi_url")
TEXT_FIELDS = ("name", "title", "description", "tags")


class ServerFields(TypedDict, total=False):
    """What may be said of a server. Exactly one of url, command and openapi_url is its address; `env` and
    `credentials` go encrypted into the owner's connection."""

    name: str
    title: str
    description: str
    url: str
    transport: str
    command: str
    args: list[str]
    env: dict[str, str]
    openapi_url: str
    tags: list[str]
    auth_type: str
    credentials: dict[str, str]
    visibility: str
    homepage: str
    repository: str
    version: str
    env_schema: list[dict[str, Any]]


class AddressRefused(Exception):
    """The address cannot be registered by this user; `field` says which part of it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class DuplicateServer(Exception):
    """This user has registered the same address before, as `existing`."""

    def __init__(self, existing: Server) -> None:
        super().__init__(f"You have already added this address as {existing.name}.")
        self.existing = existing


def add_server(*, owner: User, **fields: Unpack[ServerFields]) -> Server:
    """Raises AddressRefused, DuplicateServer or QuotaReached; `name` and an address are required."""
    told: dict[str, Any] = dict(fields)
    secrets_given = _take_secrets(told)
    server = Server(owner=owner, **told)
    server.transport = _transport_of(server)
    check_address(server, user=owner)
    with transaction.atomic():
        one_at_a_time(owner)
        _refuse_duplicate(server, owner)
        check_quota(owner, "servers", Server.objects.owned_by(owner).exclude(status=Server.Status.DELETED))
        server.slug = free_slugs([(server.name, str(server.pk))])[0]
        describe(server)
        server.save()
        keep_credentials(user=owner, server=server, credentials=secrets_given)
        embed_on_commit()
    return server


def update_server(*, server: Server, by: User, **fields: Unpack[ServerFields]) -> Server:
    """A new address is a new thing to trust: its health is unknown, and what others authorised ends with their
    credentials. Raises AddressRefused or DuplicateServer."""
    told: dict[str, Any] = dict(fields)
    secrets_given = _take_secrets(told)
    before = {name: getattr(server, name) for name in ADDRESS_FIELDS}
    _apply(server, told)
    moved = before != {name: getattr(server, name) for name in ADDRESS_FIELDS}
    if moved:
        check_address(server, user=by)
    with transaction.atomic():
        _keep_what_is_shared(server)
        if moved and server.owner is not None:
            one_at_a_time(server.owner)
            _refuse_duplicate(server, server.owner)
        if moved:
            _forget_health(server)
            Connection.objects.filter(server=server).exclude(user=server.owner).delete()
            forget_grants(server=server)
        if any(name in told for name in TEXT_FIELDS):
            describe(server)
        server.save()
        keep_credentials(user=by, server=server, credentials=secrets_given)
        Connection.objects.out_of_sight().filter(server=server).delete()
        embed_on_commit()
    return server


def delete_server(*, server: Server) -> None:
    """A server of a catalogue is only marked, so that the next import does not bring it back."""
    with transaction.atomic():
        forget_grants(server=server)
        if server.source == "custom":
            delete_whole(server)
        else:
            server.status = Server.Status.DELETED
            server.field_sources = server.field_sources | {"status": CURATOR}
            server.save(update_fields=["status", "field_sources", "updated_at"])
            Connection.objects.filter(server=server).delete()


def check_address(server: Server, *, user: User) -> None:
    """Refuse what can be refused at once. Raises AddressRefused."""
    if server.transport == Server.Transport.STDIO:
        return _check_command(user)
    field = "openapi_url" if server.transport == Server.Transport.OPENAPI else "url"
    try:
        check_url(getattr(server, field))
    except OutboundRefused as refused:
        raise AddressRefused(field, str(refused)) from refused
    return None


def _check_command(user: User) -> None:
    if settings.STDIO_SERVERS == "off":
        raise AddressRefused("command", "This registry starts no servers by command.")
    if not user.is_staff:
        raise AddressRefused("command", "Only staff may register a server that is started by a command.")


def _transport_of(server: Server) -> str:
    if server.command:
        return Server.Transport.STDIO
    if server.openapi_url:
        return Server.Transport.OPENAPI
    is_http = server.transport in {Server.Transport.STREAMABLE_HTTP, Server.Transport.SSE}
    return server.transport if is_http else Server.Transport.STREAMABLE_HTTP


def _apply(server: Server, told: dict[str, Any]) -> None:
    """Another kind of address takes the place of the old one."""
    kinds = {"url", "command", "openapi_url"}
    given = {kind for kind in kinds if told.get(kind)}
    cleared = dict.fromkeys(kinds - given, "") if given else {}
    for name, value in (told | cleared).items():
        setattr(server, name, value)
    if given or "transport" in told:
        server.transport = _transport_of(server)


def _take_secrets(told: dict[str, Any]) -> dict[str, str]:
    """What is given as environment may be a key: all of it is kept like one."""
    return {**(told.pop("env", None) or {}), **(told.pop("credentials", None) or {})}


def _keep_what_is_shared(server: Server) -> None:
    """As it is now, not as it was read; what is public is not shared with a team as well."""
    now = Server.objects.select_for_update().values_list("team_id", flat=True).get(pk=server.pk)
    server.team_id = None if server.visibility == Server.Visibility.PUBLIC else now


def _refuse_duplicate(server: Server, owner: User) -> None:
    same = {"url": server.url, "openapi_url": server.openapi_url, "command": server.command, "args": server.args}
    existing = Server.objects.owned_by(owner).exclude(pk=server.pk).exclude(status=Server.Status.DELETED)
    if found := existing.filter(**same).first():
        raise DuplicateServer(found)


def _forget_health(server: Server) -> None:
    server.health, server.health_detail, server.latency_ms = Health.UNTESTED, "", None
