"""When sessions and tokens end: with the password, with the account, everywhere at once."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from knox.models import AuthToken
from pytest_django.fixtures import Settings

from mcpregistry.accounts import sign_in_path
from mcpregistry.tokens import make_token

pytestmark = pytest.mark.django_db
PASSWORD, NEW = "correct horse battery", "staple remains correct"


@pytest.fixture
def owner(alice: User) -> User:
    alice.set_password(PASSWORD)
    alice.save()
    return alice


def signed_in(user: User) -> Client:
    client = Client(headers={"User-Agent": "A browser"})
    user.refresh_from_db()
    client.get(sign_in_path(user))
    return client


def is_in(client: Client) -> bool:
    return client.get("/account").status_code == 200


def works(token: str) -> bool:
    return Client().get("/registry", headers={"Authorization": f"Token {token}"}).status_code == 200


def test_a_changed_password_ends_other_sessions_and_all_tokens(owner: User) -> None:
    token = make_token(user=owner, name="script")
    here, there = signed_in(owner), signed_in(owner)
    form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert (is_in(here), is_in(there), works(token)) == (True, False, False)


def test_a_password_set_in_the_admin_ends_them_too(owner: User) -> None:
    token, there = make_token(user=owner, name="script"), signed_in(owner)
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    form = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert root.post(f"/admin/auth/user/{owner.pk}/password/", form).status_code == 302
    assert (is_in(there), works(token)) == (False, False)


def test_a_password_set_by_command_ends_them_too(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    token, there = make_token(user=owner, name="script"), signed_in(owner)
    monkeypatch.setattr("getpass.getpass", lambda prompt: NEW)
    call_command("changepassword", "alice")
    assert (is_in(there), works(token)) == (False, False)


def test_a_stronger_hash_of_the_same_password_ends_no_token(owner: User, settings: Settings) -> None:
    token = make_token(user=owner, name="script")
    former = owner.password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    client = Client()
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    owner.refresh_from_db()
    assert is_in(client) and owner.password != former
    assert works(token)


def test_tokens_of_somebody_else_stay(owner: User, bob: User) -> None:
    token = make_token(user=bob, name="script")
    owner.set_password(NEW)
    owner.save()
    assert works(token)


def test_a_deactivated_user_is_out_at_once(owner: User) -> None:
    token, client = make_token(user=owner, name="script"), signed_in(owner)
    owner.refresh_from_db()
    link = sign_in_path(owner)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert (is_in(client), works(token)) == (False, False)
    stranger = Client()
    stranger.get(link)
    stranger.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert not is_in(stranger)


def test_signing_out_everywhere_leaves_only_this_session(owner: User) -> None:
    here, there = signed_in(owner), signed_in(owner)
    page = here.get("/accounts/sessions/").content.decode()
    assert page.count("A browser") == 2 and page.count("this one") == 1
    here.post("/accounts/sessions/")
    assert (is_in(here), is_in(there)) == (True, False)
    assert here.get("/accounts/sessions/").content.decode().count("A browser") == 1


def test_sessions_of_somebody_else_are_not_shown_and_stay(owner: User, bob: User) -> None:
    client, bobs = signed_in(owner), signed_in(bob)
    assert client.get("/accounts/sessions/").content.decode().count("A browser") == 1
    client.post("/accounts/sessions/")
    assert is_in(bobs)


def test_what_is_stored_of_a_token_is_no_token(owner: User) -> None:
    token = make_token(user=owner, name="script")
    row = AuthToken.objects.get()
    assert token not in (row.digest, row.token_key) and len(row.token_key) < len(token) / 2
    assert not works(row.token_key) and not works(row.digest)
