"""Where one signs in, as hostile servers tell it; and what comes back from there."""

import asyncio

import pytest
from mcp.shared.auth import OAuthMetadata

from registry.oauth.authorization import check_answer
from registry.oauth.discovery import Challenge, look
from registry.oauth.errors import SignInError

HOSTILE = {
    "metadata of the server at a cloud's address": (
        {"challenge": 'Bearer resource_metadata="http://169.254.169.254/latest/meta-data"'},
        "blocked",
    ),
    "an authorisation server at a cloud's address": (
        {"resource": {"authorization_servers": ["http://169.254.169.254/"]}},
        "blocked",
    ),
    "a token endpoint inside": ({"server": {"token_endpoint": "http://10.0.0.1/token"}}, "blocked"),
    "a registration inside": ({"server": {"registration_endpoint": "http://[fd00::1]/"}}, "blocked"),
    "a page to sign in at inside": ({"server": {"authorization_endpoint": "http://192.168.0.1/"}}, "blocked"),
    "metadata that lead elsewhere": ({"redirect_metadata": "http://169.254.169.254/"}, "not_offered"),
    "metadata of another server": ({"resource": {"resource": "https://bank.example/mcp"}}, "invalid"),
    "an issuer that is another": ({"server": {"issuer": "https://bank.example"}}, "invalid"),
    "no PKCE": ({"server": {"code_challenge_methods_supported": None}}, "invalid"),
    "only plain PKCE": ({"server": {"code_challenge_methods_supported": ["plain"]}}, "invalid"),
    "a script to sign in at": ({"server": {"authorization_endpoint": "javascript:alert(1)"}}, "invalid"),
    "1 MB of metadata": ({"padding": 1_000_000}, "too_large"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_who_misleads_is_not_followed(toy_oauth, case):
    changes, code = HOSTILE[case]
    toy_oauth.post("/tweak", changes)
    with pytest.raises(SignInError) as refused:
        asyncio.run(look(toy_oauth.url))
    assert refused.value.code == code, refused.value.message


def test_what_is_asked_for_lasts_where_the_authorisation_server_can_do_that(toy_oauth):
    toy_oauth.post("/tweak", {"server": {"scopes_supported": ["read", "offline_access"]}})
    assert asyncio.run(look(toy_oauth.url)).scopes == ("read", "offline_access")


def test_a_secure_server_may_not_name_an_insecure_place(toy_oauth):
    challenge = Challenge(resource_metadata=f"{toy_oauth.base}/.well-known/oauth-protected-resource/mcp")
    with pytest.raises(SignInError, match="not https"):
        asyncio.run(look("https://127.0.0.1:9/mcp", challenge))


METADATA = OAuthMetadata.model_validate(
    {
        "issuer": "https://as.example",
        "authorization_endpoint": "https://as.example/authorize",
        "token_endpoint": "https://as.example/token",
        "authorization_response_iss_parameter_supported": True,
    }
)


@pytest.mark.parametrize("iss", ["https://evil.example", None, "https://as.example/", "https://AS.example"])
def test_an_answer_of_another_issuer_counts_for_nothing(iss):
    with pytest.raises(SignInError, match=r"does not come from as\.example"):
        check_answer(METADATA, iss=iss)


def test_an_answer_of_the_same_issuer_is_taken():
    check_answer(METADATA, iss="https://as.example")


CHALLENGES = {
    'Bearer error="insufficient_scope", scope="a b", resource_metadata="https://x.example/p"': ("a", "b"),
    "Bearer scope=a": ("a",),
    'Bearer scope="a \x07 \u00e9 b"': ("a", "b"),
    "Basic": (),
}


@pytest.mark.parametrize("header", CHALLENGES)
def test_scopes_are_read_from_a_challenge(header):
    assert Challenge.of(header).scopes == CHALLENGES[header]
