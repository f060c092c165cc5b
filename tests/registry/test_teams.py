"""Teams: who is in them, what they share, and that leaving ends it at once."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from rest_framework.test import APIClient

from chains.models import Result, Template
from registry.models import Connection, Invitation, SearchDocument, Server, Team, Tool
from registry.search import search_servers
from registry.services import add_server, authorise
from registry.services.teams import create_team, invite, join, remove
from tests.conftest import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(alice: User, bob: User) -> Team:
    """Alice's, with bob in it."""
    made = create_team(user=alice, name="Weather people")
    invite(team=made, username="bob", by=alice)
    join(team=made, user=bob)
    return made


@pytest.fixture
def carol(db: None) -> User:
    return User.objects.create_user("carol")


@pytest.fixture
def server(alice: User) -> Server:
    """Private, with a tool."""
    made = add_server(owner=alice, name="barometer", url="http://127.0.0.1:9/mcp", credentials={"X-Key": "alices"})
    Tool.objects.create(
        server=made, name="pressure", schema_hash="h", content_hash="", search_text="pressure barometer"
    )
    return made


@pytest.fixture
def shared(server: Server, team: Team, api: APIClient) -> Server:
    assert api.patch(f"/registry/{server.pk}", {"team": team.pk}).status_code == 200
    server.refresh_from_db()
    return server


def found_by(user: User, q: str = "barometer") -> list[str]:
    return [hit.server.slug for hit in search_servers(q, user=user).hits]


def test_who_makes_a_team_is_its_admin_and_invites_others_who_join_by_their_own_word(
    api: APIClient, bob_api: APIClient
) -> None:
    team = api.post("/teams", {"name": "Crew"}).json()
    assert (team["role"], team["member_count"]) == ("admin", 1)
    invited = api.post(f"/teams/{team['id']}/members", {"username": "bob"})
    assert (invited.status_code, invited.json()) == (201, {"username": "bob", "role": "invited"})
    assert [each["role"] for each in bob_api.get("/teams").json()["results"]] == ["invited"]
    assert bob_api.get(f"/teams/{team['id']}").status_code == 404
    assert bob_api.put(f"/teams/{team['id']}/membership").json()["role"] == "member"
    people = bob_api.get(f"/teams/{team['id']}/members").json()["results"]
    assert people == [{"username": "alice", "role": "admin"}, {"username": "bob", "role": "member"}]


def test_only_admins_manage_a_team_and_strangers_do_not_find_it(team: Team, bob_api: APIClient, carol: User) -> None:
    where = f"/teams/{team.pk}"
    assert bob_api.patch(where, {"name": "Mine"}).status_code == 403
    assert bob_api.post(f"{where}/members", {"username": "carol"}).status_code == 403
    assert bob_api.delete(f"{where}/members/alice").status_code == 403
    assert bob_api.delete(where).status_code == 403
    stranger = client_of(carol)
    assert stranger.put(f"{where}/membership").status_code == 404
    assert stranger.get(f"{where}/members").status_code == 404
    assert stranger.get("/teams").json()["results"] == []


def test_nobody_can_be_invited_who_is_not_here_or_is_in_it_already(team: Team, api: APIClient) -> None:
    for name, status in {"nobody": 409, "bob": 409, "x\x00": 400}.items():
        refused = api.post(f"/teams/{team.pk}/members", {"username": name})
        assert refused.status_code == status, name
        assert list(refused.json()["error"]["fields"]) == (["username"] if status == 409 else [])
    assert not Invitation.objects.exists()
    assert api.get(f"/teams/{2**40}").status_code == 404


def test_a_change_of_nothing_changes_nothing(team: Team, api: APIClient) -> None:
    where = f"/teams/{team.pk}"
    before = api.get(where).json()
    unchanged = api.patch(where, {})
    assert (unchanged.status_code, unchanged.json()) == (200, before)
    assert api.patch(f"{where}/members/bob", {}).json() == {"username": "bob", "role": "member"}
    assert api.patch(f"{where}/members/alice", {}).json() == {"username": "alice", "role": "admin"}


def test_a_team_keeps_an_admin_and_ends_with_its_last_member(team: Team, api: APIClient, bob_api: APIClient) -> None:
    where = f"/teams/{team.pk}"
    assert api.delete(f"{where}/membership").status_code == 409
    assert api.patch(f"{where}/members/alice", {"role": "member"}).status_code == 409
    assert api.patch(f"{where}/members/bob", {"role": "admin"}).status_code == 200
    assert api.delete(f"{where}/membership").status_code == 204
    assert bob_api.get(where).json()["role"] == "admin"
    assert bob_api.delete(f"{where}/membership").status_code == 204
    assert not Team.objects.exists() and not Group.objects.exists()


def test_a_shared_server_is_seen_found_and_authorised_by_members_with_credentials_of_their_own(
    shared: Server, bob: User, bob_api: APIClient, carol: User
) -> None:
    assert bob_api.get(f"/registry/{shared.pk}").json()["team"] == shared.team_id
    assert found_by(bob) == ["barometer"] and found_by(carol) == []
    assert [each["slug"] for each in bob_api.get("/registry?owner=shared").json()["results"]] == ["barometer"]
    told = bob_api.put(f"/registry/{shared.pk}/connection", {"credentials": {"X-Key": "bobs"}})
    assert told.status_code == 200
    assert Tool.objects.authorised_by(bob).count() == 1
    connections = Connection.objects.filter(server=shared)
    assert len({bytes(each.credentials_encrypted) for each in connections}) == 2
    assert client_of(carol).get(f"/registry/{shared.pk}").status_code == 404


def test_members_change_and_delete_nothing_of_what_is_shared(shared: Server, bob_api: APIClient) -> None:
    where = f"/registry/{shared.pk}"
    assert bob_api.patch(where, {"name": "mine"}).status_code == 403
    assert bob_api.patch(where, {"team": None}).status_code == 403
    assert bob_api.delete(where).status_code == 403
    shared.refresh_from_db()
    assert shared.team is not None


def test_an_admin_of_the_team_takes_a_server_out_of_it_and_no_more(
    shared: Server, team: Team, bob: User, bob_api: APIClient
) -> None:
    team.admins.add(bob)
    assert bob_api.patch(f"/registry/{shared.pk}", {"team": None, "url": "http://127.0.0.1:8/"}).status_code == 403
    assert bob_api.patch(f"/registry/{shared.pk}", {"team": None}).status_code == 200
    assert bob_api.get(f"/registry/{shared.pk}").status_code == 404


@pytest.mark.parametrize("way", ["leaves", "is removed", "staff take the group", "the team ends", "taken back"])
def test_access_ends_at_once(
    way: str, shared: Server, team: Team, api: APIClient, bob: User, bob_api: APIClient
) -> None:
    authorise(user=bob, server=shared, credentials={"X-Key": "bobs"})
    ways: dict[str, Callable[[], object]] = {
        "leaves": lambda: bob_api.delete(f"/teams/{team.pk}/membership"),
        "is removed": lambda: api.delete(f"/teams/{team.pk}/members/bob"),
        "staff take the group": lambda: bob.groups.clear(),
        "the team ends": lambda: api.delete(f"/teams/{team.pk}"),
        "taken back": lambda: api.patch(f"/registry/{shared.pk}", {"team": None}),
    }
    ways[way]()
    assert found_by(bob) == []
    assert not SearchDocument.objects.visible_to(bob).exists()
    assert not Tool.objects.authorised_by(bob).exists()
    assert not Connection.objects.filter(user=bob).exists()
    assert bob_api.get(f"/registry/{shared.pk}").status_code == 404


def test_who_leaves_takes_what_they_shared_along(
    team: Team, alice: User, bob: User, server: Server, bob_api: APIClient
) -> None:
    team.admins.add(bob)
    template = Template.objects.create(owner=alice, name="t", plan={"steps": []}, team=team)
    result = Result.objects.create(owner=alice, kind="summary", title="r", team=team)
    kept = Template.objects.create(owner=bob, name="b", plan={"steps": []}, team=team)
    remove(team=team, user=alice)
    for each in (template, result, kept):
        each.refresh_from_db()
    assert (template.team, result.team, kept.team) == (None, None, team)
    assert not team.admins.filter(pk=alice.pk).exists()
    assert bob_api.get(f"/chain/templates/{template.pk}").status_code == 404


def test_only_a_private_server_and_only_a_team_of_ones_own(
    server: Server, alice: User, carol: User, api: APIClient
) -> None:
    others = create_team(user=carol, name="Others")
    where = f"/registry/{server.pk}"
    assert api.patch(where, {"team": others.pk}).status_code == 400
    mine = create_team(user=alice, name="Mine")
    assert api.patch(where, {"visibility": "public"}).status_code == 200
    assert api.patch(where, {"team": mine.pk}).status_code == 403
    assert api.patch(where, {"visibility": "private", "team": mine.pk}).json()["team"] == mine.pk
    assert api.patch(where, {"visibility": "public"}).json()["team"] is None


def test_a_server_that_is_public_no_longer_forgets_the_credentials_of_others(
    server: Server, api: APIClient, bob: User
) -> None:
    api.patch(f"/registry/{server.pk}", {"visibility": "public"})
    authorise(user=bob, server=server, credentials={"X-Key": "bobs"})
    api.patch(f"/registry/{server.pk}", {"visibility": "private"})
    assert list(server.connections.values_list("user__username", flat=True)) == ["alice"]


def test_a_command_that_staff_share_with_a_team_is_started_for_its_members(staff: User, bob: User) -> None:
    team = create_team(user=staff, name="Ops")
    server = add_server(owner=staff, name="clock", command="clock")
    Server.objects.filter(pk=server.pk).update(team=team)
    team.group.user_set.add(bob)
    assert authorise(user=bob, server=Server.objects.get(pk=server.pk)).all_tools


def test_the_pages_do_the_same_without_javascript(web: Client, bob: User, server: Server) -> None:
    other = Client()
    other.force_login(bob)
    assert "You are in no team yet" in web.get("/teams", headers={"Accept": "text/html"}).content.decode()
    web.post("/teams/new", {"name": "Crew"})
    where = Team.objects.get().get_absolute_url()
    web.post(f"{where}/invite", {"username": "bob"})
    assert "invites you to the team" in other.get("/teams", headers={"Accept": "text/html"}).content.decode()
    other.post(f"{where}/join")
    web.post("/servers/barometer/share", {"team": where.rpartition("/")[2]})
    assert "shared by <bdi>alice</bdi>" in " ".join(other.get("/servers").content.decode().split())
    assert "Authorise" in other.get("/servers/barometer").content.decode()
    assert other.post("/servers/barometer/share", {"team": ""}, follow=True).status_code == 200
    assert Server.objects.get().team is not None
    web.post(f"{where}/role", {"username": "bob", "role": "admin"})
    assert other.post("/servers/barometer/share", {"team": ""}).headers["Location"] == "/servers"
    other.post(f"{where}/remove", {"username": "alice"})
    assert [user.username for user, _ in Team.objects.get().people()] == ["bob"]
    other.post(f"{where}/leave")
    assert not Team.objects.exists()


def test_staff_look_after_teams_in_the_admin(staff: User, team: Team) -> None:
    staff.is_superuser = True
    staff.save()
    desk = Client()
    desk.force_login(staff)
    assert "Weather people" in desk.get("/admin/registry/team/").content.decode()
    page = desk.get(f"/admin/registry/team/{team.pk}/change/").content.decode()
    assert "alice (admin), bob (member)" in page
    desk.post(f"/admin/registry/team/{team.pk}/delete/", {"post": "yes"})
    assert not Group.objects.exists()
