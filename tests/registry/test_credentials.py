import pytest

from registry.credentials import CredentialsLost, credentials_for, decrypt, encrypt
from registry.models import Server
from registry.services import authorise


def test_what_is_encrypted_comes_back_and_cannot_be_read_in_between():
    data = encrypt({"X-Key": "hunter2"})
    assert b"hunter2" not in data
    assert decrypt(data) == {"X-Key": "hunter2"}
    assert decrypt(encrypt({})) == {}


def test_the_same_credentials_never_look_the_same_twice():
    assert encrypt({"X-Key": "hunter2"}) != encrypt({"X-Key": "hunter2"})


def test_an_old_key_still_reads_while_keys_are_rotated(settings):
    data = encrypt({"X-Key": "hunter2"})
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [settings.SECRET_KEY]
    assert decrypt(data) == {"X-Key": "hunter2"}


def test_a_lost_key_is_said_in_a_sentence(settings):
    data = encrypt({"X-Key": "hunter2"})
    settings.SECRET_KEY = "another one"
    with pytest.raises(CredentialsLost, match="enter them again"):
        decrypt(data)


@pytest.mark.django_db
def test_nobody_gets_the_credentials_of_another(alice, bob):
    server = Server.objects.create(name="A", slug="a", url="https://a.example", transport="sse", visibility="public")
    authorise(user=alice, server=server, credentials={"X-Key": "alices"})
    assert credentials_for(alice, server) == {"X-Key": "alices"}
    assert credentials_for(bob, server) == credentials_for(None, server) == {}
