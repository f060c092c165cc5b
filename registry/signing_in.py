"""Sign in to a server: who asks waits for a worker, goes away, comes back, and waits for a worker again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from mcp.shared.auth import OAuthMetadata
from rest_framework.exceptions import APIException

from registry.credentials import decrypt
from registry.models import OAuthGrant, Server, ServerProtection, SignIn
from registry.oauth.authorization import check_answer
from registry.oauth.errors import SignInError
from registry.services.sign_ins import begin_sign_in, fail_sign_in, take_answer
from registry.sign_ins import group_of
from registry.waiting import Errand, Message, result_of

PREPARE_JOB = "registry.jobs.prepare_sign_in"
FINISH_JOB = "registry.jobs.finish_sign_in"
NOBODY = "No worker is running: the sign-in did not begin. Start the workers (`make run` does) and try again."
NOBODY_TRADES = "No worker finished the sign-in. Start the workers (`make run` does), then begin it again."
S = SignIn.Status


class SignInRefused(APIException):
    """What `SignInError` says, as the API says it."""

    status_code = 409

    def __init__(self, error: SignInError) -> None:
        super().__init__(error.message, error.code)


async def start_now(
    *, user: User, server: Server, redirect_uri: str, metadata_url: str = "", session: str = ""
) -> tuple[SignIn, str, str]:
    """The sign-in, the address where the person goes on, and its state. Raises SignInRefused or WorkerUnavailable."""
    try:
        sign_in = await sync_to_async(begin_sign_in)(
            user=user, server=server, redirect_uri=redirect_uri, metadata_url=metadata_url, session=session
        )
    except SignInError as error:
        raise SignInRefused(error) from error
    ready = await _worked(sign_in.pk, PREPARE_JOB, NOBODY, unfinished=[S.PREPARING])
    kept = decrypt(ready.secrets_encrypted)
    return ready, kept["url"], kept["state"]


async def finish_now(
    *, user: User, state: str, session: str, answer: Mapping[str, str], server: Server | None = None
) -> SignIn:
    """With what was brought back: `code`, or `error`, and `iss`. Raises SignInRefused or WorkerUnavailable."""
    try:
        sign_in = await sync_to_async(_taken)(user, state, session, answer, server)
    except SignInError as error:
        raise SignInRefused(error) from error
    return await _worked(sign_in.pk, FINISH_JOB, NOBODY_TRADES, unfinished=[S.RETURNED, S.TRADING])


def _taken(user: User, state: str, session: str, answer: Mapping[str, str], server: Server | None) -> SignIn:
    sign_in = take_answer(user=user, state=state, session=session, code=answer.get("code", ""), server=server)
    metadata = OAuthMetadata.model_validate(sign_in.metadata)
    try:
        error = answer.get("error", "") or ("" if answer.get("code") else "it sent no code")
        check_answer(metadata, iss=answer.get("iss"), error=error, description=answer.get("error_description", ""))
    except SignInError as refused:
        fail_sign_in(sign_in=sign_in, error=refused)
        raise
    return sign_in


async def _worked(sign_in_id: int, job: str, nobody: str, *, unfinished: Sequence[S]) -> SignIn:
    """The sign-in once a worker has brought it beyond these statuses."""

    async def look(since: datetime, message: Message | None) -> SignIn | None:
        return (
            await SignIn.objects.select_related("server").exclude(status__in=unfinished).filter(pk=sign_in_id).afirst()
        )

    errand = Errand(group_of(sign_in_id), job, (sign_in_id,), nobody)
    found = await result_of(errand, look)
    if found is None:
        raise errand.unavailable()
    if found.status == S.FAILED:
        raise SignInRefused(SignInError(found.code, found.problem))
    return found


@dataclass(frozen=True, slots=True)
class SignInSeen:
    """What a server's page says of signing in to it: where, and what this user's sign-in is worth."""

    issuer: str
    scopes: list[str]
    problem: str
    grant: OAuthGrant | None

    @property
    def host(self) -> str:
        return urlsplit(self.issuer).netloc

    @property
    def trouble(self) -> str:
        """Why one cannot sign in, or must do it again."""
        if self.problem or self.grant is None:
            return self.problem
        lacks = ", ".join(self.grant.lacks_scopes)
        return self.grant.problem or (f"The server wants more permissions: {lacks}." if lacks else "")


def sign_in_of(server: Server, user: User) -> SignInSeen | None:
    """None where the server never said that one signs in, at the address it has now."""
    protection = ServerProtection.objects.filter(server=server, url=server.url).exclude(issuer="", problem="").first()
    if protection is None:
        return None
    grant = OAuthGrant.objects.usable().filter(user=user, server=server).first()
    return SignInSeen(protection.issuer, protection.scopes, protection.problem, grant)
