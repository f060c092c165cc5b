"""What a worker does for a sign-in: find out where it leads to, trade what was brought back, give back what ended."""

import asyncio
import logging
from datetime import timedelta

import anyio
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.utils import timezone

from registry.bearers import give_back
from registry.credentials import CredentialsLost, decrypt
from registry.models import OAuthClient, OAuthGrant, SignIn
from registry.oauth import tokens as oauth
from registry.oauth.authorization import sent_to
from registry.oauth.clients import ClientIdentity, register
from registry.oauth.discovery import Protection, look
from registry.oauth.errors import SignInError
from registry.oauth.http import opened
from registry.services.sign_ins import (
    claim_code,
    client_as,
    fail_sign_in,
    forget_client,
    grant,
    identity_of,
    send_away,
)

logger = logging.getLogger(__name__)
WITHIN_S = 60.0
KEPT_FOR = timedelta(days=1)  # a sign-in nobody came back from
BATCH = 50
CLIENT_REFUSED = {"invalid_client", "unauthorized_client"}


def group_of(sign_in_id: int) -> str:
    return f"signin.{sign_in_id}"


def prepare(sign_in_id: int) -> None:
    """Where the person is to go. May run twice: the first result counts."""
    sign_in = SignIn.objects.select_related("server", "user").filter(pk=sign_in_id).first()
    if sign_in is None or sign_in.status != SignIn.Status.PREPARING:
        return
    try:
        protection = asyncio.run(_bounded_look(sign_in.url))
        scopes = _scopes(sign_in, protection)
        client = _client(sign_in, protection, scopes)
        state = decrypt(sign_in.secrets_encrypted)["state"]
        errand = sent_to(protection, identity_of(client), sign_in.redirect_uri, scopes, state)
        send_away(sign_in=sign_in, client=client, protection=protection, errand=errand, scopes=scopes)
    except (SignInError, CredentialsLost) as error:
        _failed(sign_in, error)


def finish(sign_in_id: int) -> OAuthGrant | None:
    """Trade the code that was brought back, once. None where there is nothing to trade, or it was refused."""
    sign_in = claim_code(sign_in_id=sign_in_id)
    if sign_in is None:
        return None
    try:
        tokens = asyncio.run(_trade(sign_in))
        return grant(sign_in=sign_in, tokens=tokens)
    except (SignInError, CredentialsLost) as error:
        _failed(sign_in, error)
        return None


def revoke_ended() -> int:
    """Give back the tokens of sign-ins that ended, and forget what nobody came back from. How many were given back?"""
    ended = list(OAuthGrant.objects.ended().select_related("client")[:BATCH])
    asyncio.run(_give_back([each for each in ended if each.revocation_endpoint]))
    OAuthGrant.objects.filter(pk__in=[each.pk for each in ended]).delete()
    SignIn.objects.filter(expires_at__lt=timezone.now() - KEPT_FOR).delete()
    OAuthClient.objects.abandoned().filter(created_at__lt=timezone.now() - KEPT_FOR).delete()
    return len(ended)


async def _give_back(grants: list[OAuthGrant]) -> None:
    with anyio.move_on_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            for each in grants:
                tasks.start_soon(give_back, each)


async def _bounded_look(url: str) -> Protection:
    with anyio.move_on_after(WITHIN_S):
        return await look(url)
    raise SignInError("timeout", "It took too long to find out where one signs in.")


def _client(sign_in: SignIn, protection: Protection, scopes: tuple[str, ...]) -> OAuthClient:
    """As whom: the client staff entered, our own document where that can be read, else one registered for this."""
    known = OAuthClient.objects.known_to(protection.issuer, sign_in.server, sign_in.redirect_uri, scopes).first()
    if known is not None:
        return known
    kind = OAuthClient.Kind.REGISTERED
    if sign_in.metadata_url and protection.metadata.client_id_metadata_document_supported:
        kind, identity = OAuthClient.Kind.DOCUMENT, ClientIdentity(sign_in.metadata_url)
    else:
        identity = asyncio.run(_registered(sign_in, protection, scopes))
    return client_as(sign_in=sign_in, issuer=protection.issuer, identity=identity, kind=kind, scopes=scopes)


async def _registered(sign_in: SignIn, protection: Protection, scopes: tuple[str, ...]) -> ClientIdentity:
    async with opened() as http:
        return await register(http, protection.metadata, sign_in.redirect_uri, scopes)


def _scopes(sign_in: SignIn, protection: Protection) -> tuple[str, ...]:
    """What was granted stays, and what the server asked for since comes to it."""
    before = OAuthGrant.objects.current().filter(
        user=sign_in.user, server=sign_in.server, issuer=protection.issuer, url=sign_in.url
    )
    had = before.values_list("scopes", "wanted_scopes").first() or ([], [])
    return tuple(dict.fromkeys([*had[0], *had[1], *protection.scopes]))


async def _trade(sign_in: SignIn) -> oauth.Tokens:
    kept = decrypt(sign_in.secrets_encrypted)
    assert sign_in.client is not None
    async with opened() as http:
        return await oauth.exchange(
            http,
            sign_in.metadata["token_endpoint"],
            identity_of(sign_in.client),
            code=kept["code"],
            verifier=kept["verifier"],
            redirect_uri=sign_in.redirect_uri,
            resource=sign_in.resource,
        )


def _failed(sign_in: SignIn, error: SignInError | CredentialsLost) -> None:
    told = error if isinstance(error, SignInError) else SignInError("expired", str(error))
    fail_sign_in(sign_in=sign_in, error=told)
    if told.reason in CLIENT_REFUSED and sign_in.client is not None:
        forget_client(client=sign_in.client)


def tell(sign_in_id: int) -> None:
    message = {"type": "sign_in.done"}
    async_to_sync(get_channel_layer().group_send)(group_of(sign_in_id), message)
