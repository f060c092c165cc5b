"""What authorisation servers granted users: renewed, widened, ended and given back."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from registry import queues
from registry.connectors.tools import storable
from registry.credentials import encrypt
from registry.models import Connection, Health, OAuthGrant, OAuthGrantQuerySet, Server
from registry.oauth.tokens import Tokens
from registry.services.probing import QUEUE

REVOKE_JOB = "registry.jobs.revoke_grants"
MARGIN_S = 60  # an access token is renewed so long before it expires, a short-lived one at three quarters of its life


def forget_grants(*, user: User | None = None, server: Server) -> None:
    """Of one user, or of all: no token is sent any more, and a worker gives them back."""
    grants = OAuthGrant.objects.filter(server=server)
    with transaction.atomic():
        end_grants(grants if user is None else grants.filter(user=user))


def end_grants(grants: OAuthGrantQuerySet) -> None:
    """Within the caller's transaction."""
    if grants.filter(ended_at=None).update(ended_at=timezone.now()):
        transaction.on_commit(lambda: queues.queue(QUEUE).enqueue(REVOKE_JOB, result_ttl=0))


def claim_refresh(*, grant: OAuthGrant, until: datetime) -> bool:
    """May the caller spend the refresh token of this version? Nobody else may until then."""
    now = timezone.now()
    free = OAuthGrant.objects.filter(pk=grant.pk, version=grant.version, ended_at=None).exclude(
        refreshing_until__gt=now
    )
    return bool(free.update(refreshing_until=until))


def keep_renewed(*, grant: OAuthGrant, tokens: Tokens) -> None:
    OAuthGrant.objects.filter(pk=grant.pk, version=grant.version).update(
        version=grant.version + 1, refreshing_until=None, **columns_of(tokens, grant.scopes, timezone.now())
    )


def let_go(*, grant: OAuthGrant) -> None:
    """The refresh token was not spent: somebody may try again."""
    OAuthGrant.objects.filter(pk=grant.pk, version=grant.version).update(refreshing_until=None)


def end_renewal(*, grant: OAuthGrant, problem: str) -> None:
    """It will never be renewed again: whoever it belongs to must sign in."""
    with transaction.atomic():
        OAuthGrant.objects.filter(pk=grant.pk, version=grant.version).update(
            version=grant.version + 1, refreshing_until=None, tokens_encrypted=b"", problem=storable(problem)
        )
        _needs_sign_in(grant, problem)


def want_more(*, grant: OAuthGrant, scopes: tuple[str, ...], problem: str) -> None:
    with transaction.atomic():
        wanted = list(dict.fromkeys([*grant.wanted_scopes, *scopes]))
        OAuthGrant.objects.filter(pk=grant.pk).update(wanted_scopes=wanted)
        _needs_sign_in(grant, problem)


def _needs_sign_in(grant: OAuthGrant, problem: str) -> None:
    Connection.objects.filter(user=grant.user_id, server=grant.server_id).update(
        health=Health.NEEDS_AUTH, health_detail=storable(problem), checked_at=timezone.now()
    )


def columns_of(tokens: Tokens, scopes: list[str], now: datetime) -> dict[str, Any]:
    life = None if tokens.life_s is None else timedelta(seconds=tokens.life_s)
    margin = None if life is None else min(timedelta(seconds=MARGIN_S), life / 4)
    return {
        "tokens_encrypted": encrypt({"access": tokens.access, "refresh": tokens.refresh}),
        "scopes": list(tokens.scopes) or scopes,
        "expires_at": now + life if life is not None else None,
        "refresh_at": now + life - margin if life is not None and margin is not None else None,
        "refreshed_at": now,
        "problem": "",
    }
