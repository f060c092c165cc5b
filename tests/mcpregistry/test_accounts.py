"""Signing in by link and the tokens of an account."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from knox.models import AuthToken

from mcpregistry.accounts import sign_in_path

pytestmark = pytest.mark.django_db


def test_a_sign_in_link_works_exactly_once(alice: User, client: Client) -> None:
    link = sign_in_path(alice)
    assert client.get(link).headers["Location"] == "/"
    assert client.get("/account").status_code == 200
    second = Client()
    assert second.get(link).headers["Location"].startswith("/accounts/login")
    assert second.get("/account").status_code == 302


@pytest.mark.parametrize(
    "link", ["/signin/MQ/nonsense", "/signin/!!/x", "/signin/OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5/x-y"]
)
def test_a_made_up_link_signs_nobody_in(link: str, client: Client) -> None:
    assert client.get(link).status_code == 302
    assert "_auth_user_id" not in client.session


def test_a_link_of_a_disabled_account_signs_nobody_in(alice: User, client: Client) -> None:
    link = sign_in_path(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    client.get(link)
    assert "_auth_user_id" not in client.session


def test_a_token_made_on_the_account_page_is_shown_once_and_works(web: Client) -> None:
    token = web.post("/account", {"make": "1"}).context["new_token"]
    assert token.encode() not in web.get("/account").content
    headers = {"Authorization": f"Token {token}"}
    assert Client().get("/registry", headers=headers).status_code == 200


def test_a_revoked_token_is_refused(web: Client) -> None:
    token = web.post("/account", {"make": "1"}).context["new_token"]
    web.post("/account", {"revoke": AuthToken.objects.get().token_key})
    assert Client().get("/registry", headers={"Authorization": f"Token {token}"}).status_code == 401


def test_nobody_revokes_a_token_of_somebody_else(web: Client, bob: User) -> None:
    other, _ = AuthToken.objects.create(user=bob)
    web.post("/account", {"revoke": other.token_key})
    assert AuthToken.objects.filter(user=bob).exists()


def test_signing_up_is_closed_unless_opened(client: Client, settings) -> None:
    form = {"username": "carol", "password1": "a-good-long-secret", "password2": "a-good-long-secret"}
    client.post("/accounts/signup/", form)
    assert not User.objects.filter(username="carol").exists()
    settings.SIGNUP_OPEN = True
    client.post("/accounts/signup/", form)
    assert User.objects.filter(username="carol").exists()


@pytest.mark.parametrize("address", ["unknown", "10.0.0.1:4711", "2001:db8::1"])
def test_whatever_a_proxy_calls_the_visitor_signing_in_works(alice: User, settings, address: str) -> None:
    settings.PROXIES = 1
    client = Client(headers={"X-Forwarded-For": address})
    client.get(sign_in_path(alice))
    assert client.get("/account").status_code == 200
