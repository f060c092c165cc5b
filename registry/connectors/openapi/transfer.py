"""Send a request through the guard and read the answer: bounded in bytes, never compressed, not led to another host."""

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import httpx2

from registry import outbound
from registry.connectors.base import ConnectorError
from registry.connectors.errors import MAX_QUOTED, of_failure
from registry.connectors.recording import BodyRefused, Exchange
from registry.outbound import OutboundRefused

MAX_REDIRECTS = 5
REDIRECTS = {301, 302, 303, 307, 308}
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OutboundRefused, BodyRefused, OSError)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    content_type: str
    charset: str
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def location(self) -> str:
        """Where a redirect that was not followed leads to."""
        return self.headers.get("location", "")[:MAX_QUOTED] if self.status in REDIRECTS else ""


async def send(client: outbound.Client, request: httpx2.Request, exchange: Exchange, *, limit_bytes: int) -> Answer:
    """Raises ConnectorError. A GET or HEAD is led on within its host."""
    for _ in range(MAX_REDIRECTS):
        answer = await _once(client, request, exchange, limit_bytes)
        following = _following(request, answer)
        if following is None:
            return answer
        request = client.build_request(request.method, following, headers=request.headers)
    raise ConnectorError("unreachable", "The server redirects in a circle.", sent=True, http_status=answer.status)


def _following(request: httpx2.Request, answer: Answer) -> httpx2.URL | None:
    if answer.status not in REDIRECTS or request.method not in {"GET", "HEAD"} or not answer.location:
        return None
    try:
        following = request.url.join(answer.headers["location"])
    except httpx2.InvalidURL:
        return None
    is_upgrade = request.url.scheme == "http" and following.scheme == "https"
    same_port = following.port == request.url.port or (is_upgrade and following.port is None)
    same_host = following.host == request.url.host and same_port
    return following if same_host and (is_upgrade or following.scheme == request.url.scheme) else None


async def _once(client: outbound.Client, request: httpx2.Request, exchange: Exchange, limit_bytes: int) -> Answer:
    request.extensions = {**request.extensions, "trace": exchange.trace}
    try:
        response = await client.send(request, stream=True)
        try:
            exchange.answered(response)
            body = await _body(response, limit_bytes)
        finally:
            await response.aclose()
    except FAILURES as error:
        if isinstance(error, httpx2.InvalidURL):
            raise ConnectorError("unreachable", f"The address is no valid URL: {error}.") from error
        raise of_failure(error, exchange) from error
    return Answer(
        status=response.status_code,
        reason=response.reason_phrase[:MAX_QUOTED],
        content_type=exchange.content_type,
        charset=response.charset_encoding or "utf-8",
        headers=dict(response.headers),
        body=body,
        url=str(request.url.copy_with(query=None)),
    )


async def _body(response: httpx2.Response, limit_bytes: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").lower().replace("identity", "")
    if encoding:
        raise BodyRefused(f"The server sent a body compressed with {encoding[:40]}, unasked.")
    parts = bytearray()
    async for part in response.aiter_raw():
        parts += part
        if len(parts) > limit_bytes:
            raise BodyRefused(f"The server's answer is larger than {limit_bytes // 1_000_000} MB.")
    return bytes(parts)


def client() -> outbound.Client:
    """Without a memory for cookies: what one call was given is not the next one's."""
    made = outbound.client()
    made.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return made
