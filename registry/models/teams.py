"""Teams: people who share servers, templates and results. Who belongs to one is told by its group of Django's."""

from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

Belonging: Any = User.groups.through  # user_id, group_id: the one place that says who is in a team


def teams_of(user: "User | AnonymousUser") -> models.QuerySet[Any]:
    """The ids of the teams (and other groups) this user belongs to, for `team__in`."""
    return Belonging.objects.filter(Q(user_id=user.pk)).values("group_id")


class TeamQuerySet(models.QuerySet["Team"]):
    def of(self, user: "User | AnonymousUser") -> "TeamQuerySet":
        return self.filter(pk__in=teams_of(user))

    def led_by(self, user: "User | AnonymousUser") -> "TeamQuerySet":
        """Those the user belongs to as an admin."""
        return self.of(user).filter(admins=user.pk)

    def known_to(self, user: "User | AnonymousUser") -> "TeamQuerySet":
        """Those the user belongs to, and those they are invited to."""
        invited = Invitation.objects.filter(Q(user_id=user.pk), team=OuterRef("pk"))
        return self.filter(Q(pk__in=teams_of(user)) | Exists(invited))

    def with_standing_of(self, user: "User | AnonymousUser") -> "TeamQuerySet":
        """Annotate `member_count`, `is_admin` and `is_member`."""
        inside = Belonging.objects.filter(group_id=OuterRef("pk"))
        counted = inside.order_by().values("group_id").annotate(count=models.Count("pk")).values("count")
        leading = Team.admins.through.objects.filter(team_id=OuterRef("pk")).filter(Q(user_id=user.pk))
        return self.annotate(
            member_count=models.functions.Coalesce(models.Subquery(counted), 0),
            is_member=Exists(inside.filter(user_id=user.pk)),
            is_admin=Exists(leading),
        )


class Team(models.Model):
    class Role(models.TextChoices):
        ADMIN = "admin"
        MEMBER = "member"
        INVITED = "invited"

    group = models.OneToOneField(Group, primary_key=True, on_delete=models.CASCADE, related_name="team")
    name = models.CharField(max_length=80)
    admins = models.ManyToManyField(User, related_name="teams_led", blank=True, help_text="members who manage it")
    created_at = models.DateTimeField(default=timezone.now)

    objects = TeamQuerySet.as_manager()

    class Meta:
        db_table = "teams"
        ordering = ["name", "group_id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return f"/teams/{self.pk}"

    def has(self, user: "User | AnonymousUser") -> bool:
        return Belonging.objects.filter(group_id=self.pk, user_id=user.pk).exists()

    def is_led_by(self, user: "User | AnonymousUser") -> bool:
        return Team.objects.led_by(user).filter(pk=self.pk).exists()

    def people(self) -> list[tuple[User, "Team.Role"]]:
        """Its members by name, admins among them, then who is invited. Three queries."""
        leading = set(self.admins.values_list("pk", flat=True))
        roles = {True: Team.Role.ADMIN, False: Team.Role.MEMBER}
        members = User.objects.filter(groups=self.pk).order_by("username")
        inside = [(user, roles[user.pk in leading]) for user in members]
        invited = User.objects.filter(invitations__team=self).order_by("username")
        return inside + [(user, Team.Role.INVITED) for user in invited]


class Invitation(models.Model):
    """Nobody is in a team without their own word."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="invitations")
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    invited_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "team_invitations"
        ordering = ["-invited_at"]
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="one_invitation_per_team_and_user")]

    def __str__(self) -> str:
        return f"{self.user_id} to {self.team_id}"


class OwnedQuerySet(models.QuerySet[Any]):
    def owned_by(self, user: "User | AnonymousUser") -> Self:
        return self.filter(owner_id=user.pk)


class SharedQuerySet(OwnedQuerySet):
    def shared_with(self, user: "User | AnonymousUser") -> Self:
        """What others share with a team of theirs."""
        return self.filter(team__in=teams_of(user)).exclude(owner_id=user.pk)

    def visible_to(self, user: "User | AnonymousUser") -> Self:
        """The user's own, and what is shared with them: two walks of an index, however many there are of others."""
        ids = self.model._default_manager.order_by().values("pk")
        return self.filter(pk__in=ids.owned_by(user).union(ids.filter(team__in=teams_of(user)), all=True))

    def of(self, user: "User | AnonymousUser", whose: str) -> Self:
        """`whose`: "me", "shared", or "" for both."""
        narrowed = {"me": self.owned_by, "shared": self.shared_with}
        return narrowed.get(whose, self.visible_to)(user)


class Shareable(models.Model):
    """What its `owner` may share with a team of theirs. It stays theirs: members see and use it."""

    team = models.ForeignKey(
        Team,
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="%(class)ss",
        help_text="whose members see and use it, too",
    )

    class Meta:
        abstract = True

    @staticmethod
    def index(name: str) -> models.Index:
        """Of what a team shares; most rows are nobody's but their owner's."""
        return models.Index(fields=["team"], condition=Q(team__isnull=False), name=name)

    def may_be_taken_back_by(self, user: "User | AnonymousUser") -> bool:
        """By its owner, and by the admins of the team it is shared with."""
        return bool(self.owner_id == user.pk or (self.team and self.team.is_led_by(user)))  # type: ignore[attr-defined]
