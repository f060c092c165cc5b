"""The door to addresses a user typed: what it refuses before asking, and where a connection may not go."""

import socket

import httpcore2
import httpx2
import pytest

from registry import outbound
from registry.models import Server
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
    # every range that is not the public internet
    "http://0.1.2.3/",
    "http://127.255.255.254/",
    "http://172.31.255.255/",
    "http://100.127.255.254/",
    "http://169.254.1.1/",
    "http://192.0.0.1/",
    "http://192.88.99.1/",
    "http://198.19.255.254/",
    "http://198.51.100.7/",
    "http://203.0.113.7/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://[fec0::1]/",
    "http://[100::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[2001:2::1]/",
    "http://[5f00::1]/",
    "http://[ff05::1:3]/",
    # IPv4 inside IPv6: mapped, translated, compatible, NAT64, 6to4, Teredo, ISATAP
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[::169.254.169.254]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2002:0a00:0001::1]/",
    "http://[2001:0:a9fe:a9fe::1]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://[fe80::5efe:7f00:1]/",
    # where clouds keep their metadata: AWS (also ECS and over IPv6), Azure, Alibaba, Oracle, GCP, Tencent
    "http://169.254.170.2/v2/credentials",
    "http://169.254.170.23/v1/credentials",
    "http://[fd00:ec2::23]/v1/credentials",
    "http://168.63.129.16:32526/vmSettings",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/opc/v2/",
    "http://[fd20:ce::254]/computeMetadata/v1/",
    "http://169.254.0.23/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata.google.internal./",
    "http://METADATA.google.internal/",
    "http://metadata/computeMetadata/v1/",
    # odd spellings
    "http://127.0.1/",
    "http://127.1.:80/",
    "http://127.0.0.1./",
    "http://0x7F.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://017700000001/",
    "http://0300.0250.0.1/",
    "http://3232235777/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://425.510.425.510/",
    "http://00000177.0.0.1/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://169｡254｡169｡254/",
    "http://%31%32%37.0.0.1/",
    "http://[::1%25lo]/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]/",
    "http://[::ⓕⓕⓕⓕ:127.0.0.1]/",
    # names of this machine and its neighbours
    "http://localhost.localdomain/",
    "http://ip6-localhost/",
    "http://localhost:8000/",
    "http://ⓛocalhost/",
    "http://loc\u00adalhost/",
    # user-info, other schemes, line breaks, back slashes, ports
    "http://user@example.com/",
    "http://:password@example.com/",
    "http://x:y@127.0.0.1#@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http://127.0.0.1\\.example.com/",
    "https:127.0.0.1/",
    "http:/127.0.0.1/",
    "javascript:alert(1)",
    "data:text/plain,hello",
    "dict://127.0.0.1:6379/info",
    "ldap://example.com/",
    "ws://example.com/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "jar:http://127.0.0.1!/",
    "http://example.com/\r\nHost: 127.0.0.1",
    "http://example.com\r\n.evil.example/",
    "http://example.com/a\nb",
    " http://127.0.0.1/",
    "http://example.com\x00.evil.example/",
    "http://example.com:0/",
    "http://example.com:-1/",
    "http://example.com:65536/",
    "http://example.com:80:80/",
    "http://example.com:８０/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:6667/",
    "http://*.example.com/",
    "http://[::1/",
    "http://::1/",
    "http://.../",
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


@pytest.fixture
def connections(monkeypatch) -> list[str]:
    """The addresses that connections were opened to, of which none comes about."""
    opened = []

    async def connect_tcp(self, host, *rest):
        opened.append(host)
        raise httpcore2.ConnectError("nobody there")

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect_tcp)
    return opened


@pytest.mark.parametrize("url", REFUSED)
async def test_what_is_refused_when_it_is_saved_is_refused_again_when_it_is_reached(closed, connections, url):
    async with outbound.client() as client:
        with pytest.raises((OutboundRefused, httpx2.InvalidURL, httpx2.TransportError, UnicodeError)):
            await client.get(url)
    assert connections == []


@pytest.mark.django_db
@pytest.mark.parametrize("url", REFUSED)
def test_no_server_is_saved_at_an_address_that_is_refused(closed, api, url):
    for body in ({"name": "Inside", "url": url}, {"name": "Inside", "openapi_url": url}):
        response = api.post("/registry", body, format="json")
        assert response.status_code == 400, response.data
    assert not Server.objects.exists()


@pytest.mark.parametrize("url", ACCEPTED)
def test_an_address_outside_passes(closed, url):
    check_url(url)


def test_the_operator_may_open_a_network(settings):
    settings.OUTBOUND_ALLOW = ["10.1.0.0/16"]
    check_url("http://10.1.2.3/")
    with pytest.raises(OutboundRefused):
        check_url("http://10.2.0.1/")


def test_a_port_of_another_protocol_is_only_reached_where_the_operator_said_so(settings):
    settings.OUTBOUND_ALLOW = ["10.1.0.0/16", "mail.example.com"]
    for url in ("http://10.1.2.3:25/", "http://mail.example.com:25/"):
        check_url(url)
    with pytest.raises(OutboundRefused, match="another protocol"):
        check_url("http://other.example.com:25/")


def test_the_operator_may_open_a_host(settings, monkeypatch):
    settings.OUTBOUND_ALLOW = ["tools.internal"]
    resolving_to(monkeypatch, "10.0.0.7")
    assert [str(each.ip) for each in outbound.permitted_addresses("tools.internal", 80)] == ["10.0.0.7"]
    with pytest.raises(OutboundRefused):
        outbound.permitted_addresses("other.internal", 80)


async def test_a_name_that_turns_inside_between_check_and_connection_is_refused(closed, connections, monkeypatch):
    resolving_to(monkeypatch, "93.184.216.34")
    check_url("http://rebinding.example/")
    resolving_to(monkeypatch, "169.254.169.254")
    async with outbound.client() as client:
        with pytest.raises(OutboundRefused):
            await client.get("http://rebinding.example/")
    assert connections == []


def test_a_catalogue_of_the_operator_may_be_anywhere_but_leads_nowhere_inside(closed, toy_notmcp, monkeypatch):
    asked = {"headers": {}, "timeout": httpx2.Timeout(5)}
    with outbound.catalogue_client(**asked, own=toy_notmcp.url) as client:
        assert client.get(toy_notmcp.url).status_code == 200
        with pytest.raises(OutboundRefused):
            client.get("http://127.0.0.1:1024/")
    with outbound.catalogue_client(**asked) as client, pytest.raises(OutboundRefused):
        client.get(toy_notmcp.url)


@pytest.mark.parametrize(
    "answers",
    [
        ("127.0.0.1",),
        ("93.184.216.34", "10.0.0.1"),
        ("2606:4700::1111", "93.184.216.34", "fd00:ec2::254"),
        ("::ffff:10.0.0.1",),
        ("64:ff9b::a00:1",),
        ("2002:7f00:1::",),
        ("100.100.100.200",),
    ],
)
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
