"""What a server was told in secret does not come back from it: neither in results, errors, progress nor its log.

A server may echo the credentials it was sent. They are taken out where its answers come in, so that nothing behind
that (rows, events, prompts, exports, logs) ever holds them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from registry.connectors.base import Bearer, CallResult, ConnectorError, Introspection, Progress, Session
from registry.models import Server
from registry.redaction import Redactor
from registry.secrets import is_secret

LONG = 16  # characters; no usual word
Told = TypeVar("Told")


def secrets_of(server: Server, credentials: Mapping[str, str]) -> list[str]:
    """Values that are secret by the server's word, by their name or by their look; a region or a mode is none."""
    declared = {entry.get("name") for entry in server.env_schema if entry.get("secret")}
    return [value for name, value in credentials.items() if name in declared or is_secret(name) or len(value) >= LONG]


def redacted_error(error: ConnectorError, redactor: Redactor) -> ConnectorError:
    message = redactor.text(error.message)
    challenge = redactor.text(error.challenge)
    return ConnectorError(error.code, message, sent=error.sent, http_status=error.http_status, challenge=challenge)


def redacted_log(on_log: Callable[[str], None] | None, redactor: Redactor) -> Callable[[str], None] | None:
    return (lambda text: on_log(redactor.text(text))) if on_log else None


def redacted_bearer(bearer: Bearer | None, redactor: Redactor) -> Bearer | None:
    return RedactedBearer(bearer, redactor) if bearer else None


class RedactedBearer:
    """Of a sign-in: its tokens are known only when they are sent, and are new ones now and then."""

    def __init__(self, bearer: Bearer, redactor: Redactor) -> None:
        self.bearer, self.redactor = bearer, redactor

    async def token(self, *, refused: str = "") -> str:
        token = await self.bearer.token(refused=refused)
        self.redactor.learn(token)
        return token

    async def wants_more(self, challenge: str) -> None:
        await self.bearer.wants_more(challenge)


class RedactedSession:
    def __init__(self, session: Session, redactor: Redactor) -> None:
        self.session, self.redactor = session, redactor

    async def introspect(self) -> Introspection:
        return await self._told(self.session.introspect())

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout_s: float,
        accepted: str = "",
        on_progress: Progress | None = None,
    ) -> CallResult:
        progress = self._progress(on_progress) if on_progress else None
        call = self.session.call(tool, arguments, timeout_s=timeout_s, accepted=accepted, on_progress=progress)
        return await self._told(call)

    async def _told(self, answer: Awaitable[Told]) -> Told:
        try:
            return self.redactor.data(await answer)
        except ConnectorError as error:
            raise redacted_error(error, self.redactor) from None  # its causes say what it was redacted of

    def _progress(self, on_progress: Progress) -> Progress:
        async def redacted(done: float, total: float | None, message: str) -> None:
            await on_progress(done, total, self.redactor.text(message))

        return redacted
