"""No line of a log holds a secret of the set-up, whoever wrote it there."""

import logging
import os
from functools import cache
from urllib.parse import unquote, urlsplit

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter

from registry.redaction import Redactor


class RedactingFormatter(logging.Formatter):
    """The last step before a line is written, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return own_secrets().text(super().format(record))


class RedactingJsonFormatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return own_secrets().text(super().format(record))


@cache
def own_secrets() -> Redactor:
    addresses = [os.environ.get("DATABASE_URL", ""), settings.REDIS_URL]
    passwords = [unquote(urlsplit(address).password or "") for address in addresses]
    return Redactor(
        [
            settings.SECRET_KEY,
            *settings.SECRET_KEY_FALLBACKS,
            settings.OPENAI_API_KEY,
            settings.ANTHROPIC_API_KEY,
            settings.COMPATIBLE_API_KEY,
            settings.SMITHERY_API_KEY,
            settings.EMAIL_HOST_PASSWORD,
            os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
            *passwords,
        ]
    )
