"""The token that goes along with a user's requests to a server, renewed when it is time.

A refresh token is spent by one process at a time: who claims the grant asks for new tokens, everybody else waits for
what comes of it. An authorisation server that rotates refresh tokens takes a second use of one for theft.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import anyio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db.models import F
from django.utils import timezone

from registry.connectors import ConnectorError
from registry.credentials import CredentialsLost, decrypt
from registry.models import OAuthGrant, Server
from registry.models.oauth import REFRESH_LEASE
from registry.oauth import tokens as oauth
from registry.oauth.discovery import Challenge
from registry.oauth.errors import SignInError
from registry.oauth.http import opened
from registry.oauth.tokens import FINAL
from registry.services.grants import claim_refresh, end_renewal, keep_renewed, let_go, want_more
from registry.services.sign_ins import forget_client, identity_of

LOOK_S = 0.1
PATIENCE = REFRESH_LEASE * 1.2
AGAIN = "Sign in again on the server's page."


def bearer_for(user: User | None, server: Server) -> "StoredBearer | None":
    """None where the user did not sign in to this server, or not where it says now that one does."""
    if user is None:
        return None
    grant = OAuthGrant.objects.usable().filter(user=user, server=server).only("pk").first()
    return StoredBearer(grant.pk) if grant else None


def owners_bearers(servers: Sequence[Server]) -> dict[object, "StoredBearer"]:
    """By server, in one query: each as its owner signed in."""
    grants = OAuthGrant.objects.usable().filter(server__in=servers, user_id=F("server__owner_id"))
    return {server_id: StoredBearer(pk) for server_id, pk in grants.values_list("server_id", "pk")}


@dataclass
class Held:
    """A grant with its tokens in the clear."""

    grant: OAuthGrant
    access: str
    refresh: str


class StoredBearer:
    """A `Bearer` of one session; what it read last is good until it is due or refused."""

    def __init__(self, grant_id: int) -> None:
        self.grant_id = grant_id
        self.held: Held | None = None

    def __repr__(self) -> str:
        return f"StoredBearer({self.grant_id})"

    async def token(self, *, refused: str = "") -> str:
        """Raises ConnectorError: needs_auth where only the user can help."""
        held = self.held
        if held is None or held.grant.is_due or held.access == refused:
            held = await self._current(refused)
        self.held = held
        return held.access

    async def wants_more(self, challenge: str) -> None:
        grant = (self.held or await self._read()).grant
        scopes = Challenge.of(challenge).scopes
        asked = f"more permissions ({', '.join(scopes)})" if scopes else "more permissions"
        problem = f"The server wants {asked} than this sign-in has. {AGAIN}"
        await sync_to_async(want_more)(grant=grant, scopes=scopes, problem=problem)

    async def _current(self, refused: str) -> Held:
        until = timezone.now() + PATIENCE
        while True:
            held = await self._read()
            is_refused = held.access == refused and not held.grant.was_refreshed_just_now
            if not is_refused and not held.grant.is_due:
                return held
            if not held.refresh:
                return _without_renewal(held)
            lease = timezone.now() + REFRESH_LEASE
            if await sync_to_async(claim_refresh)(grant=held.grant, until=lease):
                return await self._renewed(held)
            await _wait(until)

    async def _read(self) -> Held:
        grant = await OAuthGrant.objects.current().select_related("client").filter(pk=self.grant_id).afirst()
        if grant is None:
            raise ConnectorError("needs_auth", f"This sign-in was ended. {AGAIN}")
        if grant.problem:
            raise ConnectorError("needs_auth", grant.problem)
        try:
            tokens = decrypt(grant.tokens_encrypted)
        except CredentialsLost as error:
            raise ConnectorError("needs_auth", f"{error} {AGAIN}") from error
        return Held(grant, tokens.get("access", ""), tokens.get("refresh", ""))

    async def _renewed(self, held: Held) -> Held:
        grant = held.grant
        try:
            async with opened() as http:
                tokens = await oauth.refresh(
                    http,
                    grant.token_endpoint,
                    identity_of(grant.client),
                    refresh_token=held.refresh,
                    resource=grant.resource,
                )
        except SignInError as error:
            raise await _not_renewed(grant, error) from error
        await sync_to_async(keep_renewed)(grant=grant, tokens=tokens)
        return await self._read()


async def _wait(until: datetime) -> None:
    if timezone.now() > until:
        raise ConnectorError("timeout", "The sign-in is being renewed and that does not end: try again.")
    await anyio.sleep(LOOK_S)


def _without_renewal(held: Held) -> Held:
    """A token nobody can renew is used for as long as the server takes it."""
    if held.grant.is_expired:
        raise ConnectorError("needs_auth", f"This sign-in has expired. {AGAIN}")
    return held


async def _not_renewed(grant: OAuthGrant, error: SignInError) -> ConnectorError:
    """A refusal is final; all else leaves the sign-in as it is, for the next attempt."""
    if error.reason not in FINAL:
        await sync_to_async(let_go)(grant=grant)
        code = error.code if error.code in {"blocked", "timeout"} else "unreachable"
        return ConnectorError(code, f"The sign-in could not be renewed. {error.message}")
    problem = f"The sign-in has ended: {error.message} {AGAIN}"
    await sync_to_async(end_renewal)(grant=grant, problem=problem)
    if error.reason in {"invalid_client", "unauthorized_client"}:
        await sync_to_async(forget_client)(client=grant.client)
    return ConnectorError("needs_auth", problem)


async def give_back(grant: OAuthGrant) -> None:
    """Ask the authorisation server to forget the tokens; one that cannot be asked forgets them when they expire."""
    with suppress(SignInError, CredentialsLost):
        tokens = decrypt(grant.tokens_encrypted)
        async with opened() as http:
            client = identity_of(grant.client)
            for kind in ("refresh", "access"):
                if token := tokens.get(kind):
                    await oauth.revoke(http, grant.revocation_endpoint, client, token, f"{kind}_token")
