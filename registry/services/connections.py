"""What a user authorises on a server, and the credentials that go with it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from registry.commands import check_start, check_variables
from registry.credentials import decrypt, encrypt
from registry.models import Connection, Health, Server, Tool
from registry.schedule import probe_soon
from registry.services.acceptance import accept_granted
from registry.services.errors import UnknownTools
from registry.services.grants import forget_grants


def authorise(
    *,
    user: User,
    server: Server,
    tools: Sequence[str] | None = None,
    approval: Mapping[str, Any] | None = None,
    credentials: Mapping[str, str] | None = None,
    expires_at: datetime | None = None,
) -> Connection:
    """Let this user's plans use all tools (None or "all") or the named ones. `approval` is
    `{"default": policy, "tools": {name: policy}}`; credentials that are not given stay as they are.
    What is authorised anew is accepted as it is defined now; what was before and changed stays in quarantine.
    Raises UnknownTools or MayNotStart."""
    check_start(user, server)
    check_variables(user, server, credentials or ())
    approval = approval or {}
    named = [] if tools is None or tools == "all" else list(dict.fromkeys(tools))
    policies = dict(approval.get("tools") or {})
    _check_names(server, named, "tools")
    _check_names(server, list(policies), "approval")
    with transaction.atomic():
        connection = _locked(user, server)
        was_allowed = _allowing(connection)
        connection.all_tools = tools is None or tools == "all"
        connection.tools = named
        connection.approval_default = approval.get("default") or ""
        connection.approval_tools = policies
        connection.expires_at = expires_at
        if credentials is not None:
            _take_credentials(connection, credentials)
        connection.save()
        accept_granted(connection, was_allowed)
        probe_soon(server)
    return connection


def keep_credentials(*, user: User, server: Server, credentials: Mapping[str, str]) -> None:
    """Add credentials to the user's connection; one made for them alone authorises no tool. Raises MayNotStart."""
    if not credentials:
        return
    check_variables(user, server, credentials)
    with transaction.atomic():
        connection = _locked(user, server)
        known = decrypt(connection.credentials_encrypted)
        _take_credentials(connection, known | dict(credentials))
        connection.save()


def revoke(*, user: User, server: Server) -> bool:
    """End what the user authorised, credentials included. Was there anything?"""
    with transaction.atomic():
        deleted, _ = Connection.objects.filter(user=user, server=server).delete()
        forget_grants(user=user, server=server)
    return bool(deleted)


def _locked(user: User, server: Server) -> Connection:
    Connection.objects.get_or_create(user=user, server=server, defaults={"all_tools": False})
    return Connection.objects.select_for_update().get(user=user, server=server)


def _allowing(connection: Connection) -> Callable[[str], bool]:
    """What the connection allows before it is changed; one that expired allows nothing."""
    if not connection.is_valid:
        return lambda name: False
    if connection.all_tools:
        return lambda name: True
    return frozenset(connection.tools).__contains__


def _take_credentials(connection: Connection, credentials: Mapping[str, str]) -> None:
    """What was seen with others says nothing about these."""
    connection.credentials_encrypted = encrypt(credentials)
    reset_health(connection)


def reset_health(connection: Connection) -> None:
    connection.health, connection.health_detail = Health.UNTESTED, ""
    connection.latency_ms = connection.checked_at = None


def _check_names(server: Server, names: Sequence[str], field: str) -> None:
    if not names:
        return
    known = set(Tool.objects.present().filter(server=server, name__in=names).values_list("name", flat=True))
    if unknown := [name for name in names if name not in known]:
        raise UnknownTools(unknown, field)
