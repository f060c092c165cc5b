"""The door to addresses a user typed: what it refuses before asking, and where a connection may not go."""

import socket

import httpcore2
import httpx2
import pytest

from registry import outbound
from registry.outbound import OutboundRefused, check_url

REFUSED = [
    "http://127.0.0.1/mcp",
    "http://127.1/mcp",
    "http://127.000.000.001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://0/",
    "http://0.0.0.0/",
    "http://localhost/mcp",
    "http://LOCALHOST./mcp",
    "http://api.localhost/mcp",
    "http://①②⑦.0.0.1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://10.0.0.1/",
    "http://172.16.5.4/",
    "http://192.168.1.1:8080/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::ffff:7f00:1]/",
    "http://[::7f00:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/mcp",
    "example.com/mcp",
    "http:///mcp",
    "http://exa mple.com/",
    "http://example.com\t.evil.example/",
    "http://127.0.0.1%2f@example.com/",
    "http://example.com:99999/",
    "http://" + "a" * 300 + ".example/",
    "",
]
ACCEPTED = [
    "https://example.com/mcp",
    "http://example.com:8080/mcp?key=1",
    "https://8.8.8.8/mcp",
    "https://[2606:4700::1111]/mcp",
    "https://bücher.example/mcp",
]


@pytest.fixture
def closed(settings):
    settings.OUTBOUND_ALLOW = []


def resolving_to(monkeypatch, *addresses: str) -> list[str]:
    """The look-ups made while every name means these addresses."""
    asked = []

    def getaddrinfo(host, port, *rest):
        asked.append(host)
        kinds = [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in addresses]
        return [(kind, socket.SOCK_STREAM, 6, "", (each, port)) for kind, each in kinds]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_inside_or_oddly_spelled_is_refused(closed, url):
    with pytest.raises(OutboundRefused) as refused:
        check_url(url)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("url", ACCEPTED)
def test_an_address_outside_passes(closed, url):
    check_url(url)


def test_the_operator_may_open_a_network(settings):
    settings.OUTBOUND_ALLOW = ["10.1.0.0/16"]
    check_url("http://10.1.2.3/")
    with pytest.raises(OutboundRefused):
        check_url("http://10.2.0.1/")


def test_the_operator_may_open_a_host(settings, monkeypatch):
    settings.OUTBOUND_ALLOW = ["tools.internal"]
    resolving_to(monkeypatch, "10.0.0.7")
    assert [str(each.ip) for each in outbound.permitted_addresses("tools.internal", 80)] == ["10.0.0.7"]
    with pytest.raises(OutboundRefused):
        outbound.permitted_addresses("other.internal", 80)


@pytest.mark.parametrize("answers", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("::ffff:10.0.0.1",)])
def test_a_name_that_points_inside_with_any_of_its_answers_is_refused(closed, monkeypatch, answers):
    resolving_to(monkeypatch, *answers)
    with pytest.raises(OutboundRefused):
        outbound.permitted_addresses("rebinding.example", 80)


async def test_the_connection_goes_to_the_address_that_was_checked(closed, monkeypatch):
    asked = resolving_to(monkeypatch, "93.184.216.34")
    connected = []

    async def connect_tcp(self, host, *rest):
        connected.append(host)
        raise httpcore2.ConnectError("far away")

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect_tcp)
    with pytest.raises(httpx2.ConnectError):
        async with outbound.client() as client:
            await client.get("http://public.example/")
    assert (asked, connected) == (["public.example"], ["93.184.216.34"])


async def test_a_request_inside_is_refused_by_the_connection_too(closed, toy_text):
    async with outbound.client() as client:
        with pytest.raises(OutboundRefused):
            await client.get(toy_text.url)


async def test_nothing_is_taken_from_the_environment(monkeypatch, toy_notmcp):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with outbound.client() as client:
        response = await client.get(toy_notmcp.url)
    assert response.status_code == 200
    assert response.request.headers["accept-encoding"] == "identity"
