"""How often somebody may write, search and try to sign in: counted in Redis, by user or token and by address.

One middleware for pages, REST framework's views and plain async ones alike. Without Redis nothing is counted: then
nothing that a limit protects works either, and pages still do.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from redis import Redis, RedisError
from redis.commands.core import Script

from mcpregistry.api import error_body, wants_json
from registry.pages import message_of
from registry.pages import refusal as told
from registry.quotas import QuotaReached

logger = logging.getLogger(__name__)
WINDOW_S = 60
SHARED_ADDRESS = 5  # so many people may sit behind one address
SIGN_IN_PATHS = (
    "/accounts/login",
    "/accounts/signup",
    "/accounts/password",
    "/accounts/reauthenticate",
    "/accounts/2fa/authenticate",
    "/accounts/2fa/reauthenticate",
    "/accounts/2fa/webauthn/login",
    "/admin/login",
    "/signin/",
)
SEARCHED_BY = ("q", "search")  # parameters with words to look for
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# One command for all who are counted, and no count that stays because whoever began it died before it had an end.
COUNT = """local counts = {}
for number, key in ipairs(KEYS) do
    counts[number] = redis.call('INCR', key)
    if counts[number] == 1 then redis.call('EXPIRE', key, ARGV[1]) end
end
return counts"""


class LimitsMiddleware:
    """Answers 429 with Retry-After. Behind the session's middleware, before any view."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        kind = kind_of(request)
        wait_s = seconds_to_wait(request, kind) if kind and settings.RATE_LIMITS[kind] else 0
        return refusal(request, kind, wait_s) if wait_s else self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Whose quota is full is told where they are, on whichever page it was; the API tells it by itself."""
        if not isinstance(error, QuotaReached) or wants_json(request):
            return None
        return told(request, message_of(error), error.status_code)


def kind_of(request: HttpRequest) -> str:
    """ "sign_in", "write", "search", or "" for what is not limited."""
    path = request.path_info.rstrip("/")
    if path.startswith("/signin/"):
        return "sign_in"
    if request.method not in SAFE_METHODS:
        is_stranger = path.startswith("/accounts/") and not request.user.is_authenticated
        return "sign_in" if is_stranger or path.startswith(SIGN_IN_PATHS) else "write"
    return "search" if path.endswith("/search") or any(request.GET.get(name) for name in SEARCHED_BY) else ""


@cache
def counters() -> Script:
    """By one client for all threads: a connection of its own for each request would cost more than the counting."""
    return Redis.from_url(settings.REDIS_URL).register_script(COUNT)


def seconds_to_wait(request: HttpRequest, kind: str) -> int:
    """0: go on. Counts the request for all who stand behind it, in one trip to Redis."""
    now = time.time()
    window = int(now // WINDOW_S)
    limit = settings.RATE_LIMITS[kind]
    counted = {f"limit:{kind}:{who}:{window}": limit * factor for who, factor in asking(request, kind)}
    try:
        counts = counters()(keys=list(counted), args=[WINDOW_S])
    except RedisError as error:
        logger.warning("Redis does not answer (%s): requests are not counted.", type(error).__name__)
        return 0
    is_over = any(count > allowed for count, allowed in zip(counts, counted.values(), strict=True))
    return WINDOW_S - int(now % WINDOW_S) if is_over else 0


def asking(request: HttpRequest, kind: str) -> list[tuple[str, int]]:
    """Who is counted, and how many times the limit that may be: an address, and the user or token behind it."""
    address = (f"address:{address_of(request)}", 1 if kind == "sign_in" else SHARED_ADDRESS)
    if kind == "sign_in":
        return [address]
    if told := request.headers.get("Authorization"):
        return [address, (f"token:{hashlib.sha256(told.encode()).hexdigest()[:32]}", 1)]
    return [address, (f"user:{request.user.pk}", 1)] if request.user.is_authenticated else [address]


def address_of(request: HttpRequest) -> str:
    """Of the client, as the outermost of our own PROXIES saw it; what the client itself claims counts for nothing."""
    claimed = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",") if each.strip()]
    if settings.PROXIES and len(claimed) >= settings.PROXIES:
        return claimed[-settings.PROXIES]
    return str(request.META.get("REMOTE_ADDR") or "")


def refusal(request: HttpRequest, kind: str, wait_s: int) -> HttpResponseBase:
    words = {"sign_in": "attempts to sign in", "write": "changes", "search": "searches"}[kind]
    message = f"Too many {words} in a short time. Try again in {wait_s} seconds."
    if wants_json(request):
        response: HttpResponseBase = JsonResponse(error_body("throttled", message), status=429)
    else:
        response = render(request, "429.html", {"message": message}, status=429)
    response.headers["Retry-After"] = str(wait_s)
    return response
