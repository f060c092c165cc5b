"""Keys change, secrets stay readable, and none is left under the former key."""

from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.mfa.utils import decrypt
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from mcpregistry.rotation import encrypted_columns
from registry.credentials import credentials_for, encrypt
from registry.models import CatalogueSource, Connection, Server

pytestmark = pytest.mark.django_db
CREDENTIALS = {"Authorization": "Bearer open sesame"}


@pytest.fixture
def stored(alice: User, settings: Settings) -> Server:
    """One of each kind of secret, under the former key."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "former " * 10, []
    server = Server.objects.create(slug="one", name="One", url="https://one.example/mcp", transport="sse", owner=alice)
    Connection.objects.create(user=alice, server=server, credentials_encrypted=encrypt(CREDENTIALS))
    CatalogueSource.objects.update_or_create(
        name="smithery", defaults={"api_key_encrypted": encrypt({"api_key": "smith"})}
    )
    TOTP.activate(alice, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(alice)
    return server


def rotate() -> str:
    told = StringIO()
    call_command("rotate_secrets", stdout=told)
    return told.getvalue().strip()


def test_after_a_rotation_the_former_key_can_be_forgotten(stored: Server, alice: User, settings: Settings) -> None:
    codes = Authenticator.objects.get(type="recovery_codes").wrap().generate_codes()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "newest " * 10, [settings.SECRET_KEY]
    assert credentials_for(alice, stored) == CREDENTIALS
    assert rotate() == "rotated 4, already current 0, unreadable 0"
    settings.SECRET_KEY_FALLBACKS = []
    assert credentials_for(alice, stored) == CREDENTIALS
    assert decrypt(Authenticator.objects.get(type="totp").data["secret"]) == "JBSWY3DPEHPK3PXP"
    assert Authenticator.objects.get(type="recovery_codes").wrap().generate_codes() == codes
    assert rotate() == "rotated 0, already current 4, unreadable 0"


def test_what_no_key_opens_is_counted_and_left_alone(stored: Server, settings: Settings) -> None:
    before = bytes(Connection.objects.get().credentials_encrypted)
    settings.SECRET_KEY = "another " * 10
    with pytest.raises(CommandError, match="4 secrets were stored with a key"):
        rotate()
    assert bytes(Connection.objects.get().credentials_encrypted) == before


def test_every_encrypted_column_is_known() -> None:
    known = {(model.__name__, name) for model, name in encrypted_columns()}
    assert known >= {("Connection", "credentials_encrypted"), ("CatalogueSource", "api_key_encrypted")}
