"""API tokens: named, with a scope and an end, told apart in one query."""

from datetime import timedelta
from hmac import compare_digest

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from knox.settings import CONSTANTS
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from mcpregistry.models import TokenGrant
from registry.quotas import check_quota

Scope = TokenGrant.Scope
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
RUNNING = ("/chat", "/chain/execute", "/chain/validate", "/chain/runs")


def make_token(*, user: User, name: str, scope: str = Scope.ADMIN, days: int | None = None) -> str:
    """The token itself, which is stored nowhere. `days` until it ends; None: never. Raises QuotaReached."""
    with transaction.atomic():
        check_quota(user, "tokens", AuthToken.objects.filter(user=user))
        row, token = AuthToken.objects.create(user=user, expiry=timedelta(days=days) if days else None)
        TokenGrant.objects.create(token=row, name=name, scope=scope)
    return str(token)


def scope_of(token: AuthToken) -> str:
    grant = getattr(token, "grant", None)
    return grant.scope if grant else Scope.ADMIN


def may(scope: str, method: str, path: str) -> bool:
    """May a token of this scope make such a request, whatever its user may?"""
    if scope == Scope.ADMIN or method in SAFE_METHODS:
        return True
    return scope == Scope.RUN and method == "POST" and runs_something(path.rstrip("/"))


def runs_something(path: str) -> bool:
    """Is a POST to this address work of tools or models, which changes nothing of the registry itself?"""
    is_run = any(path == prefix or path.startswith(f"{prefix}/") for prefix in RUNNING)
    return is_run or (path.startswith("/registry/") and path.endswith(("/healthcheck", "/call")))


class ScopedTokenAuthentication(TokenAuthentication):
    def authenticate(self, request: Request) -> tuple[User, AuthToken] | None:
        found = super().authenticate(request)
        if found and not may(scope := scope_of(found[1]), request.method or "", request.path_info):
            raise PermissionDenied(f"This token may only {scope}. Make one that may more at /account.")
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[User, AuthToken]:
        try:
            told = token.decode()
            digest = hash_token(told)
        except ValueError as error:
            raise AuthenticationFailed("Invalid token.") from error
        alive = Q(expiry=None) | Q(expiry__gt=timezone.now())
        rows = AuthToken.objects.filter(alive, token_key=told[: CONSTANTS.TOKEN_KEY_LENGTH])
        for row in rows.select_related("user", "grant"):
            if compare_digest(digest, row.digest):
                return self.validate_user(row)
        raise AuthenticationFailed("Invalid token.")
