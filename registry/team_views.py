"""Pages of teams, and what their buttons do."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from registry.models import Server, Team
from registry.pages import PageRequest, says_errors
from registry.services import teams as services
from registry.services.teams import TeamRefused
from registry.teams_api import role_of

SERVERS_SHOWN = 50


class TeamForm(forms.Form):
    name = forms.CharField(max_length=80)


def own_team(request: PageRequest, pk: int) -> Any:
    """One the user belongs to, with their standing."""
    return get_object_or_404(Team.objects.of(request.user).with_standing_of(request.user), pk=pk)


def led_team(request: PageRequest, pk: int) -> Team:
    return get_object_or_404(Team.objects.led_by(request.user), pk=pk)


def person(team: Team, request: PageRequest) -> User:
    found = services.person_in(team, request.POST.get("username", ""))
    if found is None:
        raise Http404("Nobody of this name is in the team.")
    return found


@login_required
@require_GET
def teams(request: PageRequest) -> HttpResponse:
    return teams_page(request, TeamForm())


def teams_page(request: PageRequest, form: TeamForm, status: int = 200) -> HttpResponse:
    known = Team.objects.known_to(request.user).with_standing_of(request.user)
    rows = [(team, role_of(team)) for team in known]
    context = {
        "teams": [(team, role) for team, role in rows if role != Team.Role.INVITED],
        "invitations": request.user.invitations.select_related("team", "invited_by"),
        "form": form,
    }
    return render(request, "registry/teams.html", context, status=status)


@login_required
@require_POST
def team_new(request: PageRequest) -> HttpResponse:
    form = TeamForm(request.POST)
    if not form.is_valid():
        return teams_page(request, form, 400)
    team = services.create_team(user=request.user, **form.cleaned_data)
    messages.success(request, "The team is made. Invite its members.")
    return redirect(team)


@login_required
@require_GET
def team(request: PageRequest, pk: int) -> HttpResponse:
    found = own_team(request, pk)
    servers = Server.objects.filter(team=found).exclude(status=Server.Status.DELETED).select_related("owner")
    context = {
        "team": found,
        "people": found.people(),
        "rename": TeamForm({"name": found.name}),
        "servers": servers.order_by("name")[:SERVERS_SHOWN],
    }
    return render(request, "registry/team.html", context)


@login_required
@require_POST
def team_rename(request: PageRequest, pk: int) -> HttpResponse:
    found, form = led_team(request, pk), TeamForm(request.POST)
    if form.is_valid():
        services.rename_team(team=found, **form.cleaned_data)
    else:
        messages.error(request, "A team needs a name of at most 80 characters.")
    return redirect("team", pk)


@login_required
@require_POST
@says_errors(TeamRefused)
def team_invite(request: PageRequest, pk: int) -> HttpResponse:
    username = request.POST.get("username", "").replace("\x00", "").strip()
    user = services.invite(team=led_team(request, pk), username=username, by=request.user)
    messages.success(request, f"{user} is invited, and is a member once they say so.")
    return redirect("team", pk)


@login_required
@require_POST
@says_errors(TeamRefused)
def team_remove(request: PageRequest, pk: int) -> HttpResponse:
    found = led_team(request, pk)
    user = person(found, request)
    services.remove(team=found, user=user)
    messages.success(request, f"{user} is out of the team.")
    return redirect("team", pk) if Team.objects.of(request.user).filter(pk=pk).exists() else redirect("teams")


@login_required
@require_POST
@says_errors(TeamRefused)
def team_role(request: PageRequest, pk: int) -> HttpResponse:
    found = led_team(request, pk)
    user, role = person(found, request), request.POST.get("role", "")
    if role not in (Team.Role.ADMIN, Team.Role.MEMBER):
        raise Http404("There is no such role.")
    services.set_role(team=found, user=user, role=role)
    messages.success(request, f"{user} is {'an admin' if role == Team.Role.ADMIN else 'a member'} now.")
    return redirect("team", pk)


@login_required
@require_POST
@says_errors(TeamRefused)
def team_join(request: PageRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Team.objects.known_to(request.user), pk=pk)
    services.join(team=found, user=request.user)
    messages.success(request, f"You are in {found} now.")
    return redirect("team", pk)


@login_required
@require_POST
@says_errors(TeamRefused)
def team_leave(request: PageRequest, pk: int) -> HttpResponse:
    """Or decline an invitation."""
    found = get_object_or_404(Team.objects.known_to(request.user), pk=pk)
    services.remove(team=found, user=request.user)
    messages.success(request, f"You are not in {found}.")
    return redirect("teams")


@login_required
@require_POST
def team_delete(request: PageRequest, pk: int) -> HttpResponse:
    services.delete_team(team=led_team(request, pk))
    messages.success(request, "The team is gone. What was shared with it is its owners' alone again.")
    return redirect("teams")
