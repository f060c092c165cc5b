"""Where one signs in to a server: its own metadata (RFC 9728), then its authorisation server's (RFC 8414, OIDC)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp.client.auth.exceptions import OAuthFlowError
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    issuers_match,
    validate_metadata_issuer,
)
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url
from mcp_types import LATEST_PROTOCOL_VERSION

from registry import outbound
from registry.connectors.errors import quoted
from registry.connectors.openapi.transfer import Answer
from registry.oauth.errors import SignInError
from registry.oauth.http import ask, check_named, opened, parsed

MAX_SCOPES = 100
OFFLINE = "offline_access"
VERSION = {"mcp-protocol-version": LATEST_PROTOCOL_VERSION}
NOT_OFFERED = "The server does not say where one signs in: enter a token by hand, if it gave you one."
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")  # RFC 6749, 3.3
_PARAMETER = re.compile(r"""([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))""")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 or 403 says in WWW-Authenticate, as far as it concerns signing in."""

    error: str = ""
    resource_metadata: str = ""
    scopes: tuple[str, ...] = ()

    @classmethod
    def of(cls, header: str) -> "Challenge":
        told = {name.lower(): quoted_ or plain for name, quoted_, plain in _PARAMETER.findall(header[:8_000])}
        return cls(told.get("error", ""), told.get("resource_metadata", ""), scopes_of(told.get("scope", "")))


def scopes_of(text: str | None) -> tuple[str, ...]:
    """The scopes in a space-separated list, each once; what is no scope is left out."""
    return valid_scopes((text or "").split())


def valid_scopes(names: Iterable[Any]) -> tuple[str, ...]:
    valid = [name for name in names if isinstance(name, str) and _SCOPE.fullmatch(name)]
    return tuple(dict.fromkeys(valid))[:MAX_SCOPES]


@dataclass(frozen=True, slots=True)
class Protection:
    """How a server is signed in to: where, for which resource (RFC 8707), and the scopes to ask for."""

    url: str
    resource: str
    metadata: OAuthMetadata
    scopes: tuple[str, ...]

    @property
    def issuer(self) -> str:
        return str(self.metadata.issuer)


async def look(url: str, challenge: Challenge | None = None) -> Protection:
    """The server is asked first, where what it says to strangers is not known. Raises SignInError."""
    async with opened() as http:
        return await discover(http, url, challenge or await challenge_of(http, url))


async def discover(http: outbound.Client, url: str, challenge: Challenge) -> Protection:
    """Raises SignInError."""
    found = await _resource(http, url, challenge)
    metadata = await _authorisation_server(http, url, found)
    _check(metadata, url)
    resource = str(found.resource) if found else resource_url_from_server_url(url)
    return Protection(url, resource, metadata, _scopes(challenge, found, metadata))


async def challenge_of(http: outbound.Client, url: str) -> Challenge:
    """What the server says to somebody who is not signed in; nothing where it does not mind, or is not there."""
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"accept": "application/json, text/event-stream"}
    answer = await ask(http, "POST", url, headers=VERSION | accept, json=hello)
    if answer.status == 405:  # SSE is opened by a GET; one that lets us in would not end
        answer = await ask(http, "HEAD", url, headers=accept)
    return Challenge.of(answer.headers.get("www-authenticate", "")) if answer.status in {401, 403} else Challenge()


async def _resource(http: outbound.Client, url: str, challenge: Challenge) -> ProtectedResourceMetadata | None:
    """The server's own metadata; None where it publishes none. An address that it names must work."""
    failed: SignInError | None = None
    for place in build_protected_resource_metadata_discovery_urls(challenge.resource_metadata or None, url):
        check_named(place, by=url)
        answer = await ask(http, "GET", place, headers=VERSION)
        if answer.status == 200 and (found := _read(answer)) is not None:
            _check_resource(found, url)
            return found
        if answer.status >= 500 or answer.status == 429:
            failed = SignInError("unreachable", f"{_host(place)} does not tell now where one signs in to it.")
    if failed:
        raise failed
    return None


def _read(answer: Answer) -> ProtectedResourceMetadata | None:
    """None for a page that a server has in place of everything it does not know."""
    if answer.content_type == "text/html":
        return None
    return parsed(ProtectedResourceMetadata, answer, "What the server says of signing in")


def _check_resource(found: ProtectedResourceMetadata, url: str) -> None:
    """Metadata of another server would send this one tokens that are meant for that."""
    if not check_resource_allowed(resource_url_from_server_url(url), str(found.resource)):
        message = f"Its metadata is that of another server, {quoted(found.resource)}."
        raise SignInError("invalid", message)


async def _authorisation_server(
    http: outbound.Client, url: str, found: ProtectedResourceMetadata | None
) -> OAuthMetadata:
    """Of the first server that the resource names; a server that names none may be one itself (MCP 2025-03-26)."""
    named = str(found.authorization_servers[0]) if found else None
    for place in build_oauth_authorization_server_metadata_discovery_urls(named, url):
        check_named(place, by=url)
        answer = await ask(http, "GET", place, headers=VERSION)
        if answer.status == 200 and answer.content_type != "text/html":
            metadata = parsed(OAuthMetadata, answer, f"What {_host(place)} says of itself")
            _check_issuer(metadata, named or _origin(url), is_named=named is not None)
            return metadata
        if answer.status >= 500 or answer.status == 429:
            raise SignInError("unreachable", f"{_host(place)} failed (HTTP {answer.status}): try again later.")
    if named is None:
        raise SignInError("not_offered", NOT_OFFERED)
    raise SignInError("invalid", f"{_host(named)} should be where one signs in, but publishes nothing about it.")


def _check_issuer(metadata: OAuthMetadata, expected: str, *, is_named: bool) -> None:
    if not is_named and issuers_match(str(metadata.issuer), expected):
        return
    try:
        validate_metadata_issuer(metadata, expected)
    except OAuthFlowError as error:
        message = f"{quoted(expected)} calls itself {quoted(metadata.issuer)}: it may stand in for another server."
        raise SignInError("invalid", message) from error


def _check(metadata: OAuthMetadata, url: str) -> None:
    """Endpoints we would go to, or send a person to; and PKCE, without which a stolen code is a stolen account."""
    endpoints = [metadata.authorization_endpoint, metadata.token_endpoint]
    endpoints += filter(None, [metadata.registration_endpoint, metadata.revocation_endpoint])
    for endpoint in endpoints:
        check_named(str(endpoint), by=url)
    if "S256" not in (metadata.code_challenge_methods_supported or []):
        message = f"{_host(str(metadata.issuer))} does not protect sign-ins by PKCE with S256, so we do not use it."
        raise SignInError("invalid", message)


def _scopes(challenge: Challenge, found: ProtectedResourceMetadata | None, metadata: OAuthMetadata) -> tuple[str, ...]:
    """What the server asked for, else all that it knows; and what makes a sign-in last, where that is a scope."""
    asked = challenge.scopes or valid_scopes((found and found.scopes_supported) or ())
    lasting = OFFLINE in (metadata.scopes_supported or [])
    return valid_scopes([*asked, OFFLINE]) if asked and lasting else asked


def _origin(url: str) -> str:
    parts = httpx2.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


def _host(url: str) -> str:
    return httpx2.URL(url).host
