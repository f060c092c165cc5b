"""Signing in to a server over the API, with a real authorisation server; who may finish what; what is never told."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from registry.credentials import decrypt
from registry.models import Connection, OAuthClient, OAuthGrant, Server, SignIn
from tests.registry.signing_in import allow, finished, sign_in, started

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(toy_oauth) -> Server:
    return Server.objects.create(
        name="Cave", slug="cave", transport="streamable_http", url=toy_oauth.url, visibility="public"
    )


def tokens_of(user) -> dict[str, str]:
    return decrypt(OAuthGrant.objects.current().get(user=user).tokens_encrypted)


def test_a_test_of_the_connection_finds_out_where_one_signs_in(api, probe_worker, server, toy_oauth):
    found = api.post("/registry/cave/healthcheck").json()
    assert found["health"] == "needs_auth"
    assert "Sign in at 127.0.0.1" in found["detail"]
    told = api.get("/registry/cave/oauth").json()
    assert told == {"issuer": f"{toy_oauth.base}/as", "scopes": ["read"], "problem": "", "signed_in": None}


def test_a_person_is_sent_with_pkce_a_state_and_the_resource(api, probe_worker, server, toy_oauth):
    told = started(api, server)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(told["authorization_url"]).query).items()}
    assert told["authorization_url"].startswith(f"{toy_oauth.base}/as/authorize?")
    assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43
    assert (asked["resource"], asked["scope"], asked["state"]) == (toy_oauth.url, "read", told["state"])
    assert told["redirect_uri"] == asked["redirect_uri"] == "http://testserver/oauth/callback"


def test_whoever_comes_back_is_signed_in_and_sees_the_tools(api, probe_worker, server, toy_oauth):
    connection = sign_in(api, server)
    assert connection["oauth"]["issuer"] == f"{toy_oauth.base}/as"
    assert connection["oauth"]["scopes"] == ["read"]
    assert connection["oauth"]["expires_at"] > timezone.now().isoformat()
    assert connection["health"] == "ok"
    assert [tool["name"] for tool in api.get("/registry/cave/tools").json()["results"]] == ["secret"]


def test_a_tool_is_called_with_the_token(api, probe_worker, server, toy_oauth):
    sign_in(api, server)
    api.put("/registry/cave/connection", {"tools": "all"})
    answer = api.post("/registry/cave/tools/secret/call", {})
    assert answer.json()["content"][0]["text"] == "the cave is open", answer.content
