"""What people share with their teams, and what ends it."""

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.signals import m2m_changed, pre_delete

from registry.models import Belonging, Connection, Server, Shareable, Team
from registry.services.teams import TeamRefused, lock


class MayNotShare(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def share(*, thing: Any, team: Team | None, by: User) -> None:
    """Let the members of a team of its owner see and use it; with None nobody any more but its owner. A server that is
    not seen any more by who authorised it loses what they authorised. Raises MayNotShare."""
    with transaction.atomic():
        if team is None:
            _check_taking_back(thing, by)
        else:
            _check_giving(thing, team, by)
        thing.team = team
        thing.save(update_fields=["team"])
        if isinstance(thing, Server):
            Connection.objects.out_of_sight().filter(server=thing).delete()


def _check_taking_back(thing: Any, by: User) -> None:
    if not thing.may_be_taken_back_by(by) and not by.is_staff:
        raise MayNotShare("Only its owner, or an admin of the team, may end this.")


def _check_giving(thing: Any, team: Team, by: User) -> None:
    try:
        lock(team)
    except TeamRefused as gone:
        raise MayNotShare(gone.message) from gone
    if thing.owner_id != by.pk:
        raise MayNotShare("Only its owner may share it.")
    if not team.has(by):
        raise MayNotShare("You are in no such team.")
    if getattr(thing, "visibility", None) == Server.Visibility.PUBLIC:
        raise MayNotShare("It is public: everybody here sees it already. Make it private to share it with a team only.")


def end_sharing(*, instance: Any, action: str, **_: Any) -> None:
    """Somebody is out of a group, whoever took them out: of what they share in it nothing is shared any more, nor are
    they its admin, and what they authorised of its servers is deleted. Receives m2m_changed."""
    if action not in ("post_remove", "post_clear"):
        return
    is_person = isinstance(instance, User)
    with transaction.atomic():
        servers = _unshare(Q(owner=instance) if is_person else Q(team=instance.pk))
        still = Belonging.objects.filter(user_id=OuterRef("user_id"), group_id=OuterRef("team_id"))
        Team.admins.through.objects.filter(~Exists(still)).delete()
        touched = Q(user=instance) if is_person else Q(server__team=instance.pk)
        Connection.objects.out_of_sight().filter(touched | Q(server__in=servers)).delete()


def _unshare(these: Q) -> list[Any]:
    """What of these is shared with a team its owner is not in; the ids of the servers among it."""
    member = Belonging.objects.filter(user_id=OuterRef("owner_id"), group_id=OuterRef("team_id"))
    lost = these & ~Exists(member) & Q(team__isnull=False, owner__isnull=False)
    servers = list(Server.objects.filter(lost).values_list("pk", flat=True))
    for model in Shareable.__subclasses__():
        rows: Any = model._default_manager  # type: ignore[attr-defined]
        rows.filter(lost).update(team=None)
    return servers


def end_team(*, instance: Team, **_: Any) -> None:
    """What others authorised of its servers is deleted with it. Receives pre_delete."""
    others = Connection.objects.filter(server__team=instance, user__is_staff=False)
    others.exclude(user_id=F("server__owner_id")).delete()


def listen() -> None:
    m2m_changed.connect(end_sharing, sender=Belonging)
    pre_delete.connect(end_team, sender=Team)
