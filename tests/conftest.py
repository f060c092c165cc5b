"""The shared cast: people, an API client, toy MCP servers, a worker, and the whole product as a process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.contrib.auth.models import User
from django.test import Client, TransactionTestCase, override_settings
from knox.models import AuthToken
from redis import Redis
from rest_framework.test import APIClient
from rq import SimpleWorker
from xdist.scheduler import LoadScopeScheduling

from registry.commands import fingerprint
from registry.models import Server
from tests import nursery
from tests.quickly import PASSWORD_HASHERS, empty_tables
from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

ONE_PRODUCT = ("test_edge", "test_openapi_product", "test_readme", "test_up")  # look at the one that is running
STARTS_THE_PRODUCT = (*ONE_PRODUCT, "test_ending", "test_faults", "test_fuzz")


class Together(LoadScopeScheduling):
    """What one process does together when several share the tests: a file, the browser's folder, all that look at the
    one running product."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        if path.parent.name == "browser":
            return "browser"
        return "product" if path.stem in ONE_PRODUCT else str(path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    return Together(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts the product takes longest and comes first."""
    items.sort(key=lambda item: item.path.parent.name != "browser" and item.path.stem not in STARTS_THE_PRODUCT)


@pytest.fixture(autouse=True, scope="session")
def quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, override_settings(PASSWORD_HASHERS=PASSWORD_HASHERS):
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_user("staff", is_staff=True)


def client_of(user: User) -> APIClient:
    """An API client that authenticates as this user by token."""
    _, token = AuthToken.objects.create(user=user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


@pytest.fixture
def api(alice: User) -> APIClient:
    return client_of(alice)


@pytest.fixture
def bob_api(bob: User) -> APIClient:
    return client_of(bob)


@pytest.fixture
def staff_api(staff: User) -> APIClient:
    return client_of(staff)


@pytest.fixture
def web(alice: User) -> Client:
    """A browser without JavaScript, signed in as alice."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def redis() -> "Redis[bytes]":
    return django_rq.get_connection("runs")


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    """Queues, caches and limits of one test are not the next one's."""
    yield
    django_rq.get_connection("runs").flushdb()


class WorkerByHand:
    """Runs what is queued, in this process, until the queue is empty."""

    def run(self, queue_name: str) -> None:
        queue = django_rq.get_queue(queue_name)
        SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="WARNING")


@pytest.fixture
def worker() -> WorkerByHand:
    return WorkerByHand()


@pytest.fixture(scope="session", autouse=True)
def _nurseries() -> Iterator[None]:
    yield
    nursery.stop_all()


def confirmed(server: Server) -> Server:
    """As if staff had looked at its command and let it be started."""
    server.confirmed_command = fingerprint(server)
    return server


# Toy MCP servers (tests/servers), each started once for the session.


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Toy]]:
    """`toy("text", "--transport", "sse")` starts tests/servers/text.py; it ends with the session."""
    started: list[Toy] = []

    def start(name: str, *arguments: str) -> Toy:
        started.append(running_toy(name, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="session")
def toy_text(toy: Callable[..., Toy]) -> Toy:
    return toy("text")


toy_http = toy_text  # any server over streamable HTTP


@pytest.fixture(scope="session")
def toy_sse(toy: Callable[..., Toy]) -> Toy:
    return toy("text", "--transport", "sse")


@pytest.fixture
def toy_files(toy: Callable[..., Toy], tmp_path: Path) -> Iterator[Toy]:
    """A server over a folder of its own for each test, `toy_files.root`."""
    server = running_toy("files", "--root", str(tmp_path))
    server.root = tmp_path
    yield server
    server.stop()


@pytest.fixture(scope="session")
def toy_many(toy: Callable[..., Toy]) -> Toy:
    return toy("many", "--tools", "250")


@pytest.fixture(scope="session")
def toy_auth(toy: Callable[..., Toy]) -> Toy:
    return toy("auth", "--token", "sesame")


@pytest.fixture(scope="session")
def running_oauth(toy: Callable[..., Toy]) -> Toy:
    return toy("oauth")


@pytest.fixture
def toy_oauth(running_oauth: Toy) -> Toy:
    """A server one signs in to; nobody did yet, and it behaves."""
    running_oauth.post("/control", {})
    return running_oauth


@pytest.fixture(scope="session")
def toy_notmcp(toy: Callable[..., Toy]) -> Toy:
    return toy("notmcp")


@pytest.fixture(scope="session")
def toy_silent(toy: Callable[..., Toy]) -> Toy:
    return toy("silent")


@pytest.fixture
def toy_changing() -> Iterator[Toy]:
    server = running_toy("changing")
    yield server
    server.stop()


@pytest.fixture
def llm() -> Iterator[Toy]:
    """A scripted OpenAI-compatible server; `llm.url` is its base, `llm.script([...])` says what it answers."""
    server = running_toy("llm")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`manage.py up` as a process of its own, without the embedding model, which would be loaded three times:
    everything else real, nothing shared with the test's database."""
    with running_stack(LOG_FORMAT="json", EMBEDDING_MODEL="off") as running:
        yield running
