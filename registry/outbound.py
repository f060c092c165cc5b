"""The only door to addresses a user typed: what may be reached is decided here, and nowhere twice.

A name is resolved once, every answer is checked, and the socket connects to a checked literal address, so a name that
answers differently the second time gains nothing. No proxy and no other setting comes from the environment.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import anyio
import anyio.to_thread
import httpcore2
import httpx2
from django.conf import settings
from ssrfguard import DEFAULT_DENIED, Address, AddressTable, Block, Policy, Reach, SSRFGuardError, Target, resolve

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
MAX_ADDRESSES_TRIED = 4
RESOLVER_THREADS = 16
IPV4_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
ALSO_DENIED = (
    Block(IPV4_MAPPED, "IPv4-mapped address", "RFC4291", Reach.DENIED),
    Block(ipaddress.ip_network("::ffff:0:0:0/96"), "IPv4-translated address", "RFC2765", Reach.DENIED),
    Block(ipaddress.ip_network("168.63.129.16/32"), "Azure's platform address", "Azure", Reach.DENIED),
)


# Where the Fetch standard lets no browser speak HTTP (https://fetch.spec.whatwg.org/#port-blocking): a request to one
# of these is meant for another protocol.
# fmt: off
BLOCKED_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on
ANYWHERE = ("0.0.0.0/0", "::/0")
Client = httpx2.AsyncClient
PRIVATE_NAMES = (".internal", ".local", ".localdomain", ".localhost", ".home.arpa")
HOW_TO_ALLOW = "Whoever runs this registry can permit it in OUTBOUND_ALLOW."


NUMBER = re.compile("0x[0-9a-f]*|[0-9]+", re.IGNORECASE)  # no name ends so, but an odd spelling of an address does


class OutboundRefused(Exception):
    """The address may not be reached. The message is a sentence for the person who typed it."""


def check_url(url: str) -> None:
    """Refuse at once what can be refused without asking DNS: scheme, user-info, literal addresses, odd spellings.

    Raises OutboundRefused. Passing is not a permission: the connection checks what a name resolves to.
    """
    _target_of(url)


def client(*, headers: Mapping[str, str] | None = None, transport: httpx2.AsyncBaseTransport | None = None) -> Client:
    """An HTTP client that reaches only permitted addresses, follows no redirect and takes nothing from the environment.

    Reading has no time-out of its own: whoever calls bounds the whole operation.
    """
    timeout = httpx2.Timeout(CONNECT_TIMEOUT_S, read=None, write=WRITE_TIMEOUT_S)
    return Client(
        headers={"accept-encoding": "identity"} | dict(headers or {}),
        transport=transport or GuardedTransport(),
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
    )


def catalogue_client(*, headers: Mapping[str, str], timeout: httpx2.Timeout, own: str | None = None) -> httpx2.Client:
    """One for threads, which follows redirects: each hop is a connection of its own and checked like the first.

    `own` is an address whoever runs the registry named in its settings or on a command line; what it leads to is not.
    """
    transport = httpx2.HTTPTransport(verify=_certificates(), trust_env=False)
    transport._pool = httpcore2.ConnectionPool(
        ssl_context=_certificates(), max_connections=100, keepalive_expiry=5.0, network_backend=GuardedThreads(own)
    )
    return httpx2.Client(
        headers={"accept-encoding": "identity"} | dict(headers),
        transport=transport,
        timeout=timeout,
        trust_env=False,
        follow_redirects=True,
    )


class GuardedThreads(httpcore2.NetworkBackend):
    """What GuardedBackend is, for code in threads."""

    def __init__(self, own: str | None) -> None:
        self.inner = httpcore2.SyncBackend()
        self.own = _endpoint(own) if own else None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Raises OutboundRefused, or httpcore2's ConnectError and ConnectTimeout."""
        if (host, port) == self.own:
            return self.inner.connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            addresses = permitted_addresses(host, port)[:MAX_ADDRESSES_TRIED]
        except socket.gaierror as unknown:
            raise httpcore2.ConnectError(f"the name {host} cannot be resolved") from unknown
        error: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in addresses:
            try:
                return self.inner.connect_tcp(str(address.ip), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore2.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.NetworkStream:
        raise OutboundRefused("Sockets of this machine may not be reached.")


def _endpoint(url: str) -> tuple[str, int]:
    parts = httpx2.URL(url)
    return parts.raw_host.decode(), parts.port or (443 if parts.scheme == "https" else 80)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to addresses the policy permits, and to no others."""

    def __init__(self) -> None:
        self.inner = httpcore2.AnyIOBackend()
        self.threads = anyio.CapacityLimiter(RESOLVER_THREADS)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises OutboundRefused, or httpcore2's ConnectError and ConnectTimeout."""
        error: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in (await self._resolve(host, port, timeout))[:MAX_ADDRESSES_TRIED]:
            try:
                return await self.inner.connect_tcp(str(address.ip), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore2.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise OutboundRefused("Sockets of this machine may not be reached.")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def _resolve(self, host: str, port: int, timeout: float | None) -> tuple[Address, ...]:
        try:
            with anyio.fail_after(timeout):
                return await anyio.to_thread.run_sync(
                    permitted_addresses, host, port, limiter=self.threads, abandon_on_cancel=True
                )
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"looking up {host} took longer than {timeout} s") from error
        except socket.gaierror as error:
            raise httpcore2.ConnectError(f"the name {host} cannot be resolved") from error


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's transport over connections of GuardedBackend."""

    def __init__(self) -> None:
        certificates = _certificates()
        super().__init__(verify=certificates, trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=certificates,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=GuardedBackend(),
        )


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """The authorities this machine trusts: SSL_CERT_FILE and SSL_CERT_DIR are the operator's word, not a user's."""
    return httpx2.create_ssl_context(trust_env=True)


def preload() -> None:
    """Before a worker forks: each of its jobs would read the authorities again, which takes 20 to 40 ms."""
    _certificates()


def permitted_addresses(host: str, port: int) -> tuple[Address, ...]:
    """One look-up, every answer checked; blocks on DNS. Raises OutboundRefused or socket.gaierror."""
    literal = f"[{host}]" if ":" in host else host
    target = _target_of(f"https://{literal}:{port}/", called=host)
    try:
        return resolve(target, policy=_policy_of_host(target.host))
    except SSRFGuardError as refused:
        raise OutboundRefused(_sentence(host, refused)) from refused


def _target_of(url: str, called: str = "") -> Target:
    try:
        target = _policy_for(ANYWHERE).check_url(url)  # its spelling
        policy = _policy_of_host(target.host)
        if target.address is not None:
            policy.check_address(target.address)
    except SSRFGuardError as refused:
        raise OutboundRefused(_sentence(called or url, refused)) from refused
    if target.address is None and NUMBER.fullmatch(target.host.rstrip(".").rpartition(".")[2]):
        raise OutboundRefused(f"{target.host} is an address in an odd spelling: write it as four numbers.")
    if f".{target.host}".rstrip(".").endswith(".localhost") and not policy.permits_address("127.0.0.1"):
        raise OutboundRefused(f"{target.host} is this machine itself, which may not be reached. {HOW_TO_ALLOW}")
    if target.port in BLOCKED_PORTS and not _is_named(target, policy):
        raise OutboundRefused(f"Port {target.port} is kept for another protocol than HTTP. {HOW_TO_ALLOW}")
    if target.address is None and _is_private(target.host) and not policy.allowed_networks:
        raise OutboundRefused(f"{target.host} is a name of a private network, not a public one. {HOW_TO_ALLOW}")
    return target


def _is_named(target: Target, policy: Policy) -> bool:
    """Does OUTBOUND_ALLOW name this host, or a network with this address?"""
    if target.address is None:
        return policy is _policy_for(ANYWHERE)
    return any(target.address in network for network in policy.allowed_networks)


def _is_private(host: str) -> bool:
    """No public DNS answers for such a name: it has one label, or an ending that is kept for private networks."""
    name = host.lower().rstrip(".")
    return "." not in name or name.endswith(PRIVATE_NAMES)


def _sentence(what: str, refused: SSRFGuardError) -> str:
    reason = str(getattr(refused, "reason", refused))
    return f"{what[:200]} may not be reached: {reason}. {HOW_TO_ALLOW}"


def _policy_of_host(host: str) -> Policy:
    """Hosts the operator named may point anywhere; all others only outside, and into the networks that are named."""
    networks, hosts = _parse_allowed(tuple(settings.OUTBOUND_ALLOW))
    return _policy_for(ANYWHERE if host.lower().rstrip(".") in hosts else networks)


@lru_cache(maxsize=8)
def _parse_allowed(entries: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Networks and host names of OUTBOUND_ALLOW."""
    networks, hosts = [], set()
    for entry in entries:
        try:
            networks.append(str(ipaddress.ip_network(entry.strip("[]"), strict=False)))
        except ValueError:
            hosts.add(entry.lower().rstrip("."))
    return tuple(networks), frozenset(hosts)


@lru_cache(maxsize=8)
def _policy_for(networks: tuple[str, ...]) -> Policy:
    blocks = tuple(block for block in DEFAULT_DENIED.blocks if block.network != IPV4_MAPPED)
    return Policy(
        denied_networks=AddressTable(blocks + ALSO_DENIED),
        allowed_networks=tuple(ipaddress.ip_network(network) for network in networks),
        allowed_ports=frozenset(range(1, 65536)),
    )
