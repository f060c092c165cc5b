"""A forgotten password, by letters that go through a real mail server."""

import email
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import Message

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from mcpregistry import doctor
from tests.toys import ROOT, Toy, running_toy

pytestmark = pytest.mark.django_db
NEW = "staple remains correct"
ASK = "/accounts/password/reset/"


def sends_by(settings: Settings, server: Toy) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False


@pytest.fixture
def letters(settings: Settings) -> Iterator[Callable[[], Message]]:
    """The next letter the mail server took."""
    server = running_toy("mail")
    sends_by(settings, server)
    assert server.process.stdout is not None
    lines = server.process.stdout
    yield lambda: email.message_from_string(json.loads(lines.readline()))
    server.stop()


@pytest.fixture
def owner(alice: User) -> User:
    alice.email = "alice@example.com"
    alice.set_password("correct horse battery")
    alice.save()
    return alice


def link_in(letter: Message) -> str:
    text = letter.get_payload(decode=True).decode()
    found = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", text)
    assert found, text
    return found[1]


def test_a_forgotten_password_is_renewed_by_the_link_in_a_letter(
    owner: User, letters: Callable[[], Message], client: Client
) -> None:
    assert client.post(ASK, {"email": "alice@example.com"}).headers["Location"] == "/accounts/password/reset/done/"
    letter = letters()
    assert letter["To"] == "alice@example.com" and letter["Subject"].startswith("[MCP Registry]")
    link = link_in(letter)
    form = client.get(link).headers["Location"]
    assert client.post(form, {"password1": "short", "password2": "short"}).status_code == 200
    assert client.post(form, {"password1": NEW, "password2": NEW}).status_code == 302
    owner.refresh_from_db()
    assert owner.check_password(NEW)
    assert "does not work any more" in Client().get(link, follow=True).content.decode()


def test_nobody_learns_which_addresses_have_an_account(
    owner: User, letters: Callable[[], Message], client: Client
) -> None:
    told = [client.post(ASK, {"email": f"{name}@example.com"}, follow=True).content for name in ("nobody", "alice")]
    assert len({re.sub(rb"\w{64}", b"", page) for page in told}) == 1  # but for the token of their forms
    assert letters()["To"] == "alice@example.com"  # the first letter there is: strangers get none


def test_a_mail_server_that_refuses_is_for_the_log_to_tell(
    owner: User, settings: Settings, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server = running_toy("mail", "--deaf")
    sends_by(settings, server)
    assert client.post(ASK, {"email": "alice@example.com"}).status_code == 302
    assert "could not be sent" in caplog.text
    with pytest.raises(doctor.Wrong, match="does not take letters"):
        doctor.mail()
    server.stop()


def test_without_a_mail_server_the_page_says_so(client: Client) -> None:
    page = client.get(ASK).content.decode()
    assert "This registry sends no mail" in page and 'name="email"' not in page


def test_an_address_is_added_and_verified_by_its_letter(
    web: Client, letters: Callable[[], Message], alice: User
) -> None:
    web.post("/accounts/email/", {"action_add": "", "email": "alice@example.org"})
    text = letters().get_payload(decode=True).decode()
    link = re.search(r"http://testserver(/accounts/confirm-email/\S+)", text)
    assert link, text
    assert "alice@example.org" in web.get(link[1]).content.decode()
    web.post(link[1])
    assert "not verified" not in web.get("/accounts/email/").content.decode()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, "filebased"),
        ({"EMAIL_HOST": "mail.example"}, "smtp True False 587"),
        ({"EMAIL_HOST": "mail.example", "EMAIL_SECURITY": "tls"}, "smtp False True 465"),
        ({"EMAIL_HOST": "mail.example", "EMAIL_SECURITY": "none", "EMAIL_PORT": "2525"}, "smtp False False 2525"),
        ({"EMAIL_SECURITY": "startls"}, "EMAIL_SECURITY must be one of starttls, tls, none, not 'startls'."),
        ({"SECOND_FACTOR": "staf"}, "SECOND_FACTOR must be one of optional, staff, everyone, not 'staf'."),
    ],
)
def test_the_environment_says_how_letters_are_sent(told: dict[str, str], expected: str) -> None:
    code = "import mcpregistry.settings as s; print(s.EMAIL_BACKEND, s.EMAIL_USE_TLS, s.EMAIL_USE_SSL, s.EMAIL_PORT)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | told, capture_output=True, text=True, check=False)
    said = done.stdout.replace("django.core.mail.backends.", "").replace(".EmailBackend", "") + done.stderr
    assert expected in said
