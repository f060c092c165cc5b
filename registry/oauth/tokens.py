"""Trade a code, or a refresh token, for tokens; give tokens back (RFC 6749, 7009)."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from mcp.shared.auth import OAuthToken

from registry import outbound
from registry.connectors.openapi.transfer import Answer
from registry.oauth.clients import BASIC, POST, ClientIdentity
from registry.oauth.discovery import scopes_of
from registry.oauth.errors import SignInError
from registry.oauth.http import OK, ask, error_of, parsed

MAX_TOKEN = 16_000
SECRET_FIELDS = ("code", "code_verifier", "refresh_token")
MAX_LIFE_S = 10 * 365 * 24 * 3600
# Refusals after which the same refresh token is worth nothing (RFC 6749, 5.2).
FINAL = {"invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """`life_s` is None where the server does not say how long it takes the access token; `scopes` is empty where they
    are those that were asked for."""

    access: str
    refresh: str
    life_s: int | None
    scopes: tuple[str, ...]


async def exchange(
    http: outbound.Client,
    endpoint: str,
    client: ClientIdentity,
    *,
    code: str,
    verifier: str,
    redirect_uri: str,
    resource: str,
) -> Tokens:
    """Raises SignInError."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "resource": resource,
    }
    return await _asked(http, endpoint, client, form)


async def refresh(
    http: outbound.Client, endpoint: str, client: ClientIdentity, *, refresh_token: str, resource: str
) -> Tokens:
    """The new refresh token takes the old one's place; a server that sends none keeps the old one valid.

    Raises SignInError."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "resource": resource}
    tokens = await _asked(http, endpoint, client, form)
    return tokens if tokens.refresh else Tokens(tokens.access, refresh_token, tokens.life_s, tokens.scopes)


async def revoke(http: outbound.Client, endpoint: str, client: ClientIdentity, token: str, kind: str) -> None:
    """Raises SignInError."""
    form, headers = _as(client, {"token": token, "token_type_hint": kind})
    answer = await ask(http, "POST", endpoint, form=form, headers=headers)
    if answer.status >= 400:
        raise _refused(answer, endpoint, secrets=[token, client.secret])


async def _asked(http: outbound.Client, endpoint: str, client: ClientIdentity, asked: Mapping[str, str]) -> Tokens:
    form, headers = _as(client, asked)
    answer = await ask(http, "POST", endpoint, form=form, headers=headers)
    if answer.status not in OK:
        raise _refused(answer, endpoint, secrets=[*(asked.get(name, "") for name in SECRET_FIELDS), client.secret])
    return _tokens(parsed(OAuthToken, answer, "The token"))


def _tokens(told: OAuthToken) -> Tokens:
    for token in (told.access_token, told.refresh_token or ""):
        if len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise SignInError("invalid", "The token is none that can be sent in a header.")
    if not told.access_token:
        raise SignInError("invalid", "The token is empty.")
    life_s = None if told.expires_in is None else max(0, min(told.expires_in, MAX_LIFE_S))
    return Tokens(told.access_token, told.refresh_token or "", life_s, scopes_of(told.scope))


def _as(client: ClientIdentity, form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The form and headers by which a client says who it is (RFC 6749, 2.3.1)."""
    if client.method == BASIC and client.secret:
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        return dict(form), {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    told = {**form, "client_id": client.client_id}
    return told | ({"client_secret": client.secret} if client.method == POST else {}), {}


def _refused(answer: Answer, endpoint: str, *, secrets: Sequence[str]) -> SignInError:
    """In the words of the authorisation server, unless they repeat what only it may know."""
    host, status = urlsplit(endpoint).hostname, answer.status
    if status >= 500 or status == 429:
        return SignInError("unreachable", f"{host} gives no token now (HTTP {status}): try again later.")
    code, description = error_of(answer)
    if any(secret and secret in code + description for secret in secrets):
        code, description = "", ""
    said = description or code or f"HTTP {status}"
    return SignInError("refused", f"{host} gave no token: {said}.", reason=code or f"http_{status}")
