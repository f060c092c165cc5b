"""What a test of a connection finds, said so that a person knows what to do next."""

import sys
from collections.abc import Callable

import pytest

from registry.models import Server
from registry.probes import ProbeOutcome, probe
from tests.conftest import confirmed
from tests.toys import SERVERS, Toy


def at(url: str, transport: str = "streamable_http") -> Server:
    return Server(transport=transport, url=url)


async def found(server: Server, *words: str, **credentials: str) -> ProbeOutcome:
    outcome = await probe(server, credentials)
    for word in words:
        assert word in outcome.detail, outcome.detail
    return outcome


async def test_a_server_that_works_is_ok(toy_text):
    outcome = await found(at(toy_text.url), "2026-07-28", "6 tools")
    assert outcome.health == "ok"
    assert 0 <= outcome.latency_ms < 5_000
    assert len(outcome.introspection.tools) == 6


async def test_a_locked_door_is_not_a_dead_server(toy_auth):
    assert (await found(at(toy_auth.url), "401", "Authorise")).health == "needs_auth"
    assert (await found(at(toy_auth.url), Authorization="Bearer wrong")).health == "needs_auth"
    assert (await found(at(toy_auth.url), Authorization="Bearer sesame")).health == "ok"


async def test_sse_behind_a_streamable_address_is_named(toy_sse):
    outcome = await found(at(toy_sse.url), "speaks", "Change its transport to sse")
    assert (outcome.health, outcome.introspection) == ("wrong_transport", None)


async def test_streamable_http_behind_an_sse_address_is_named(toy_text):
    outcome = await found(at(toy_text.url, "sse"), "Change its transport to streamable_http")
    assert outcome.health == "wrong_transport"


@pytest.mark.parametrize("path", ["/", "/json"])
async def test_an_ordinary_web_server_is_not_mcp(toy_notmcp, path):
    assert (await found(at(toy_notmcp.base + path), toy_notmcp.base, "not", "/mcp")).health == "not_mcp"


async def test_a_closed_port_is_unreachable():
    assert (await found(at("http://127.0.0.1:9/mcp"), "refused", "http://127.0.0.1:9/mcp")).health == "unreachable"


async def test_silence_is_a_time_out(toy_silent, monkeypatch):
    monkeypatch.setattr("registry.connectors.mcp.HTTP_CONNECT_TIMEOUT_S", 0.5)
    assert (await found(at(toy_silent.url), "in time")).health == "timeout"


async def test_an_address_inside_is_blocked():
    assert (await found(at("http://192.168.0.1/mcp"), "Private-Use", "OUTBOUND_ALLOW")).health == "blocked"


async def test_a_command_that_dies_is_quoted():
    server = Server(transport="stdio", command=sys.executable, args=["-c", "import sys; sys.exit('no key, no mail')"])
    assert (await found(confirmed(server), "no key, no mail", "status 1")).health == "unreachable"


async def test_a_command_that_serves_is_ok():
    server = Server(transport="stdio", command=sys.executable, args=[str(SERVERS / "text.py"), "--transport", "stdio"])
    assert (await found(confirmed(server), "6 tools")).health == "ok"


async def test_tools_left_out_are_told(toy: Callable[..., Toy]):
    outcome = await found(at(toy("odd").base + "/bad-tools"), "2 tools", "no_schema")
    assert outcome.health == "ok"


@pytest.fixture(scope="module")
def service(toy: Callable[..., Toy]) -> Toy:
    return toy("openapi_service")


async def test_an_openapi_service_is_read(service):
    outcome = await found(
        Server(transport="openapi", openapi_url=service.url), "OpenAPI 3.1.0", "37 tools", "left out", "X-API-Key"
    )
    assert (outcome.health, outcome.introspection.auth_type) == ("ok", "bearer")
    assert outcome.latency_ms > 0


@pytest.mark.parametrize(("path", "word"), [("html", "a web page"), ("json", "neither a field"), ("gone", "404")])
async def test_what_is_no_openapi_document_says_what_to_look_for(service, path, word):
    address = f"{service.base}/wrong/{path}"
    server = Server(transport="openapi", openapi_url=address)
    assert (await found(server, address, word, "address is that of the document itself")).health == "not_mcp"


async def test_a_server_without_an_address_is_honestly_untested():
    assert (await found(Server(transport=""), "no address")).health == "untested"
