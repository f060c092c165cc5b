"""How much one user may have. Asked in the transaction that makes a row, where nobody else makes one for this user."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from rest_framework import status
from rest_framework.exceptions import APIException


class QuotaReached(APIException):
    """The message says what to do about it; waiting does not help."""

    status_code: int = status.HTTP_403_FORBIDDEN
    default_code = "quota_reached"


class TooManyRuns(QuotaReached):
    """Here waiting does help: `wait` seconds, as Retry-After."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "too_many_runs"
    wait = 10


def one_at_a_time(user: User) -> None:
    """Until the transaction ends nobody else makes, for this user, what is counted or shared. Rows that only name the
    user are not held up."""
    User.objects.select_for_update(no_key=True).only("pk").get(pk=user.pk)


def is_full(user: User, kind: str, rows: QuerySet[Any]) -> bool:
    """Has this user as many as they may, `rows` being what is theirs? Within a transaction."""
    if not (most := settings.QUOTAS[kind]):
        return False
    one_at_a_time(user)
    return bool(rows.count() >= most)


def check_quota(user: User, kind: str, rows: QuerySet[Any]) -> None:
    """As `is_full`. Raises QuotaReached."""
    if is_full(user, kind, rows):
        raise QuotaReached(
            f"You have {settings.QUOTAS[kind]:,} {kind}, and more are not allowed: delete some you no longer need."
        )
