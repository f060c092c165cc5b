"""GET from a catalogue, patiently: time-outs, a byte cap, and another try after 429, 5xx and cut bodies."""

import email.utils
import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
from django.utils import timezone

from registry import outbound
from registry.importers.base import CatalogueError, NotThere
from registry.outbound import OutboundRefused

ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 60.0
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)  # seconds
MAX_BODY_BYTES = 64 * 1024 * 1024

Parsed = TypeVar("Parsed")


class _TryAgain(Exception):
    """A failure that may pass; `pause_s` is how long the server asked us to wait."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class CatalogueClient:
    """An HTTP client for one reading of the catalogue at `base`; threads may share it.

    `is_own`: whoever runs the registry named `base`, which may then be anywhere; where it leads to may not.
    """

    def __init__(self, base: str, *, is_own: bool, headers: Mapping[str, str] | None = None) -> None:
        agent = {"User-Agent": "mcp-registry (catalogue import)", "Accept": "application/json, */*"}
        told = {**agent, **(headers or {})}
        self._http = outbound.catalogue_client(headers=told, timeout=TIMEOUT, own=base if is_own else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get_json(self, url: str, params: Mapping[str, str] | None = None) -> Any:
        """The parsed body. Raises NotThere, or CatalogueError when it stays unreadable after ATTEMPTS tries."""
        return self._patiently(url, params, _parse)

    def get(self, url: str) -> bytes:
        """The body. Raises as `get_json` does."""
        return self._patiently(url, None, bytes)

    def _patiently(self, url: str, params: Mapping[str, str] | None, parse: Callable[[bytes], Parsed]) -> Parsed:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return parse(self._get(url, params))
            except (_TryAgain, httpx2.TransportError) as error:
                if attempt == ATTEMPTS:
                    raise CatalogueError(_given_up(url, error)) from error
                time.sleep(_pause_s(error, attempt))
            except OutboundRefused as refused:
                raise CatalogueError(str(refused)) from refused
            except (httpx2.InvalidURL, httpx2.HTTPError) as error:
                raise CatalogueError(f"{url} could not be read: {_sentence(error)}") from error
        raise AssertionError("unreachable")

    def _get(self, url: str, params: Mapping[str, str] | None) -> bytes:
        with self._http.stream("GET", url, params=params) as response:
            if response.status_code == 429 or response.status_code >= 500:
                raise _TryAgain(f"it answered {response.status_code}", _retry_after_s(response))
            if response.status_code in {404, 410}:
                raise NotThere(f"{response.url} answered {response.status_code} {response.reason_phrase}.")
            if response.status_code >= 400:
                raise CatalogueError(f"{response.url} answered {response.status_code} {response.reason_phrase}.")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise CatalogueError(f"{response.url} answered more than {MAX_BODY_BYTES:,} bytes.")
        return bytes(body)


def _given_up(url: str, error: Exception) -> str:
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return f"{urlsplit(url).netloc} cannot be reached from this machine: {_sentence(error)}"
    return f"{url} could not be read in {ATTEMPTS} tries: {_sentence(error)}"


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise _TryAgain(f"it answered something that is not JSON ({error})") from error


def _pause_s(error: Exception, attempt: int) -> float:
    asked = error.pause_s if isinstance(error, _TryAgain) else None
    return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1) if asked is None else asked)


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds, or a date, as the header allows both."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - timezone.now()).total_seconds()) if moment.tzinfo else None


def _sentence(error: Exception) -> str:
    return f"{str(error).strip() or type(error).__name__}."
