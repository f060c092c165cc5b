"""Fetch a document and make tools of it."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import httpx2

from registry import outbound
from registry.connectors.base import ConnectorError, Introspection
from registry.connectors.openapi import security
from registry.connectors.openapi.document import Document
from registry.connectors.openapi.operations import Service
from registry.connectors.openapi.parsing import not_openapi, parsed
from registry.connectors.openapi.tools import ToolMaker
from registry.connectors.openapi.transfer import Answer, send
from registry.connectors.recording import Exchange
from registry.connectors.tools import storable

MAX_DESCRIPTION = 10_000
MAX_DOCUMENT_BYTES = 20_000_000
FETCH_TIMEOUT_S = 30.0
ACCEPT = "application/json, application/yaml;q=0.9, */*;q=0.5"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as it came; `headers` are the credentials it took, `latency_ms` until all of it was there."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    content_type: str
    latency_ms: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


async def fetch(client: outbound.Client, url: str, credentials: Mapping[str, str]) -> Fetched:
    """The credentials are shown only to a document that asks for some. Raises ConnectorError."""
    headers: Mapping[str, str] = {}
    started = time.monotonic()
    answer = await _get(client, url, headers)
    if answer.status in {401, 403} and credentials:
        headers = security.fetch_headers(credentials)
        answer = await _get(client, url, headers)
    latency_ms = round((time.monotonic() - started) * 1000)
    _check(answer)
    return Fetched(url, headers, answer.body, answer.content_type, latency_ms)


async def _get(client: outbound.Client, url: str, headers: Mapping[str, str]) -> Answer:
    exchange = Exchange()
    try:
        request = client.build_request("GET", url, headers={"accept": ACCEPT, **headers})
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConnectorError("unreachable", "The address or a credential cannot be sent as it is written.") from error
    with anyio.move_on_after(FETCH_TIMEOUT_S):
        try:
            return await send(client, request, exchange, limit_bytes=MAX_DOCUMENT_BYTES)
        except ConnectorError as error:
            if error.code == "too_large":
                raise not_openapi(error.message.replace("answer", "document")) from error
            raise
    raise ConnectorError("timeout", f"The document did not arrive within {FETCH_TIMEOUT_S:.0f} s.", sent=exchange.sent)


def _check(answer: Answer) -> None:
    status = answer.status
    match status:
        case 401 | 403:
            message = f"The document is shown only to those who sign in (HTTP {status})."
            raise ConnectorError("needs_auth", message, http_status=status)
        case 429:
            message = "The server asks us to slow down (HTTP 429). Try again in a while."
            raise ConnectorError("unreachable", message, http_status=status)
        case _ if answer.location:
            message = f"The server redirects to {answer.location}: use that address."
            raise ConnectorError("not_openapi", message, http_status=status)
        case _ if status >= 500:
            raise ConnectorError("unreachable", f"The server failed (HTTP {status}).", http_status=status)
        case _ if status != 200:
            message = f"There is no document at this address (HTTP {status})."
            raise ConnectorError("not_openapi", message, http_status=status)


async def read(fetched: Fetched) -> tuple[Introspection, Service]:
    """In a thread: the loop serves other calls meanwhile. Raises ConnectorError."""
    return await anyio.to_thread.run_sync(_read, fetched, abandon_on_cancel=True)


def _read(fetched: Fetched) -> tuple[Introspection, Service]:
    document = Document(parsed(fetched.body, fetched.content_type))
    maker = ToolMaker(document, fetched.url)
    made = list(maker.all())
    if not made:
        raise not_openapi(" ".join(["The document describes no operation that can be called.", *maker.told[:3]]))
    operations = {tool.name: operation for tool, operation in made}
    schemes = maker.schemes
    used = security.used(schemes, operations.values())
    introspection = Introspection(
        protocol_version=f"OpenAPI {document.version}",
        server_name=_text(document.info.get("title")),
        server_version=_text(document.info.get("version")),
        tools=[tool for tool, _ in made],
        problems=maker.told,
        description=_description(document.info),
        model_count=len(document.models),
        auth_type=used[0].kind if used else None,
        env_schema=security.env_schema(used),
        latency_ms=fetched.latency_ms,
    )
    return introspection, Service(operations, schemes)


def _description(info: Mapping[str, Any]) -> str:
    said = (_text(info.get(name), MAX_DESCRIPTION) for name in ("description", "summary", "title"))
    return next(filter(None, said), "")


def _text(value: object, limit: int = 255) -> str:
    return "" if value is None else storable(str(value).strip())[:limit]
