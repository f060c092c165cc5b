"""The address at which a person signs in, and what they bring back from there (RFC 6749, 7636, 8707, 9207)."""

import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mcp.client.auth.exceptions import OAuthFlowError
from mcp.client.auth.oauth2 import PKCEParameters
from mcp.client.auth.utils import validate_authorization_response_iss
from mcp.shared.auth import OAuthMetadata

from registry.connectors.errors import quoted
from registry.oauth.clients import ClientIdentity
from registry.oauth.discovery import OFFLINE, Protection
from registry.oauth.errors import SignInError


@dataclass(frozen=True, slots=True)
class Errand:
    """What is remembered while the person is away; `state` and `verifier` are secrets."""

    url: str
    state: str
    verifier: str


def sent_to(
    protection: Protection, client: ClientIdentity, redirect_uri: str, scopes: tuple[str, ...], state: str = ""
) -> Errand:
    """Always with PKCE; with the resource the token is for, and with a state that nobody can guess."""
    pkce = PKCEParameters.generate()
    state = state or secrets.token_urlsafe(32)
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": pkce.code_challenge,
        "code_challenge_method": "S256",
        "resource": protection.resource,
    }
    if scopes:
        asked["scope"] = " ".join(scopes)
    if OFFLINE in scopes:
        asked["prompt"] = "consent"  # OpenID Connect gives no lasting sign-in without
    return Errand(_with(str(protection.metadata.authorization_endpoint), asked), state, pkce.code_verifier)


def check_answer(metadata: OAuthMetadata, *, iss: str | None, error: str = "", description: str = "") -> None:
    """Is it this authorisation server that answers, and does it say yes? Raises SignInError."""
    try:
        validate_authorization_response_iss(iss, metadata)
    except OAuthFlowError as wrong:
        message = f"The answer does not come from {metadata.issuer.host}, where the sign-in began: it was not used."
        raise SignInError("invalid", message) from wrong
    if error:
        said = quoted(description) or quoted(error)
        raise SignInError("refused", f"{metadata.issuer.host} did not sign you in: {said}.", reason=quoted(error))


def _with(endpoint: str, asked: dict[str, str]) -> str:
    """The endpoint's own query is kept, but for what we ask ourselves."""
    parts = urlsplit(endpoint)
    own = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in asked]
    return urlunsplit(parts._replace(query=urlencode([*own, *asked.items()]), fragment=""))
