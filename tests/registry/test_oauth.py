"""Signing in to a server over the API, with a real authorisation server; who may finish what; what is never told."""

import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from registry.credentials import decrypt
from registry.jobs import revoke_grants
from registry.models import Connection, OAuthClient, OAuthGrant, Server, SignIn
from tests.registry.signing_in import allow, finished, sign_in, started

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.thorough]


@pytest.fixture
def server(toy_oauth) -> Server:
    return Server.objects.create(
        name="Cave", slug="cave", transport="streamable_http", url=toy_oauth.url, visibility="public"
    )


def tokens_of(user) -> dict[str, str]:
    return decrypt(OAuthGrant.objects.current().get(user=user).tokens_encrypted)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
    assert answer.status_code == 200, answer.content
    assert answer.json()["content"][0]["text"] == "the cave is open"


def test_in_a_browser_the_callback_page_finishes_it(web, alice, probe_worker, server, toy_oauth):
    page = web.post("/servers/cave/oauth/start")
    link = page.context["url"]
    assert b"Go on to 127.0.0.1" in page.content
    back = web.get("/oauth/callback", allow(link), follow=True)
    assert back.redirect_chain == [("/servers/cave#authorise", 302)]
    assert "You are signed in at" in back.content.decode()
    assert Connection.objects.get(user=alice).health == "ok"


def test_what_was_brought_back_counts_once(api, probe_worker, server, toy_oauth):
    answer = allow(started(api, server)["authorization_url"])
    assert finished(api, server, answer).status_code == 200
    again = finished(api, server, answer)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "expired")
    assert len(toy_oauth.get("/seen")["token"]) == 1


def test_another_person_cannot_finish_it_and_does_not_spoil_it(api, bob_api, probe_worker, server):
    answer = allow(started(api, server)["authorization_url"])
    assert finished(bob_api, server, answer).status_code == 409
    assert OAuthGrant.objects.count() == 0
    assert finished(api, server, answer).status_code == 200


def test_another_browser_of_the_same_person_cannot_finish_it(web, api, probe_worker, server):
    answer = allow(web.post("/servers/cave/oauth/start").context["url"])
    assert finished(api, server, answer).status_code == 409
    assert web.get("/oauth/callback", answer).headers["location"] == "/servers/cave#authorise"


def test_a_code_of_another_person_is_worth_nothing(api, bob_api, bob, probe_worker, server):
    stolen = allow(started(api, server)["authorization_url"])
    own = started(bob_api, server)
    response = finished(bob_api, server, stolen | {"state": own["state"]})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "refused")
    assert "invalid_grant" in response.json()["error"]["message"]
    assert not OAuthGrant.objects.filter(user=bob).exists()


def test_one_who_took_too_long_begins_again(api, probe_worker, server):
    answer = allow(started(api, server)["authorization_url"])
    SignIn.objects.update(expires_at=timezone.now())
    assert finished(api, server, answer).status_code == 409


def test_an_answer_of_another_issuer_is_not_used(api, probe_worker, server, toy_oauth):
    toy_oauth.post("/tweak", {"iss": "https://evil.example"})
    response = finished(api, server, allow(started(api, server)["authorization_url"]))
    assert (response.status_code, response.json()["error"]["code"]) == (409, "invalid")
    assert toy_oauth.get("/seen")["token"] == []


def test_who_was_refused_there_is_told_so(api, probe_worker, server):
    state = started(api, server)["state"]
    issuer = SignIn.objects.get().issuer
    answer = {"state": state, "iss": issuer, "error": "access_denied", "error_description": "not <you>"}
    response = finished(api, server, answer)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "refused")
    assert "not <you>" in response.json()["error"]["message"]


def test_who_misleads_gets_nobody(api, probe_worker, server, toy_oauth):
    toy_oauth.post("/tweak", {"challenge": 'Bearer resource_metadata="http://169.254.169.254/latest/meta-data"'})
    response = api.post("/registry/cave/oauth/start")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "blocked"), response.content
    assert toy_oauth.get("/seen")["register"] == []


def test_a_server_without_a_sign_in_says_so(api, probe_worker, toy_auth):
    address = {"transport": "streamable_http", "url": toy_auth.url}
    Server.objects.create(name="T", slug="t", visibility="public", **address)
    response = api.post("/registry/t/oauth/start")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "not_offered")


def test_a_client_that_staff_entered_is_used_instead_of_a_registration(api, probe_worker, server, toy_oauth):
    toy_oauth.post("/tweak", {"server": {"registration_endpoint": None}})
    assert api.post("/registry/cave/oauth/start").json()["error"]["code"] == "no_client"
    OAuthClient.objects.create(server=server, issuer=f"{toy_oauth.base}/as", client_id="by-hand", method="none")
    told = started(api, server)
    assert "client_id=by-hand" in told["authorization_url"]


def test_what_changed_its_issuer_gets_no_old_token(api, alice, probe_worker, server, toy_oauth):
    old = sign_in(api, server) and tokens_of(alice)["access"]
    toy_oauth.post("/expire")
    other = toy_oauth.base.replace("127.0.0.1", "localhost")
    named = {"authorization_servers": [f"{other}/as"]}
    toy_oauth.post("/tweak", {"resource": named, "server": {"issuer": f"{other}/as"}})
    OAuthGrant.objects.update(problem="gone")
    api.post("/registry/cave/healthcheck")
    OAuthGrant.objects.update(problem="")
    assert api.get("/registry/cave/connection").json()["oauth"] is None
    before = len(toy_oauth.get("/seen")["authorization"])
    api.post("/registry/cave/healthcheck")
    assert not any(old in sent for sent in toy_oauth.get("/seen")["authorization"][before:])


def test_a_server_that_moved_gets_no_old_token(api, alice, probe_worker, server, toy_oauth):
    sign_in(api, server)
    Server.objects.update(url=toy_oauth.url.replace("127.0.0.1", "localhost"))
    assert api.get("/registry/cave/connection").json()["oauth"] is None
    assert api.post("/registry/cave/healthcheck").json()["health"] == "needs_auth"


def test_more_permissions_are_asked_for_in_words_and_added_to_those_there_are(api, probe_worker, server, toy_oauth):
    sign_in(api, server)
    toy_oauth.post("/tweak", {"scope": "write"})
    found = api.post("/registry/cave/healthcheck").json()
    assert found["health"] == "needs_auth"
    assert "more permissions" in found["detail"]
    assert "write" in api.get("/registry/cave/oauth").json()["problem"]
    assert sign_in(api, server)["oauth"]["scopes"] == ["read", "write"]
    assert api.post("/registry/cave/healthcheck").json()["health"] == "ok"


@pytest.mark.parametrize("way", ["connection", "oauth", "server"])
def test_who_parts_gives_the_tokens_back(api, alice, probe_worker, server, toy_oauth, way):
    sign_in(api, server)
    Server.objects.update(owner=alice)
    path = "/registry/cave" if way == "server" else f"/registry/cave/{way}"
    assert api.delete(path).status_code == 204
    until(lambda: not OAuthGrant.objects.exists())
    seen = toy_oauth.get("/seen")
    assert (seen["access"], seen["refresh"]) == ([], [])


def test_a_user_who_is_deleted_leaves_no_token(api, alice, probe_worker, server, toy_oauth):
    sign_in(api, server)
    alice.delete()
    revoke_grants()
    assert toy_oauth.get("/seen")["refresh"] == []
    assert not OAuthGrant.objects.exists()


def test_no_secret_is_told_or_logged(api, web, alice, probe_worker, server, toy_oauth, caplog):
    caplog.set_level("INFO")  # deeper, the client that plays the browser tells what it was sent
    told = started(api, server)
    answer = allow(told["authorization_url"])
    finished(api, server, answer)
    secrets = [*tokens_of(alice).values(), answer["code"], toy_oauth.get("/seen")["token"][0]["code_verifier"]]
    assert len(secrets) == 4
    pages = [web.get("/servers/cave"), *(api.get(f"/registry/cave{path}") for path in ("", "/connection", "/oauth"))]
    shown = "".join(page.content.decode() for page in pages) + caplog.text
    assert [secret for secret in secrets if secret in shown] == []


def test_an_error_that_repeats_a_secret_is_not_passed_on(api, probe_worker, server, toy_oauth):
    answer = allow(started(api, server)["authorization_url"])
    said = {"error": "invalid_grant", "error_description": f"bad {answer['code']}"}
    toy_oauth.post("/tweak", {"refusal": [400, said]})
    response = finished(api, server, answer)
    assert response.status_code == 409
    assert answer["code"] not in response.content.decode()
