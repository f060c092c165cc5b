"""The token that goes along: renewed before it expires and when it is refused, by one process at a time."""

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from registry.bearers import StoredBearer
from registry.connectors import ConnectorError
from registry.credentials import decrypt, encrypt
from registry.models import Connection, OAuthClient, OAuthGrant, Server, ServerProtection
from registry.probes import probe
from tests.registry.signing_in import register_client, tokens_given

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.thorough]


@pytest.fixture
def grant(alice, toy_oauth) -> OAuthGrant:
    """Alice signed in at the toy before; her access token is due."""
    server = Server.objects.create(name="Cave", slug="cave", transport="streamable_http", url=toy_oauth.url)
    issuer = f"{toy_oauth.base}/as"
    ServerProtection.objects.create(server=server, url=server.url, issuer=issuer)
    Connection.objects.create(user=alice, server=server)
    known = register_client(toy_oauth)
    client = OAuthClient.objects.create(
        server=server,
        issuer=issuer,
        kind="registered",
        client_id=known["client_id"],
        secret_encrypted=encrypt({"secret": known["client_secret"]}),
    )
    return OAuthGrant.objects.create(
        user=alice,
        server=server,
        client=client,
        issuer=issuer,
        url=server.url,
        resource=server.url,
        token_endpoint=f"{issuer}/token",
        revocation_endpoint=f"{issuer}/revoke",
        scopes=["read"],
        tokens_encrypted=encrypt(tokens_given(toy_oauth, known)),
        expires_at=timezone.now() + timedelta(seconds=30),
        refresh_at=timezone.now() - timedelta(seconds=1),
        refreshed_at=timezone.now() - timedelta(hours=1),
    )


def token(grant: OAuthGrant, **arguments: str) -> str:
    return asyncio.run(StoredBearer(grant.pk).token(**arguments))


def stored(grant: OAuthGrant) -> dict[str, str]:
    grant.refresh_from_db()
    return decrypt(grant.tokens_encrypted)


def not_due(grant: OAuthGrant) -> None:
    OAuthGrant.objects.update(refresh_at=timezone.now() + timedelta(hours=1), expires_at=None)


def test_it_is_renewed_before_it_expires_and_the_new_refresh_token_is_kept(grant, toy_oauth):
    before = stored(grant)
    assert token(grant) == stored(grant)["access"] != before["access"]
    assert stored(grant)["refresh"] != before["refresh"]
    assert grant.expires_at > timezone.now() + timedelta(minutes=50)


def test_until_then_nobody_is_asked(grant, toy_oauth):
    not_due(grant)
    assert token(grant) == stored(grant)["access"]
    assert toy_oauth.get("/seen")["token"] == []


def test_two_runs_at_once_spend_one_refresh_token_once(grant, toy_oauth):
    async def both() -> list[str]:
        return await asyncio.gather(*(StoredBearer(grant.pk).token() for _ in range(8)))

    assert set(asyncio.run(both())) == {stored(grant)["access"]}
    seen = toy_oauth.get("/seen")
    assert (len(seen["token"]), seen["theft"]) == (1, 0)


def test_what_the_server_refuses_is_renewed_once(grant, toy_oauth):
    not_due(grant)
    toy_oauth.post("/expire")
    outcome = asyncio.run(probe(grant.server, {}, bearer=StoredBearer(grant.pk)))
    assert outcome.health == "ok", outcome.detail
    assert len(toy_oauth.get("/seen")["token"]) == 1


def test_a_server_that_refuses_every_token_does_not_spend_them_all(grant, toy_oauth):
    first = token(grant)
    assert token(grant, refused=first) == first
    assert len(toy_oauth.get("/seen")["token"]) == 1


def test_a_refused_renewal_asks_the_user_and_leaves_the_connection(grant, toy_oauth):
    toy_oauth.post("/tweak", {"refusal": [400, {"error": "invalid_grant", "error_description": "too old"}]})
    with pytest.raises(ConnectorError, match=r"too old.*Sign in again") as refused:
        token(grant)
    assert refused.value.code == "needs_auth"
    assert Connection.objects.get().health == "needs_auth"
    assert stored(grant) == {}
    with pytest.raises(ConnectorError, match="Sign in again"):
        token(grant)
    assert len(toy_oauth.get("/seen")["token"]) == 1


def test_an_authorisation_server_that_is_down_ends_nothing(grant, toy_oauth):
    toy_oauth.post("/tweak", {"refusal": [503, {}]})
    with pytest.raises(ConnectorError) as failed:
        token(grant)
    assert (failed.value.code, failed.value.sent) == ("unreachable", False)
    toy_oauth.post("/tweak", {"refusal": None})
    assert token(grant) == stored(grant)["access"]


def test_a_client_that_was_forgotten_there_is_registered_anew(grant, toy_oauth):
    OAuthClient.objects.update(client_id="unknown")
    with pytest.raises(ConnectorError) as refused:
        token(grant)
    assert refused.value.code == "needs_auth"
    assert not OAuthClient.objects.known_to(grant.issuer, grant.server, "").exists()


def test_who_signed_out_meanwhile_sends_no_token(grant):
    OAuthGrant.objects.update(ended_at=timezone.now())
    with pytest.raises(ConnectorError, match="ended") as refused:
        token(grant)
    assert refused.value.code == "needs_auth"


def test_a_token_that_cannot_be_renewed_is_used_until_it_expires(grant):
    OAuthGrant.objects.update(tokens_encrypted=encrypt({"access": "a", "refresh": ""}))
    assert token(grant) == "a"
    OAuthGrant.objects.update(expires_at=timezone.now())
    with pytest.raises(ConnectorError, match="expired"):
        token(grant)


def test_a_renewal_whose_process_died_is_tried_again_when_its_lease_is_over(grant, toy_oauth):
    OAuthGrant.objects.update(refreshing_until=timezone.now() + timedelta(seconds=0.5))
    assert token(grant) == stored(grant)["access"]
    assert len(toy_oauth.get("/seen")["token"]) == 1
