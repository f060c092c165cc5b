"""What of a request says with which team something is shared: `"team": id` or `"team": null`."""

from typing import Any

from django.contrib.auth.models import User
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError

from registry.models import Shareable, Team
from registry.services.sharing import MayNotShare, share

MAX_ID = 2**31 - 1
WORDS = "whose members see and use it, too; null: nobody"


class TeamField(serializers.IntegerField):
    def __init__(self, **options: Any) -> None:
        told: dict[str, Any] = {"required": False, "allow_null": True, "help_text": WORDS}
        super().__init__(min_value=1, max_value=MAX_ID, **told | options)


def team_told(fields: dict[str, Any], user: User) -> Team | None:
    """Of the caller's teams, the one that `team` names; None for null, and where nothing is said. Raises
    ValidationError."""
    if (pk := fields.get("team")) is None:
        return None
    team = Team.objects.of(user).filter(pk=pk).first()
    if team is None:
        raise ValidationError({"team": ["You are in no such team."]})
    return team


def shared(thing: Shareable, team: Team | None, by: User) -> None:
    """As `share`, its refusal in the API's words."""
    try:
        share(thing=thing, team=team, by=by)
    except MayNotShare as refused:
        raise PermissionDenied(refused.message) from refused


class SharedSerializer(serializers.Serializer[Any]):
    """PATCH of what is only shared and taken back."""

    team = TeamField(required=True)
