"""Teams and who is in them. Who leaves one is out of it at once, with everything they shared."""

from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q

from registry.models import Belonging, Invitation, Team
from registry.quotas import QuotaReached, check_quota


class TeamRefused(Exception):
    """The message is a sentence; `field` names what of the request it is about, if anything."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message, self.field = message, field


def create_team(*, user: User, name: str) -> Team:
    """With this user as its first admin."""
    with transaction.atomic():
        check_quota(user, "teams", Team.objects.led_by(user))
        group = Group.objects.create(name=f"team {uuid4()}")
        team = Team.objects.create(group=group, name=name)
        rename_team(team=team, name=name)
        group.user_set.add(user)
        team.admins.add(user)
    return team


def rename_team(*, team: Team, name: str) -> None:
    """Its group, whose name is unique among all there are, is told by the same name where staff look at it."""
    with transaction.atomic():
        team.name = name
        team.save(update_fields=["name"])
        Group.objects.filter(pk=team.pk).update(name=f"{name} (team {team.pk})")


def delete_team(*, team: Team) -> None:
    """What was shared with it is its owners' alone again."""
    team.group.delete()  # and what follows from it: `sharing.end_team`


def invite(*, team: Team, username: str, by: User) -> User:
    """Ask somebody to join; asking twice is asking once. Raises TeamRefused or QuotaReached."""
    with transaction.atomic():
        lock(team)
        user = None if "\x00" in username else User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise TeamRefused("There is no user of this name here.", "username")
        if team.has(user):
            raise TeamRefused(f"{username} is in this team already.", "username")
        _check_room(team)
        Invitation.objects.get_or_create(team=team, user=user, defaults={"invited_by": by})
    return user


def _check_room(team: Team) -> None:
    most = settings.QUOTAS["team members"]
    inside = Belonging.objects.filter(group_id=team.pk).count() + team.invitations.count()
    if most and inside >= most:
        raise QuotaReached(f"A team has at most {most:,} members.")


def join(*, team: Team, user: User) -> None:
    """Take up an invitation. Raises TeamRefused where there is none."""
    with transaction.atomic():
        lock(team)
        invited, _ = Invitation.objects.filter(team=team, user=user).delete()
        if not invited and not team.has(user):
            raise TeamRefused("You are not invited to this team.")
        team.group.user_set.add(user)


def remove(*, team: Team, user: User) -> None:
    """A member leaves or is sent away, an invitation is declined or withdrawn. The last member takes the team along.
    Raises TeamRefused for the only admin of others."""
    with transaction.atomic():
        lock(team)
        if Invitation.objects.filter(team=team, user=user).delete()[0]:
            return
        if not Belonging.objects.filter(group_id=team.pk).exclude(user_id=user.pk).exists():
            return delete_team(team=team)
        _keep_an_admin(team, without=user)
        team.group.user_set.remove(user)  # and what follows from it: `sharing.end_sharing`


def set_role(*, team: Team, user: User, role: str) -> None:
    """Raises TeamRefused for the only admin, and for who is not in the team."""
    with transaction.atomic():
        lock(team)
        if not team.has(user):
            raise TeamRefused(f"{user.get_username()} is not in this team yet.", "role")
        if role == Team.Role.ADMIN:
            team.admins.add(user)
        else:
            _keep_an_admin(team, without=user)
            team.admins.remove(user)


def lock(team: Team) -> None:
    """Comings and goings and sharing of one team are one after the other. Raises TeamRefused where it is gone."""
    if not Team.objects.select_for_update(no_key=True).filter(pk=team.pk).first():
        raise TeamRefused("There is no such team any more.")


def _keep_an_admin(team: Team, *, without: User) -> None:
    others = User.objects.filter(groups=team.pk, teams_led=team).exclude(pk=without.pk)
    if team.is_led_by(without) and not others.exists():
        raise TeamRefused("It needs an admin: make another member one first.")


def person_in(team: Team, username: str) -> User | None:
    """A member, or somebody invited."""
    if "\x00" in username:
        return None
    known = Q(groups=team.pk) | Q(invitations__team=team)
    return User.objects.filter(known, username=username).distinct().first()
