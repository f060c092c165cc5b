"""As whom a server's connection is tested, and for whose eyes. See docs/decisions on shared and own health."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F

from registry.bearers import bearer_for, owners_bearers
from registry.commands import MayNotStart, check_start
from registry.connectors import Bearer
from registry.credentials import CredentialsLost, decrypt
from registry.models import Connection, Health, OAuthGrant, Server
from registry.probes import ProbeOutcome


@dataclass(frozen=True, slots=True)
class Prober:
    """`private_to` is None where what is found is everybody's. `refused`: the outcome where nothing can be tried."""

    credentials: Mapping[str, str] = field(default_factory=dict)
    private_to: User | None = None
    refused: ProbeOutcome | None = None
    bearer: Bearer | None = None


def prober_for(server: Server, user: User | None) -> Prober:
    """The owner's credentials, or none, speak for the server. Whoever tests with others speaks for themselves."""
    if user is None or user.pk == server.owner_id:
        return _prober(server, server.owner, None, _stored(server, server.owner), bearer_for(server.owner, server))
    private_to = user if is_private(server, user) else None
    return _prober(server, user, private_to, _stored(server, user), bearer_for(user, server))


def is_private(server: Server, user: User) -> bool:
    """Would this user's test be with other credentials than the server's own?"""
    if user.pk == server.owner_id:
        return False
    people = [user.pk] if server.owner_id is None else [user.pk, server.owner_id]
    stored = Connection.objects.valid().filter(server=server, user__in=people).exclude(credentials_encrypted=b"")
    return stored.exists() or OAuthGrant.objects.usable().filter(server=server, user__in=people).exists()


def owners_probers(servers: Sequence[Server]) -> dict[Any, Prober]:
    """By server: each as its owner would, in two queries. The servers come with their owners."""
    stored = Connection.objects.valid().filter(server__in=servers, user_id=F("server__owner_id"))
    encrypted = dict(stored.values_list("server_id", "credentials_encrypted"))
    bearers = owners_bearers(servers)
    return {
        server.pk: _prober(server, server.owner, None, bytes(encrypted.get(server.pk, b"")), bearers.get(server.pk))
        for server in servers
    }


def _stored(server: Server, user: User | None) -> bytes:
    """A user's encrypted credentials, none where there is no valid connection."""
    valid = Connection.objects.valid().filter(user=user, server=server) if user else Connection.objects.none()
    return bytes(valid.values_list("credentials_encrypted", flat=True).first() or b"")


def _prober(
    server: Server, user: User | None, private_to: User | None, encrypted: bytes, bearer: Bearer | None
) -> Prober:
    try:
        check_start(user, server)
        return Prober(decrypt(encrypted), private_to, bearer=bearer)
    except (CredentialsLost, MayNotStart) as error:
        return Prober({}, private_to, _refusal(error))


def _refusal(error: CredentialsLost | MayNotStart) -> ProbeOutcome:
    health = Health.NEEDS_AUTH if isinstance(error, CredentialsLost) else Health.UNTESTED
    return ProbeOutcome(health, str(error))
