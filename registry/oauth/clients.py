"""As whom we are known to an authorisation server: given by staff, by our own document, or registered there."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata

from registry import outbound
from registry.oauth.errors import SignInError
from registry.oauth.http import OK, ask, error_of, parsed

NAME = "MCP Registry"
BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
METHODS = (BASIC, POST, NONE)  # the one that is preferred first
MAX_FIELD = 4_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """`secret` is "" with the method none. `expires_at`: seconds since 1970, 0 for never."""

    client_id: str
    secret: str = ""
    method: str = NONE
    expires_at: int = 0


def described(redirect_uri: str) -> dict[str, Any]:
    """What we say of ourselves (RFC 7591), in a registration and in our own document alike."""
    is_native = urlsplit(redirect_uri).hostname in LOOPBACK
    return {
        "client_name": NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native" if is_native else "web",
    }


async def register(
    http: outbound.Client, metadata: OAuthMetadata, redirect_uri: str, scopes: tuple[str, ...]
) -> ClientIdentity:
    """Raises SignInError."""
    host = metadata.issuer.host
    if metadata.registration_endpoint is None:
        message = f"{host} knows only clients that were entered there by hand, and none was for this registry."
        raise SignInError("no_client", message)
    wanted = described(redirect_uri) | {"token_endpoint_auth_method": _best_method(metadata)}
    if scopes:
        wanted["scope"] = " ".join(scopes)
    answer = await ask(http, "POST", str(metadata.registration_endpoint), json=wanted)
    if answer.status not in OK:
        code, description = error_of(answer)
        said = f" ({description or code})" if description or code else ""
        raise SignInError("refused", f"{host} did not register us: HTTP {answer.status}{said}.", reason=code)
    return _identity(parsed(OAuthClientInformationFull, answer, f"The registration at {host}"), str(host), wanted)


def _identity(told: OAuthClientInformationFull, host: str, wanted: dict[str, Any]) -> ClientIdentity:
    """An authorisation server may change what we asked for; what we cannot do then is no registration."""
    method = told.token_endpoint_auth_method or wanted["token_endpoint_auth_method"]
    secret = told.client_secret or ""
    if method not in METHODS or (method != NONE and not secret) or len(told.client_id + secret) > MAX_FIELD:
        raise SignInError("invalid", f"{host} registered us in a way that we cannot sign in with.")
    return ClientIdentity(told.client_id, "" if method == NONE else secret, method, told.client_secret_expires_at or 0)


def _best_method(metadata: OAuthMetadata) -> str:
    known = metadata.token_endpoint_auth_methods_supported or [BASIC]  # RFC 8414, 2
    return next((method for method in METHODS if method in known), NONE)
