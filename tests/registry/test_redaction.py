"""Secrets are taken out of text in whatever spelling they come back."""

import base64
import urllib.parse
from dataclasses import dataclass

import pytest

from registry.connectors.redacting import secrets_of
from registry.models import Server
from registry.redaction import Redactor

SECRET = 's3cr3t "q&/+ é" value'


@pytest.mark.parametrize(
    "told",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        r"s3cr3t \"q&/+ \u00e9\" value",
    ],
)
def test_every_spelling_is_taken_out(told: str) -> None:
    assert Redactor([SECRET]).text(f"before {told} after") == "before [redacted] after"


@pytest.mark.parametrize(
    ("credential", "told"),
    [
        ("Bearer abcdef-012345", "token abcdef-012345."),
        ("Basic dXNlcjpwYXNzd29yZA==", "you sent dXNlcjpwYXNzd29yZA=="),
        ("user:long-password", "the password long-password is wrong"),
        ("user:long-password", "you sent " + base64.b64encode(b"user:long-password").decode()),
        ("abcdefghijklmnopqrst", "it was cut: abcdefghijklm"),
        ("abcdefghijklmnopqrst", "ijklmnopqrst is how the rest begins"),
    ],
)
def test_what_is_secret_in_a_credential_is_taken_out(credential: str, told: str) -> None:
    found = Redactor([credential]).text(told)
    assert "[redacted]" in found
    assert not any(piece in found for piece in ("012345", "dXNlcj", "password-", "long-p", "klmn"))


def test_a_secret_that_reads_like_what_stands_for_it_is_taken_out_too() -> None:
    assert Redactor(["redacted-by-me"]).text("redacted-by-me, redacted-by") == "[redacted], [redacted]"


def test_no_secret_and_short_words_leave_a_text_as_it_is() -> None:
    text = "It is on in abc, and eyJhbGciOiJIUzI1NiJ9 begins many a token"
    assert Redactor([]).text(text) == Redactor(["on", "abc", ""]).text(text) == text


@dataclass(frozen=True, slots=True)
class Answer:
    content: list[dict[str, object]]
    is_error: bool


def test_texts_anywhere_in_an_answer_are_reached() -> None:
    answer = Answer([{"text": "you said hush-hush", "hush-hush": ["hush-hush", 7, None]}], False)
    redacted = [{"text": "you said [redacted]", "[redacted]": ["[redacted]", 7, None]}]
    assert Redactor(["hush-hush"]).data(answer) == Answer(redacted, False)


def test_a_region_is_no_secret_and_a_declared_or_long_value_is() -> None:
    server = Server(env_schema=[{"name": "PIN", "secret": True}, {"name": "REGION", "secret": False}])
    told = {
        "PIN": "123456",
        "REGION": "eu-west-1",
        "API_KEY": "k1",
        "X-Other": "0123456789abcdef",
        "MODE": "production",
    }
    assert secrets_of(server, told) == ["123456", "k1", "0123456789abcdef"]
