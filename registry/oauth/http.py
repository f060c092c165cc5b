"""Requests to addresses that a server names: guarded, bounded in bytes and time, led nowhere else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import httpx2
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from registry import outbound
from registry.connectors.base import ConnectorError
from registry.connectors.errors import quoted
from registry.connectors.openapi.transfer import Answer, client, send
from registry.connectors.recording import Exchange
from registry.oauth.errors import SignInError
from registry.outbound import OutboundRefused, check_url

MAX_BYTES = 200_000  # of metadata, registrations and tokens alike
TIMEOUT_S = 10.0
OK = {200, 201}

Model = TypeVar("Model", bound=BaseModel)


@asynccontextmanager
async def opened() -> AsyncIterator[outbound.Client]:
    """Without a memory for cookies."""
    async with client() as http:
        yield http


async def ask(
    http: outbound.Client,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    json: Any = None,
) -> Answer:
    """Raises SignInError."""
    exchange = Exchange()
    try:
        sent = {"accept": "application/json", **(headers or {})}
        request = http.build_request(method, url, headers=sent, data=form, json=json)
    except (httpx2.InvalidURL, ValueError) as error:
        raise SignInError("invalid", f"{quoted(url)} is no address that can be asked.") from error
    with anyio.move_on_after(TIMEOUT_S):
        try:
            return await send(http, request, exchange, limit_bytes=MAX_BYTES)
        except ConnectorError as error:
            raise _translated(error, request.url.host) from error
    raise SignInError("timeout", f"{request.url.host} did not answer within {TIMEOUT_S:.0f} s.")


def _translated(error: ConnectorError, host: str) -> SignInError:
    if error.code == "too_large":
        return SignInError("too_large", f"{host} sent more than {MAX_BYTES // 1000} kB where a few lines are due.")
    return SignInError(error.code, f"{host}: {error.message}" if error.code != "blocked" else error.message)


def parsed(model: type[Model], answer: Answer, what: str) -> Model:
    """Raises SignInError; what a stranger sent is not repeated, it may hold a token."""
    try:
        return model.model_validate_json(answer.body)
    except ValidationError as error:
        fields = ", ".join(sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]})[:5])
        message = f"{what} cannot be read: {f'see {fields}' if fields else 'it is no JSON object'}."
        raise SignInError("invalid", message) from None


def error_of(answer: Answer) -> tuple[str, str]:
    """The error code and description of RFC 6749 in a refusal, as far as there are some."""
    try:
        told = from_json(answer.body)
    except ValueError:
        return "", ""
    if not isinstance(told, dict):
        return "", ""
    code, description = told.get("error"), told.get("error_description")
    return quoted(code) if isinstance(code, str) else "", quoted(description) if isinstance(description, str) else ""


def check_named(url: str, *, by: str) -> None:
    """An address that a server names: reachable at all, and no less private than the server itself is reached.

    Raises SignInError.
    """
    try:
        check_url(url)
    except OutboundRefused as refused:
        raise SignInError("blocked", str(refused)) from refused
    if by.startswith("https:") and not url.startswith("https:"):
        raise SignInError("invalid", f"{quoted(url)} is not https: a sign-in there could be read on its way.")
