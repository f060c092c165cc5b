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


def credentials_for(user: "User | AnonymousUser | None", server: Server) -> dict[str, str]:
    """Header or environment names → values, of the caller's own valid connection only. Raises CredentialsLost."""
    if user is None or user.pk is None:
        return {}
    connection = Connection.objects.valid().filter(user_id=user.pk, server=server).first()
    return decrypt(connection.credentials_encrypted) if connection else {}
