"""The second factor: set up, asked for at every way in, and not to be got around."""

import base64
import hmac
import json
import time
from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from mcpregistry.accounts import sign_in_path
from mcpregistry.tokens import make_token

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def code_of(secret: str) -> str:
    """RFC 6238, as an app on a phone computes it."""
    counter = int(time.time()) // 30
    digest = hmac.new(base64.b32decode(secret), counter.to_bytes(8, "big"), "sha1").digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


@pytest.fixture
def owner(alice: User) -> User:
    alice.set_password(PASSWORD)
    alice.save()
    return alice


def signed_in(user: User) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": user.username, "password": PASSWORD})
    return client


def is_in(client: Client) -> bool:
    return client.get("/account").status_code == 200


def with_app(user: User) -> tuple[str, list[str]]:
    """Set up as people do it; the app's secret and the recovery codes."""
    client = signed_in(user)
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    shown = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)}, follow=True)
    return secret, list(shown.context["unused_codes"])


def next_code(secret: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of the next half minute: the one just used is worth nothing any more."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31)
    return code_of(secret)


def test_setting_it_up_takes_the_password_again(owner: User) -> None:
    asked = signed_in(owner).get("/accounts/2fa/totp/activate/")
    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
    with_app(owner)
    assert set(Authenticator.objects.values_list("type", flat=True)) == {"totp", "recovery_codes"}


def test_recovery_codes_are_shown_once(owner: User) -> None:
    client = signed_in(owner)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    first = client.get("/accounts/2fa/recovery-codes/")
    codes = first.context["unused_codes"]
    assert len(codes) == 10 and codes[0].encode() in first.content
    assert codes[0].encode() not in client.get("/accounts/2fa/recovery-codes/").content
    assert client.get("/accounts/2fa/recovery-codes/download/").status_code in {403, 404}


def test_the_password_alone_does_not_sign_in(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, _ = with_app(owner)
    client = signed_in(owner)
    assert not is_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": next_code(secret, monkeypatch)})
    assert is_in(client)


def test_a_code_signs_in_once(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, _ = with_app(owner)
    code = next_code(secret, monkeypatch)
    for expected in (True, False):
        client = signed_in(owner)
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert is_in(client) is expected


def test_a_recovery_code_signs_in_once(owner: User) -> None:
    _, codes = with_app(owner)
    for expected in (True, False):
        client = signed_in(owner)
        client.post("/accounts/2fa/authenticate/", {"code": codes[3]})
        assert is_in(client) is expected


def test_wrong_codes_are_limited(owner: User) -> None:
    _, codes = with_app(owner)
    client = signed_in(owner)
    for _ in range(5):
        client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    assert not is_in(client)


def test_the_admin_is_no_way_around_it(owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    with_app(owner)
    client = Client()
    answer = client.post("/admin/login/", {"username": "alice", "password": PASSWORD, "next": "/admin/"})
    assert answer.headers["Location"].startswith("/accounts/login/?next=")
    assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/accounts/login/")
    assert "_auth_user_id" not in client.session


def test_the_sign_in_link_stands_for_the_password_only(owner: User, client: Client) -> None:
    _, codes = with_app(owner)
    owner.refresh_from_db()
    link = sign_in_path(owner)
    assert client.get(link).headers["Location"] == "/accounts/2fa/authenticate/"
    assert not is_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    assert is_in(client)
    assert Client().get(link).headers["Location"].startswith("/accounts/login")


def test_whoever_came_by_link_sets_it_up_without_a_password(alice: User, client: Client) -> None:
    client.get(sign_in_path(alice))
    assert client.get("/accounts/2fa/totp/activate/").status_code == 200


def test_what_it_goes_by_is_stored_encrypted(owner: User) -> None:
    secret, _ = with_app(owner)
    stored = str(list(Authenticator.objects.values("data")))
    assert secret not in stored and "gAAAA" in stored


def test_turning_it_off_takes_the_password_again(owner: User) -> None:
    _, codes = with_app(owner)
    client = signed_in(owner)
    client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    asked = client.post("/accounts/2fa/totp/deactivate/")
    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
    assert Authenticator.objects.filter(type="totp").exists()


@pytest.fixture
def key_of_bob(bob: User) -> Authenticator:
    return Authenticator.objects.create(user=bob, type="webauthn", data={"name": "bob's", "credential": {}})


@pytest.mark.parametrize("verb", ["edit", "remove"])
def test_nobody_reaches_a_key_of_somebody_else(alice: User, key_of_bob: Authenticator, verb: str) -> None:
    client = Client()
    client.get(sign_in_path(alice))
    assert client.post(f"/accounts/2fa/webauthn/keys/{key_of_bob.pk}/{verb}/", {"name": "x"}).status_code == 404


MADE_UP = {"id": "eA", "rawId": "eA", "type": "public-key", "response": {}}
ANSWER = {"clientDataJSON": "eA", "authenticatorData": "eA", "signature": "eA", "userHandle": "MQ"}
NONSENSE = [
    "",
    "nonsense",
    "[1]",
    "{}",
    '{"id": 1}',
    json.dumps(MADE_UP),
    json.dumps(MADE_UP | {"response": 7}),
    json.dumps(MADE_UP | {"response": ANSWER}),
    json.dumps(MADE_UP | {"response": ANSWER | {"clientDataJSON": "e30"}}),
    json.dumps(MADE_UP | {"response": {"clientDataJSON": "e30", "attestationObject": "oA"}}),
]


@pytest.mark.parametrize("credential", NONSENSE)
def test_a_made_up_passkey_signs_nobody_in_and_is_not_kept(alice: User, credential: str) -> None:
    stranger, client = Client(), Client()
    stranger.get("/accounts/2fa/webauthn/login/", headers={"Accept": "application/json"})
    assert stranger.post("/accounts/2fa/webauthn/login/", {"credential": credential}).status_code == 302
    assert "_auth_user_id" not in stranger.session
    client.get(sign_in_path(alice))
    client.get("/accounts/2fa/webauthn/add/")
    assert client.post("/accounts/2fa/webauthn/add/", {"credential": credential}).status_code == 200
    assert not Authenticator.objects.exists()


def test_staff_come_nowhere_without_it_where_it_is_required(staff: User, settings: Settings) -> None:
    client = Client()
    client.force_login(staff)
    assert client.get("/servers").status_code == 200
    settings.SECOND_FACTOR = "staff"
    for page in ("/", "/servers", "/account", "/admin/"):
        assert client.get(page).headers["Location"] == "/accounts/2fa/?required=1"
    refused = client.get("/registry", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "second_factor_required")
    assert "needs a second factor" in client.get("/accounts/2fa/?required=1").content.decode()


def test_who_has_one_and_who_is_not_asked_go_on(owner: User, web: Client, settings: Settings) -> None:
    settings.SECOND_FACTOR = "staff"
    assert is_in(web)
    settings.SECOND_FACTOR = "everyone"
    assert not is_in(web)
    _, codes = with_app(owner)
    client = signed_in(owner)
    client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    assert is_in(client)


def test_a_token_needs_no_second_factor(staff: User, settings: Settings) -> None:
    token = make_token(user=staff, name="script")
    settings.SECOND_FACTOR = "everyone"
    assert APIClient(headers={"Authorization": f"Token {token}"}).get("/registry").status_code == 200


def test_the_admin_shows_no_secret_of_a_second_factor(owner: User, client: Client) -> None:
    with_app(owner)
    client.force_login(User.objects.create_superuser("root"))
    row = Authenticator.objects.get(type="totp")
    page = client.get(f"/admin/mfa/authenticator/{row.pk}/change/").content.decode()
    assert "alice" in page and row.data["secret"] not in page
    assert client.post(f"/admin/mfa/authenticator/{row.pk}/change/", {"data": "{}"}).status_code == 403
    assert client.get("/admin/knox/authtoken/").status_code == 404


def test_who_lost_everything_is_let_in_again_by_command(owner: User) -> None:
    with_app(owner)
    call_command("drop_second_factor", "alice", stdout=StringIO())
    assert is_in(signed_in(owner))
    with pytest.raises(CommandError, match="No user 'alice' has a second factor"):
        call_command("drop_second_factor", "alice")
