"""API tokens: named, with a scope and an end, told apart in one query."""

from datetime import timedelta
from functools import cache
from hmac import compare_digest

from django.contrib.auth.models import User
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import CharField, Q
from django.db.models.functions import Now
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from knox.settings import CONSTANTS
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from mcpregistry.models import TokenGrant
from registry.prepared import Parameter, Prepared
from registry.quotas import check_quota

Scope = TokenGrant.Scope
TOKEN_COLUMNS = [field.attname for field in AuthToken._meta.concrete_fields]
USER_COLUMNS = [field.attname for field in User._meta.concrete_fields]
KEY = CONSTANTS.TOKEN_KEY_LENGTH  # characters by which a token is named
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
        row = row_of(token)
        if row is None:
            raise AuthenticationFailed("Invalid token.")
        return self.validate_user(row)


def row_of(token: bytes) -> AuthToken | None:
    """The token's row, unless it is none or has ended."""
    try:
        told = token.decode()
        digest = hash_token(told)
    except ValueError:
        return None
    return next((row for row in _alive(told[:KEY]) if compare_digest(digest, row.digest)), None)


def _alive(key: str) -> list[AuthToken]:
    """Those that have not ended, with their users and grants. Asked by every call of a program: compiled once."""
    tokens = []
    for row in _asked().rows(key=key):
        token = AuthToken.from_db(DEFAULT_DB_ALIAS, TOKEN_COLUMNS, row[: len(TOKEN_COLUMNS)])
        token.user = User.from_db(DEFAULT_DB_ALIAS, USER_COLUMNS, row[len(TOKEN_COLUMNS) : -1])
        grant = TokenGrant(token=token, scope=row[-1]) if row[-1] else None
        AuthToken._meta.get_field("grant").set_cached_value(token, grant)  # what is not there is not looked for again
        tokens.append(token)
    return tokens


@cache
def _asked() -> Prepared:
    alive = Q(expiry=None) | Q(expiry__gt=Now())
    rows = AuthToken.objects.filter(alive, token_key=Parameter("key", CharField()))
    return Prepared(rows.values_list(*TOKEN_COLUMNS, *(f"user__{name}" for name in USER_COLUMNS), "grant__scope"))


class EndWithPassword:
    """Told by Django of every changed password, whichever page or command changed it; a new hash of the same is none.

    Sessions end by themselves: they are bound to the password's hash.
    """

    def validate(self, password: str, user: User | None = None) -> None:
        """Any password will do."""

    def password_changed(self, password: str, user: User | None = None) -> None:
        AuthToken.objects.filter(user=user).delete()

    def get_help_text(self) -> str:
        return ""
