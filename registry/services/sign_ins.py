"""A person's way to an authorisation server and back, as it is written down; and what came of it."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from registry.connectors.tools import storable
from registry.credentials import decrypt, encrypt
from registry.models import Connection, OAuthClient, OAuthGrant, Server, ServerProtection, SignIn
from registry.oauth.authorization import Errand
from registry.oauth.clients import NONE, ClientIdentity
from registry.oauth.discovery import Protection
from registry.oauth.errors import SignInError
from registry.oauth.tokens import Tokens
from registry.services.connections import reset_health
from registry.services.grants import columns_of, end_grants

BY_ADDRESS = (Server.Transport.STREAMABLE_HTTP, Server.Transport.SSE)
UNKNOWN = "This sign-in is not known here, was used already, or took too long: begin again on the server's page."


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""


def note_protection(*, server: Server, protection: Protection | None, problem: str = "") -> None:
    """What the server says now of where one signs in; a problem that may pass leaves what is known."""
    told = {
        "url": server.url,
        "issuer": storable(protection.issuer) if protection else "",
        "scopes": list(protection.scopes) if protection else [],
        "problem": storable(problem),
        "seen_at": timezone.now(),
    }
    ServerProtection.objects.update_or_create(server=server, defaults=told)


def begin_sign_in(
    *, user: User, server: Server, redirect_uri: str, metadata_url: str = "", session: str = ""
) -> SignIn:
    """Where it leads to is for a worker to find out. Raises SignInError."""
    if server.transport not in BY_ADDRESS:
        raise SignInError("not_offered", "Only MCP servers at an address have a sign-in of this kind.")
    state = secrets.token_urlsafe(32)
    return SignIn.objects.create(
        user=user,
        server=server,
        url=server.url,
        session_hash=hash_of(session),
        state_hash=hash_of(state),
        redirect_uri=redirect_uri,
        metadata_url=metadata_url,
        secrets_encrypted=encrypt({"state": state}),
    )


def client_as(
    *, sign_in: SignIn, issuer: str, identity: ClientIdentity, kind: OAuthClient.Kind, scopes: Sequence[str]
) -> OAuthClient:
    return OAuthClient.objects.create(
        server=sign_in.server,
        issuer=issuer,
        redirect_uri=sign_in.redirect_uri,
        kind=kind,
        client_id=identity.client_id,
        method=identity.method,
        scopes=list(scopes),
        secret_encrypted=encrypt({"secret": identity.secret} if identity.secret else {}),
        expires_at=identity.expires_at,
    )


def identity_of(client: OAuthClient) -> ClientIdentity:
    secret = decrypt(client.secret_encrypted).get("secret", "")
    return ClientIdentity(client.client_id, secret, client.method if secret else NONE, client.expires_at)


def forget_client(*, client: OAuthClient) -> None:
    """The authorisation server does not know it any more: the next sign-in registers anew."""
    if client.kind == OAuthClient.Kind.REGISTERED:
        OAuthClient.objects.filter(pk=client.pk).update(expires_at=1)


def send_away(*, sign_in: SignIn, client: OAuthClient, protection: Protection, errand: Errand, scopes: Any) -> None:
    """The person may go now."""
    with transaction.atomic():
        note_protection(server=sign_in.server, protection=protection)
        SignIn.objects.filter(pk=sign_in.pk, status=SignIn.Status.PREPARING).update(
            status=SignIn.Status.AWAY,
            client=client,
            metadata=protection.metadata.model_dump(mode="json", exclude_none=True),
            resource=protection.resource,
            scopes=list(scopes),
            secrets_encrypted=encrypt({"state": errand.state, "url": errand.url, "verifier": errand.verifier}),
        )


def fail_sign_in(*, sign_in: SignIn, error: SignInError) -> None:
    SignIn.objects.filter(pk=sign_in.pk).exclude(status=SignIn.Status.DONE).update(
        status=SignIn.Status.FAILED, code=error.code, problem=storable(error.message), secrets_encrypted=b""
    )


def take_answer(*, user: User, state: str, session: str, code: str, server: Server | None = None) -> SignIn:
    """What somebody brought back, once: the same person, in the same browser where it began in one.

    Raises SignInError, and then nothing was used up."""
    sign_in = sign_in_with(user=user, state=state)
    if sign_in is None or not _may_return(sign_in, session, server):
        raise SignInError("expired", UNKNOWN)
    kept = decrypt(sign_in.secrets_encrypted) | {"code": code}
    claimed = SignIn.objects.filter(pk=sign_in.pk, status=SignIn.Status.AWAY).update(
        status=SignIn.Status.RETURNED, secrets_encrypted=encrypt(kept)
    )
    if not claimed:
        raise SignInError("expired", UNKNOWN)
    return sign_in


def _may_return(sign_in: SignIn, session: str, server: Server | None) -> bool:
    is_here = sign_in.session_hash in {"", hash_of(session)} and server in {None, sign_in.server}
    return is_here and sign_in.expires_at > timezone.now() and sign_in.url == sign_in.server.url


def sign_in_with(*, user: User, state: str) -> SignIn | None:
    return SignIn.objects.filter(state_hash=hash_of(state), user=user).select_related("server").first()


def claim_code(*, sign_in_id: int) -> SignIn | None:
    """A code is traded once, whoever asks how often."""
    claimed = SignIn.objects.filter(pk=sign_in_id, status=SignIn.Status.RETURNED).update(status=SignIn.Status.TRADING)
    return SignIn.objects.select_related("server", "client", "user").get(pk=sign_in_id) if claimed else None


def grant(*, sign_in: SignIn, tokens: Tokens) -> OAuthGrant:
    """Takes the place of what was granted before, and is tried at once."""
    assert sign_in.client is not None
    with transaction.atomic():
        Connection.objects.get_or_create(user=sign_in.user, server=sign_in.server, defaults={"all_tools": False})
        connection = Connection.objects.select_for_update().get(user=sign_in.user, server=sign_in.server)
        end_grants(OAuthGrant.objects.filter(user=sign_in.user, server=sign_in.server))
        made = OAuthGrant(
            user=sign_in.user,
            server=sign_in.server,
            client=sign_in.client,
            issuer=sign_in.issuer,
            url=sign_in.url,
            resource=sign_in.resource,
            token_endpoint=sign_in.metadata["token_endpoint"],
            revocation_endpoint=sign_in.metadata.get("revocation_endpoint", ""),
            scopes=sign_in.scopes,
        )
        for name, value in columns_of(tokens, made.scopes, timezone.now()).items():
            setattr(made, name, value)
        made.save()
        reset_health(connection)
        connection.save()
        SignIn.objects.filter(pk=sign_in.pk).update(status=SignIn.Status.DONE, secrets_encrypted=b"")
    return made
