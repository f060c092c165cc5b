"""Every door through which an address of somebody else's is reached, and addresses inside behind each of them."""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpcore2
import httpx2
import pytest

from registry import outbound
from registry.connectors import ConnectorError, connect
from registry.importers.base import CatalogueError
from registry.importers.http import CatalogueClient
from registry.models import CatalogueSource, Server
from registry.outbound import OutboundRefused
from registry.source_forms import SourceForm
from tests.toys import Toy

LOOPBACK = [
    "http://127.0.0.1/x",
    "http://127.1/x",
    "http://0177.0.0.1/x",
    "http://2130706433/x",
    "http://localhost/x",
    "http://[::1]/x",
    "http://[::ffff:127.0.0.1]/x",
    "http://１２７.0.0.1/x",
]
INSIDE = [
    "http://0.0.0.0/x",
    "http://10.0.0.1/x",
    "http://172.16.5.4/x",
    "http://192.168.1.1:8080/x",
    "http://169.254.169.254/x",
    "http://100.64.0.1/x",
    "http://100.100.100.200/x",
    "http://168.63.129.16/x",
    "http://198.18.0.1/x",
    "http://192.0.2.1/x",
    "http://224.0.0.1/x",
    "http://240.0.0.1/x",
    "http://2852039166/x",
    "http://0xa9fea9fe/x",
    "http://169.254.43518/x",
    "http://１０.0.0.1/x",
    "http://10.0.0.1./x",
    "http://[fe80::1]/x",
    "http://[fd00:ec2::254]/x",
    "http://[::10.0.0.1]/x",
    "http://[::ffff:10.0.0.1]/x",
    "http://[64:ff9b::a9fe:a9fe]/x",
    "http://[2002:a9fe:a9fe::1]/x",
    "http://[2001:0:a9fe:a9fe::1]/x",
    "http://[2001:db8::1]/x",
    "http://[ff02::1]/x",
    "http://example.com:25/x",
    "ftp://example.com/x",
]
USER_INFO = ["http://user:password@example.com/x", "http://example.com@10.0.0.1/x"]
NAMES = ["http://metadata.google.internal/x", "http://metadata/x", "http://printer.local/x"]
PUBLIC = "93.184.216.34"


@pytest.fixture
def closed(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = []


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where connections went to other than this machine, by either backend; there none comes about."""
    hosts: list[str] = []

    def kept(connect_tcp: Any) -> Any:
        def refusing(self: Any, host: str, *rest: Any) -> Any:
            if host == "127.0.0.1":
                return connect_tcp(self, host, *rest)
            hosts.append(host)
            raise httpcore2.ConnectError("nobody there")

        return refusing

    for backend in (httpcore2.AnyIOBackend, httpcore2.SyncBackend):
        monkeypatch.setattr(backend, "connect_tcp", kept(backend.connect_tcp))
    return hosts


@pytest.fixture(scope="module")
def zoo(toy: Callable[..., Toy]) -> Toy:
    return toy("zoo")


async def refused(server: Server, tool: str = "") -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        async with connect(server, {}) as session:
            await (session.call(tool, {}, timeout_s=10) if tool else session.introspect())
    return raised.value


@pytest.mark.parametrize("transport", ["streamable_http", "sse", "openapi"])
@pytest.mark.usefixtures("closed")
async def test_a_server_inside_is_not_connected(opened: list[str], transport: str) -> None:
    for url in [*LOOPBACK, *INSIDE, *NAMES, *USER_INFO]:
        error = await refused(Server(transport=transport, url=url, openapi_url=url))
        assert (error.code, error.sent) == ("blocked", False), (url, error.message)
    assert opened == []


async def test_a_document_sends_no_call_inside(zoo: Toy, opened: list[str]) -> None:
    for url in [url for url in INSIDE if url.startswith("http")]:  # any other is no place for a service: left out
        document = f"{zoo.base}/document?to={quote(url)}"
        error = await refused(Server(transport="openapi", openapi_url=document), tool="reach")
        assert error.sent is False, (url, error.message)
    assert opened == []


@pytest.mark.parametrize("transport", ["streamable_http", "sse", "openapi"])
async def test_a_redirect_leads_no_connector_inside(zoo: Toy, opened: list[str], transport: str) -> None:
    for url in INSIDE:
        place = f"{zoo.base}/redirect?to={quote(url)}"
        await refused(Server(transport=transport, url=place, openapi_url=place))
    assert opened == []


def test_a_catalogue_is_not_read_inside_nor_led_there(settings: Any, zoo: Toy, opened: list[str]) -> None:
    settings.OUTBOUND_ALLOW = []
    asked: dict[str, Any] = {"headers": {}, "timeout": httpx2.Timeout(5)}
    reached = (OutboundRefused, httpx2.InvalidURL, httpx2.TransportError, UnicodeError)
    for url in [*LOOPBACK, *INSIDE, *NAMES]:
        with outbound.catalogue_client(**asked) as client, pytest.raises(reached):
            client.get(url)
        with outbound.catalogue_client(**asked, own=zoo.base) as client, pytest.raises(reached):
            client.get(f"{zoo.base}/redirect", params={"to": url})
    assert opened == []


def test_a_catalogue_says_that_its_address_is_refused(closed: None, opened: list[str]) -> None:
    with (
        CatalogueClient("http://10.0.0.1", is_own=False) as client,
        pytest.raises(CatalogueError, match="not be reached"),
    ):
        client.get_json("http://10.0.0.1/v0.1/servers")
    assert opened == []


@pytest.mark.django_db
def test_no_address_inside_is_saved_at_any_door(closed: None, api: Any) -> None:
    outside = api.post("/registry", {"name": "Outside", "url": "https://fine.example/mcp"}).json()
    for url in [*LOOPBACK, *INSIDE, *NAMES, *USER_INFO]:
        for fields in ({"url": url, "transport": "sse"}, {"openapi_url": url}):
            assert api.post("/registry", {"name": "Inside", **fields}).status_code == 400, fields
            assert api.patch(f"/registry/{outside['id']}", fields).status_code == 400, fields
    assert Server.objects.count() == 1


def test_no_catalogue_is_saved_at_an_address_inside(closed: None) -> None:
    def form(url: str) -> SourceForm:
        return SourceForm(CatalogueSource(name="official"), {"url": url, "every_hours": 24})

    assert form("https://fine.example").is_valid()
    for url in [*LOOPBACK, *INSIDE, *NAMES, *USER_INFO]:
        assert "url" in form(url).errors, url


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
    """Each look-up is given the next answer; the last one stays."""
    waiting = list(answers)

    def getaddrinfo(host: str, port: int, *rest: Any) -> list[Any]:
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        kinds = [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in found]
        return [(kind, socket.SOCK_STREAM, 6, "", (each, port)) for kind, each in kinds]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("answer", [("10.0.0.1",), (PUBLIC, "10.0.0.1"), ("10.0.0.1", PUBLIC), (PUBLIC, "fe80::1")])
@pytest.mark.usefixtures("closed")
async def test_a_name_that_turns_inside_is_refused_at_every_door(
    opened: list[str], monkeypatch: pytest.MonkeyPatch, answer: tuple[str, ...]
) -> None:
    """It was fine when it was saved: what counts is what the name means when it is reached."""
    for transport in ("streamable_http", "sse", "openapi"):
        resolving(monkeypatch, answer)
        place = "http://rebinding.example/x"
        assert (await refused(Server(transport=transport, url=place, openapi_url=place))).code == "blocked"
    with outbound.catalogue_client(headers={}, timeout=httpx2.Timeout(5)) as client, pytest.raises(OutboundRefused):
        client.get("http://rebinding.example/")
    assert opened == []


def test_threads_connect_to_the_address_that_was_checked(
    closed: None, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, (PUBLIC,), ("10.0.0.1",))
    with outbound.catalogue_client(headers={}, timeout=httpx2.Timeout(5)) as client, pytest.raises(httpx2.ConnectError):
        client.get("http://rebinding.example/")
    assert opened == [PUBLIC]
