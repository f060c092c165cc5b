"""Django over databases of the script's own, which go when it ends; and reading JSON lines."""

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from mcpregistry import embedded
from tests.stack import stack_data_dir


@contextmanager
def own_database() -> Iterator[None]:
    """Once a process: settings are read once."""
    with stack_data_dir() as data_dir, embedded.services(data_dir, durable=False):
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "mcpregistry.settings",
            "DATA_DIR": str(data_dir),
            "SECRET_KEY": "x" * 50,
            "DATABASE_URL": embedded.database_url(data_dir),
            "REDIS_URL": embedded.redis_url(data_dir),
        }
        import_module("django").setup()
        import_module("django.core.management").call_command("migrate", verbosity=0)
        yield


def lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]
