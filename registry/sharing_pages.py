"""“Shared with” on the page of what can be shared."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import prefetch_related_objects
from django.http import Http404

from registry.models import Server, Shareable, Team
from registry.pages import PageRequest
from registry.services.sharing import share


@dataclass(frozen=True, slots=True)
class Sharing:
    """`teams`: of its owner, who looks at it; `may_end`: they or an admin of its team."""

    thing: Any
    is_own: bool
    is_public: bool
    may_end: bool
    teams: list[Team]


def with_sharing(servers: Iterable[Server]) -> None:
    """Load who shares them with whom: two queries, none where nothing is shared."""
    prefetch_related_objects([server for server in servers if server.team_id], "owner", "team")


def sharing_of(thing: Any, user: User) -> Sharing:
    is_own = thing.owner_id == user.pk
    is_public = isinstance(thing, Server) and thing.visibility == Server.Visibility.PUBLIC
    may_end = thing.team_id is not None and thing.may_be_taken_back_by(user)
    return Sharing(thing, is_own, is_public, may_end, list(Team.objects.of(user)) if is_own and not is_public else [])


def shared_by_form(request: PageRequest, thing: Shareable) -> None:
    """What the form asks for: a team's id as `team`, or nothing. Raises Http404 or MayNotShare."""
    asked = request.POST.get("team", "")
    team = (
        Team.objects.of(request.user).filter(pk=int(asked)).first() if asked.isdecimal() and len(asked) < 10 else None
    )
    if asked and team is None:
        raise Http404("You are in no such team.")
    share(thing=thing, team=team, by=request.user)
    messages.success(request, f"Shared with {team}." if team else "It is not shared any more.")
