"""Credentials at rest: Fernet under keys made from SECRET_KEY, and under its fallbacks while keys are rotated."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from registry.models import Connection, Server

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PURPOSE = b"mcp-registry credentials v1"


class CredentialsLost(Exception):
    """What was stored cannot be read with SECRET_KEY or any of SECRET_KEY_FALLBACKS."""


def _fernet() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_key(str(secret))) for secret in secrets])


def _key(secret: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.blake2b(secret.encode(), key=PURPOSE, digest_size=32).digest())


def encrypt(credentials: Mapping[str, str]) -> bytes:
    """No credentials take no bytes."""
    return _fernet().encrypt(json.dumps(dict(credentials)).encode()) if credentials else b""


def decrypt(data: bytes | memoryview) -> dict[str, str]:
    """Raises CredentialsLost."""
    if not data:
        return {}
    try:
        return json.loads(_fernet().decrypt(bytes(data)))
    except InvalidToken as error:
        message = "The stored credentials cannot be read with this SECRET_KEY: enter them again."
        raise CredentialsLost(message) from error


def encrypt_text(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def decrypt_text(data: str) -> str:
    """Raises CredentialsLost."""
    try:
        return _fernet().decrypt(data.encode()).decode()
    except InvalidToken as error:
        raise CredentialsLost("What was stored cannot be read with this SECRET_KEY.") from error


def rotated(data: bytes) -> bytes:
    """The same secret under the newest key. Raises CredentialsLost."""
    try:
        return _fernet().rotate(data)
    except InvalidToken as error:
        raise CredentialsLost("What was stored cannot be read with any of the keys.") from error


def is_under_newest(data: bytes) -> bool:
    try:
        Fernet(_key(str(settings.SECRET_KEY))).decrypt(data)
    except InvalidToken:
        return False
    return True


def credentials_for(user: "User | AnonymousUser | None", server: Server) -> dict[str, str]:
    """Header or environment names → values, of the caller's own valid connection only. Raises CredentialsLost."""
    if user is None or user.pk is None:
        return {}
    connection = Connection.objects.valid().filter(user_id=user.pk, server=server).first()
    return decrypt(connection.credentials_encrypted) if connection else {}
