"""Loaded before Django's settings are read: a Postgres and a Redis of the test run's own, and a clean environment."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mcpregistry import embedded
from mcpregistry.embedded.places import socket_folder

# What a developer may have set and a test must not see.
FOREIGN = (
    "OPENAI_",
    "ANTHROPIC_",
    "AWS_",
    "S3_",
    "COMPATIBLE_",
    "LLM_",
    "CHAT_",
    "EMBEDDING_MODEL",
    "OFFICIAL_REGISTRY_URL",
    "EMAIL_",
    "SECOND_FACTOR",
    "SMITHERY_",
    "MCP_GET_URL",
    "DOCKER_CATALOG_URL",
    "REDIS_URL",  # tests empty their Redis
    "PORT",
    "HOST",
    "WORKERS",
    "DEBUG",
    "ALLOWED_HOSTS",
    "STDIO_",
    "DATABASE_POOL",
    "LOG_FORMAT",
    "ACCESS_LOG",
    "METRICS_",
    "DRAIN_SECONDS",
)

session = ExitStack()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None]:
    data_dir = make_data_dir()
    clean_environment(data_dir)
    own_postgres = not os.environ.get("DATABASE_URL")
    session.enter_context(embedded.services(data_dir, postgres=own_postgres, durable=False))
    if own_postgres:
        os.environ["DATABASE_URL"] = embedded.database_url(data_dir)
    os.environ["REDIS_URL"] = embedded.redis_url(data_dir)
    try:
        return (yield)
    except BaseException:
        session.close()
        raise


def pytest_unconfigure() -> None:
    session.close()


def make_data_dir() -> Path:
    """A folder that Postgres can reach when the tests run as root; removed when the session ends."""
    folder = Path(tempfile.mkdtemp(prefix="mcpr-tests-"))
    folder.chmod(0o711)
    (folder / "static").mkdir()  # whitenoise warns where it is missing
    (folder / "metrics").mkdir()  # the tests count as a web process does
    session.callback(remove_data_dir, folder)
    return folder


def remove_data_dir(folder: Path) -> None:
    """The folder, and what of it lies elsewhere: databases and sockets."""
    for service in ("postgres", "redis"):
        shutil.rmtree(socket_folder(folder, service), ignore_errors=True)
    for link in [path for path in folder.rglob("postgres*") if path.is_symlink()]:
        shutil.rmtree(link.resolve().parent, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def clean_environment(data_dir: Path) -> None:
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "mcpregistry.settings",
        "DATA_DIR": str(data_dir),
        "METRICS_DIR": str(data_dir / "metrics"),
        "PROMETHEUS_MULTIPROC_DIR": str(data_dir / "metrics"),
        "SECRET_KEY": "only-for-tests-" + "x" * 40,
        "OUTBOUND_ALLOW": "127.0.0.0/8,::1",
        "NO_PROXY": "127.0.0.1,localhost,::1",
    }
