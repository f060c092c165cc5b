"""The HTTP API of teams: the caller's own and those they are invited to; others are not found."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.api import Conflict, caller, validated
from registry.inputs import Input, Text
from registry.models import Team, TeamQuerySet
from registry.services import teams as services


class TeamSerializer(serializers.ModelSerializer[Team]):
    """Of teams annotated by `with_standing_of` the caller."""

    id = serializers.IntegerField(source="pk", read_only=True)
    role = serializers.SerializerMethodField()
    member_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = Team
        fields = ["id", "name", "role", "member_count", "created_at"]
        read_only_fields = fields

    def get_role(self, team: Any) -> str:
        """admin, member or invited: the caller's."""
        return role_of(team).value


def role_of(team: Any) -> Team.Role:
    """Of a team annotated `with_standing_of` somebody."""
    if not team.is_member:
        return Team.Role.INVITED
    return Team.Role.ADMIN if team.is_admin else Team.Role.MEMBER


class TeamInput(Input):
    name = Text(max_length=80)


class MemberSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(Team.Role.choices)


class PeopleSerializer(serializers.Serializer[Any]):
    results = MemberSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    count = serializers.IntegerField()


class InviteInput(Input):
    username = Text(max_length=150)


class RoleInput(Input):
    role = serializers.ChoiceField([Team.Role.ADMIN, Team.Role.MEMBER])


def known_teams(request: Request) -> TeamQuerySet:
    return Team.objects.known_to(request.user).with_standing_of(request.user)


def known_team(request: Request, pk: int, *roles: Team.Role) -> Team:
    """One in which the caller has one of these roles. Raises NotFound or PermissionDenied."""
    team = known_teams(request).filter(pk=pk).first()
    if team is None or (role_of(team) == Team.Role.INVITED and Team.Role.INVITED not in roles):
        raise NotFound("You are in no such team.")
    if role_of(team) not in roles:
        raise PermissionDenied("Only an admin of the team may do this.")
    return team


MEMBERS = (Team.Role.ADMIN, Team.Role.MEMBER)
ALL = (*MEMBERS, Team.Role.INVITED)


class TeamConflict(Conflict):
    """What is asked is well-formed, and cannot be done as things stand."""

    def __init__(self, refused: services.TeamRefused) -> None:
        super().__init__(refused.message)
        self.fields = {refused.field: [refused.message]} if refused.field else None


def done(verb: Callable[..., Any], **arguments: Any) -> Any:
    """What the service returns; what it refuses, in the API's words."""
    try:
        return verb(**arguments)
    except services.TeamRefused as refused:
        raise TeamConflict(refused) from refused


class TeamList(generics.ListAPIView[Team]):
    """The caller's teams, and those they are invited to."""

    serializer_class = TeamSerializer

    def get_queryset(self) -> TeamQuerySet:
        assert self.paginator is not None
        self.paginator.ordering = ("name", "group_id")  # type: ignore[attr-defined]
        return known_teams(self.request)

    @extend_schema(request=TeamInput, responses={201: TeamSerializer})
    def post(self, request: Request) -> Response:
        """Make a team, with yourself as its admin."""
        fields = validated(TeamInput(data=request.data))
        team = done(services.create_team, user=caller(request), **fields)
        return Response(TeamSerializer(known_teams(request).get(pk=team.pk)).data, status=status.HTTP_201_CREATED)


class TeamDetail(APIView):
    @extend_schema(responses=TeamSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """One of your teams."""
        return Response(TeamSerializer(known_team(request, pk, *MEMBERS)).data)

    @extend_schema(request=TeamInput, responses=TeamSerializer)
    def patch(self, request: Request, pk: int) -> Response:
        """Rename it, or not."""
        team = known_team(request, pk, Team.Role.ADMIN)
        if changed := validated(TeamInput(data=request.data, partial=True)):
            done(services.rename_team, team=team, **changed)
        return Response(TeamSerializer(known_teams(request).get(pk=pk)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """What was shared with it is its owners' alone again."""
        done(services.delete_team, team=known_team(request, pk, Team.Role.ADMIN))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TeamMembership(APIView):
    @extend_schema(request=None, responses=TeamSerializer)
    def put(self, request: Request, pk: int) -> Response:
        """Join a team you are invited to."""
        done(services.join, team=known_team(request, pk, *ALL), user=caller(request))
        return Response(TeamSerializer(known_teams(request).get(pk=pk)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Leave a team, or decline an invitation: what others share with it is out of your sight, and what you shared
        out of theirs."""
        done(services.remove, team=known_team(request, pk, *ALL), user=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TeamMembers(APIView):
    @extend_schema(responses=PeopleSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """Who is in the team and who is invited, with their roles."""
        people = known_team(request, pk, *MEMBERS).people()
        told = [{"username": user.get_username(), "role": role} for user, role in people]
        return Response({"results": told, "next": None, "count": len(told)})

    @extend_schema(request=InviteInput, responses={201: MemberSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Invite somebody by user name; they join by their own word."""
        team = known_team(request, pk, Team.Role.ADMIN)
        user = done(services.invite, team=team, by=caller(request), **validated(InviteInput(data=request.data)))
        told = {"username": user.get_username(), "role": Team.Role.INVITED}
        return Response(told, status=status.HTTP_201_CREATED)


class TeamMember(APIView):
    @extend_schema(request=RoleInput, responses=MemberSerializer)
    def patch(self, request: Request, pk: int, username: str) -> Response:
        """Make a member an admin, or an admin a member."""
        team = known_team(request, pk, Team.Role.ADMIN)
        user = person_in(team, username)
        if changed := validated(RoleInput(data=request.data, partial=True)):
            done(services.set_role, team=team, user=user, **changed)
        return Response({"username": username, "role": dict(team.people())[user]})

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int, username: str) -> Response:
        """Take a member out, or an invitation back: access ends at once."""
        team = known_team(request, pk, Team.Role.ADMIN)
        done(services.remove, team=team, user=person_in(team, username))
        return Response(status=status.HTTP_204_NO_CONTENT)


def person_in(team: Team, username: str) -> User:
    """A member or somebody invited. Raises NotFound."""
    found = services.person_in(team, username)
    if found is None:
        raise NotFound("Nobody of this name is in the team.")
    return found
