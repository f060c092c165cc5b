"""Of every address there is: what one tenant has does not exist for another, and nobody is anybody before signing in.

ADDRESSES has an entry for each route of the resolver; a new address without one fails the first test.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.base import ContentFile
from django.db import close_old_connections, connections, transaction
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from chains.models import Result, Run, Schedule, Template
from chains.routing import websocket_urlpatterns
from chat.models import Conversation, Message
from registry.models import HealthCheck, Server, SourceRecord, Team, Tool
from registry.services import authorise
from registry.services.teams import create_team
from tests.conftest import client_of
from tests.mcpregistry.addresses import example_of, routes

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "patch", "delete")
WORD = "barometer"  # in every text of everything alice has


@dataclass(frozen=True, slots=True)
class Address:
    """`path` names alice's objects in braces; `said` is what its form wants, so that it is found at all."""

    path: str
    said: dict[str, str] = field(default_factory=dict)


Own = partial(Address)  # an object of alice's: 404 for others
OWN = {
    "chat/<uuid:conversation_id>": Own("/chat/{conversation}"),
    "chat/<uuid:run_id>/inputs": Own("/chat/{chat_run}/inputs"),
    "chat/<uuid:run_id>/plan": Own("/chat/{chat_run}/plan"),
    "chat/<uuid:conversation_id>/stop": Own("/chat/{conversation}/stop"),
    "chat/<uuid:conversation_id>/export": Own("/chat/{conversation}/export"),
    "chat/messages/<uuid:message_id>/edit": Own("/chat/messages/{message}/edit", {"user_msg": "x"}),
    "chat/messages/<uuid:message_id>/regenerate": Own("/chat/messages/{message}/regenerate"),
    "chat/<uuid:id>/stream": Own("/chat/{conversation}/stream"),
    "turns/<uuid:run_id>": Own("/turns/{chat_run}"),
    "turns/<uuid:run_id>/inputs": Own("/turns/{chat_run}/inputs"),
    "turns/<uuid:run_id>/plan": Own("/turns/{chat_run}/plan"),
    "messages/<uuid:pk>/edit": Own("/messages/{message}/edit", {"user_msg": "x"}),
    "messages/<uuid:pk>/regenerate": Own("/messages/{message}/regenerate"),
    "conversations/<uuid:pk>/change": Own("/conversations/{conversation}/change"),
    "conversations/<uuid:pk>/delete": Own("/conversations/{conversation}/delete"),
    "chain/runs/<uuid:pk>": Own("/chain/runs/{run}"),
    "chain/runs/<uuid:pk>/events": Own("/chain/runs/{run}/events"),
    "chain/runs/<uuid:pk>/approve": Own("/chain/runs/{run}/approve"),
    "chain/runs/<uuid:pk>/reject": Own("/chain/runs/{run}/reject"),
    "chain/runs/<uuid:pk>/resolve": Own("/chain/runs/{run}/resolve"),
    "chain/runs/<uuid:pk>/cancel": Own("/chain/runs/{run}/cancel"),
    "chain/runs/<uuid:pk>/retry": Own("/chain/runs/{run}/retry"),
    "chain/templates/<uuid:pk>/export": Own("/chain/templates/{template}/export"),
    "chain/templates/<uuid:pk>": Own("/chain/templates/{template}"),
    "results/<uuid:pk>": Own("/results/{result}"),
    "results/<uuid:pk>/file": Own("/results/{result}/file"),
    "results/<uuid:pk>/share": Own("/results/{result}/share"),
    "runs/<uuid:pk>": Own("/runs/{run}"),
    "runs/<uuid:pk>/cancel": Own("/runs/{run}/cancel"),
    "runs/<uuid:pk>/retry": Own("/runs/{run}/retry"),
    "runs/<uuid:pk>/approve": Own("/runs/{run}/approve"),
    "runs/<uuid:pk>/reject": Own("/runs/{run}/reject"),
    "runs/<uuid:pk>/resolve": Own("/runs/{run}/resolve", {"action": "skip", "step": "s1"}),
    "runs/<uuid:pk>/execute": Own("/runs/{run}/execute"),
    "runs/<uuid:pk>/template": Own("/runs/{run}/template"),
    "templates/<uuid:pk>/edit": Own("/templates/{template}/edit"),
    "templates/<uuid:pk>/versions/<int:version>": Own("/templates/{template}/versions/1"),
    "templates/<uuid:pk>/versions/<int:version>/restore": Own("/templates/{template}/versions/1/restore"),
    "templates/<uuid:pk>/schedule": Own("/templates/{template}/schedule"),
    "templates/<uuid:pk>/schedule/times": Own("/templates/{template}/schedule/times"),
    "templates/<uuid:pk>/duplicate": Own("/templates/{template}/duplicate"),
    "templates/<uuid:pk>": Own("/templates/{template}"),
    "templates/<uuid:pk>/execute": Own("/templates/{template}/execute"),
    "templates/<uuid:pk>/accept": Own("/templates/{template}/accept"),
    "templates/<uuid:pk>/rename": Own("/templates/{template}/rename"),
    "templates/<uuid:pk>/share": Own("/templates/{template}/share"),
    "templates/<uuid:pk>/delete": Own("/templates/{template}/delete"),
    "registry/<str:server>": Own("/registry/{server}"),
    "registry/<str:server>/tools": Own("/registry/{server}/tools"),
    "registry/<str:server>/tools/<path:tool>/accept": Own("/registry/{server}/tools/pressure/accept"),
    "registry/<str:server>/tools/<path:tool>/call": Own("/registry/{server}/tools/pressure/call"),
    "registry/<str:server>/connection": Own("/registry/{server}/connection"),
    "registry/<str:server>/healthcheck": Own("/registry/{server}/healthcheck"),
    "servers/<str:name>": Own("/servers/{slug}"),
    "servers/<str:name>/try/<int:pk>": Own("/servers/{slug}/try/{tool}"),
    "servers/<str:name>/test": Own("/servers/{slug}/test"),
    "servers/<str:name>/authorise": Own("/servers/{slug}/authorise"),
    "servers/<str:name>/accept": Own("/servers/{slug}/accept"),
    "servers/<str:name>/revoke": Own("/servers/{slug}/revoke"),
    "servers/<str:name>/share": Own("/servers/{slug}/share"),
    "servers/<str:name>/delete": Own("/servers/{slug}/delete"),
    "teams/<int:pk>": Own("/teams/{team}"),
    "teams/<int:pk>/membership": Own("/teams/{team}/membership"),
    "teams/<int:pk>/members": Own("/teams/{team}/members"),
    "teams/<int:pk>/members/<str:username>": Own("/teams/{team}/members/alice", {"role": "admin"}),
    "teams/<int:pk>/rename": Own("/teams/{team}/rename"),
    "teams/<int:pk>/invite": Own("/teams/{team}/invite"),
    "teams/<int:pk>/remove": Own("/teams/{team}/remove", {"username": "alice"}),
    "teams/<int:pk>/role": Own("/teams/{team}/role", {"username": "alice", "role": "admin"}),
    "teams/<int:pk>/join": Own("/teams/{team}/join"),
    "teams/<int:pk>/leave": Own("/teams/{team}/leave"),
    "teams/<int:pk>/delete": Own("/teams/{team}/delete"),
}
LISTS = {  # what everybody who is signed in has of their own, with all that a query may name of alice's
    "": ["/", "/?conversation={conversation}", "/?conversation={conversation}&at={message}"],
    "chat": ["/chat", f"/chat?q={WORD}"],
    "commands": ["/commands"],
    "conversations": ["/conversations", f"/conversations?q={WORD}"],
    "chain/runs": ["/chain/runs", f"/chain/runs?q={WORD}", "/chain/runs?template={template}"],
    "chain/templates": ["/chain/templates", "/chain/templates?owner=shared", "/chain/templates?owner=me"],
    "results": ["/results", "/results?owner=shared", f"/results?q={WORD}", f"/results?q={WORD}&owner=shared"],
    "runs": ["/runs", "/runs?template={template}", f"/runs?q={WORD}"],
    "runs/compare": ["/runs/compare?run={run}&run={chat_run}"],
    "templates": ["/templates", "/templates?owner=shared"],
    "templates/tools": ["/templates/tools?q=pressure"],
    "registry": ["/registry", "/registry?owner=me", "/registry?owner=shared", f"/registry?q={WORD[:4]}"],
    "registry/search": ["/registry/search?q=pressure", "/registry/search?q=pressure&owner=shared"],
    "registry/tools/search": ["/registry/tools/search?q=pressure"],
    "teams": ["/teams"],
    "servers": ["/servers", "/servers?q=pressure", "/servers?owner=shared"],
    "account": ["/account"],
}
FORMS = {  # pages on which something is made, and verbs that take what they are about in what is sent along
    "say", "chain/execute", "chain/validate", "chain/templates/import", "templates/new", "templates/import",
    "servers/new", "servers/new/paste", "teams/new",
}  # fmt: skip
STAFF = {"sources", "sources/<str:name>", "sources/<str:name>/import"}
OPEN = {"v0.1/servers", "signin/<str:uid>/<str:token>", "favicon.ico", "healthz", "api/schema", "api/docs"}
HIDDEN = {  # public addresses by a name: alice's private server has none
    "v0.1/servers/<path:name>/versions": "/v0.1/servers/{slug}/versions",
    "v0.1/servers/<path:name>/versions/<str:version>": "/v0.1/servers/{slug}/versions/latest",
    "servers/<path:name>/versions": "/servers/{slug}/versions",
    "servers/<path:name>/versions/<str:version>": "/servers/{slug}/versions/latest",
}
PREFIXES = ("admin/", "accounts/")  # whole applications: staff's, and those of signing in
REFERENCES = [  # alice's objects named in what bob sends along
    ("/chat", {"conversation_id": "{conversation}", "user_msg": "x"}),
    ("/say", {"conversation": "{conversation}", "user_msg": "x"}),
    ("/chain/execute", {"template_id": "{template}"}),
    ("/chain/templates", {"name": "x", "run_id": "{run}"}),
]

PLAN = {"version": 1, "steps": [{"id": "s1", "server": WORD, "tool": "pressure", "arguments": {"at": WORD}}]}


@pytest.fixture
def names(alice: User) -> dict[str, str]:
    """What alice has, by the names in braces."""
    server = _server(alice)
    SourceRecord.objects.create(server=server, source="docker", external_id=WORD, data={"name": WORD}, content_hash="")
    template = _template(alice)
    conversation = Conversation.objects.create(owner=alice, title=WORD)
    chat_run = Run.objects.create(owner=alice, kind="chat", conversation_id=conversation.pk, inputs={"at": WORD})
    run = Run.objects.create(owner=alice, template=template, plan=PLAN, inputs={"at": WORD}, status="failed")
    run.tool_runs.create(step="s1", position=0, server=server, server_slug=WORD, tool="pressure")
    message = conversation.messages.create(role=Message.Role.USER, content=WORD, run=chat_run)
    result = Result.objects.create(owner=alice, run=run, kind="file", title=WORD, summary=WORD, size_bytes=9)
    result.file.save(f"{WORD}.txt", ContentFile(WORD.encode()))
    team = create_team(user=alice, name=WORD)
    named = {"server": server, "template": template, "conversation": conversation, "chat_run": chat_run, "run": run}
    named |= {"message": message, "result": result, "team": team, "tool": Tool.objects.get()}
    return {name: str(each.pk) for name, each in named.items()} | {"slug": server.slug}


def _server(alice: User) -> Server:
    server = Server.objects.create(
        slug=WORD, name=WORD, url="http://127.0.0.1:9/mcp", transport="sse", owner=alice, search_text=WORD
    )
    Tool.objects.create(
        server=server,
        name="pressure",
        description=WORD,
        schema_hash="h",
        content_hash="",
        search_text=f"pressure {WORD}",
    )
    HealthCheck.objects.create(server=server, user=alice, health="ok", detail=WORD)
    authorise(user=alice, server=server, credentials={"X-Key": WORD})
    return server


def _template(alice: User) -> Template:
    template = Template.objects.create(owner=alice, name=WORD, plan=PLAN, version=2)
    template.former.create(version=1, plan=PLAN, saved_at=timezone.now(), saved_by=alice)
    Schedule.objects.create(template=template, at="08:00", inputs={"at": WORD}, next_at=timezone.now())
    return template


def page_of(user: User | None) -> Client:
    client = Client(headers={"Accept": "text/html"})
    if user is not None:
        client.force_login(user)
    return client


def clients_of(user: User | None) -> list[tuple[str, Client]]:
    """As a browser with pages, and as a program with the API."""
    return [("page", page_of(user)), ("API", client_of(user) if user else APIClient())]


def asked(client: Any, method: str, path: str, said: Any = None) -> Any:
    """The answer, and whatever it changed is as it was. What is streamed is not read."""
    with transaction.atomic():
        answer = getattr(client, method)(path, said) if method != "get" else client.get(path)
        transaction.set_rollback(True)
    return answer


def everywhere(paths: dict[str, Address], names: dict[str, str], user: User | None) -> Iterator[tuple[str, str, Any]]:
    """Every method at each of the addresses, by page and by API: where, method and answer."""
    for way, client in clients_of(user):
        for address in paths.values():
            for method in METHODS:
                path = address.path.format(**names)
                sent = "application/x-www-form-urlencoded" if way == "page" and method != "post" else None
                yield f"{way} {method} {path}", method, asked(client, method, path, None if sent else address.said)


def test_every_address_is_in_this_table() -> None:
    known = {*OWN, *LISTS, *FORMS, *STAFF, *OPEN, *HIDDEN}
    unknown = [route for route in routes() if route not in known and not route.startswith(PREFIXES)]
    assert unknown == []
    assert known <= set(routes())


def test_what_another_tenant_has_is_not_found_by_whatever_method(bob: User, names: dict[str, str]) -> None:
    seen: dict[str, set[int]] = {}
    for where, _, answer in everywhere(OWN, names, bob):
        assert answer.status_code in (404, 405), f"{where}: {answer.status_code}"
        seen.setdefault(where.split()[-1], set()).add(answer.status_code)
    assert [path for path, statuses in seen.items() if 404 not in statuses] == []


def test_its_owner_finds_it_at_the_same_addresses(alice: User, names: dict[str, str]) -> None:
    """Else the test before this one would prove nothing."""
    found = {
        where.split()[-1] for where, _, answer in everywhere(OWN, names, alice) if answer.status_code not in (404, 405)
    }
    assert {address.path.format(**names) for address in OWN.values()} - found == set()


def test_lists_and_searches_say_nothing_of_what_another_tenant_has(
    alice: User, bob: User, names: dict[str, str]
) -> None:
    told_alice = set()
    for path in (each.format(**names) for paths in LISTS.values() for each in paths):
        for (way, client), (_, own) in zip(clients_of(bob), clients_of(alice), strict=True):
            answer = asked(client, "get", path)
            assert answer.status_code in (200, 404), f"{way} {path}: {answer.status_code}"
            told = answer.content.decode().replace(f"q={WORD}", "").replace(f"“{WORD}”", "").replace(f'"{WORD}"', "", 1)
            typed = WORD in path
            assert WORD not in told or (typed and told.count(WORD) <= 1), f"{way} {path}"
            assert names["server"] not in told and names["run"] not in told.replace(path, "")
            told_alice |= {path} if WORD in asked(own, "get", path).content.decode() else set()
    silent = {"/teams", "/account", "/chain/templates", "/results", "/registry", "/registry/search?q=pressure"}
    assert silent - {"/account"} <= told_alice


@pytest.mark.parametrize(("path", "said"), REFERENCES)
def test_what_is_named_in_a_request_is_looked_for_among_ones_own(
    path: str, said: dict[str, str], bob: User, names: dict[str, str]
) -> None:
    body = {name: value.format(**names) for name, value in said.items()}
    client = page_of(bob) if path == "/say" else client_of(bob)
    assert asked(client, "post", path, body).status_code == 404


def test_nobody_is_anybody_before_signing_in(names: dict[str, str]) -> None:
    lists = {path: Address(path) for paths in LISTS.values() for path in paths}
    forms = {route: Address(f"/{route}") for route in FORMS}
    closed: dict[str, int] = {}
    for where, _, answer in everywhere({**OWN, **lists, **forms}, names, None):
        to_sign_in = answer.status_code == 302 and answer.headers["Location"].startswith("/accounts/login")
        is_public_list = where == "API get /servers" or where.startswith("API get /servers?")
        assert to_sign_in or answer.status_code in (401, 405) or is_public_list, f"{where}: {answer.status_code}"
        closed[where.split()[-1]] = closed.get(where.split()[-1], 0) + (answer.status_code != 405)
    assert [path for path, count in closed.items() if not count] == []


@pytest.mark.parametrize("who", ["bob", "nobody"])
def test_public_addresses_know_nothing_that_is_private(who: str, bob: User, names: dict[str, str]) -> None:
    user = bob if who == "bob" else None
    for _, client in clients_of(user):
        for path in HIDDEN.values():
            assert asked(client, "get", path.format(**names)).status_code == 404, path
        for path in ("/v0.1/servers", f"/v0.1/servers?search={WORD}", "/healthz"):
            assert WORD not in asked(client, "get", path).content.decode().replace(f"search={WORD}", "")


def test_staff_pages_are_for_staff(bob: User) -> None:
    for route in [*STAFF, *(each for each in routes() if each.startswith("admin/"))]:
        if route in ("admin/login/", "admin/logout/"):
            continue
        for user in (bob, None):
            for method in ("get", "post"):
                answer = asked(page_of(user), method, example_of(route))
                refused = answer.status_code in (401, 403, 404, 405)
                to_sign_in = answer.status_code in (301, 302) and "login" in answer.headers["Location"]
                told_no = answer.status_code == 200 and b'"error": true' in answer.content
                assert refused or to_sign_in or told_no, f"{method} {route}: {answer.status_code}"


@pytest.mark.django_db(transaction=True)
async def test_every_websocket_is_its_owners_alone(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)
    assert [str(each.pattern) for each in websocket_urlpatterns] == ["ws/runs/<uuid:run_id>"]
    alice = await User.objects.acreate(username="alice")
    run = await Run.objects.acreate(owner=alice)
    for user in (bob, AnonymousUser()):
        socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), f"/ws/runs/{run.pk}")
        socket.scope["user"] = user
        await socket.connect()
        assert await socket.receive_output(5) == {"type": "websocket.close", "code": 4404}
    await sync_to_async(connections.close_all)()


def test_a_member_of_the_team_finds_what_is_shared_and_changes_nothing(
    alice: User, bob: User, names: dict[str, str]
) -> None:
    """Of a team's things: seen, run and read; not edited, not deleted, and what was not shared stays unseen."""
    team = Team.objects.get()
    team.group.user_set.add(bob)
    for model in (Server, Template, Result):
        model.objects.all().update(team=team)
    page, api = page_of(bob), client_of(bob)
    for path in ("/servers/{slug}", "/templates/{template}", "/results/{result}", "/results/{result}/file"):
        assert asked(page, "get", path.format(**names)).status_code == 200, path
    for path in ("/registry/{server}", "/chain/templates/{template}", "/results/{result}", "/chain/templates"):
        answer = asked(api, "get", path.format(**names))
        assert (answer.status_code, WORD in answer.content.decode()) == (200, True), path
    assert asked(api, "get", f"/results/{names['result']}").json()["run_id"] is None
    for path in (
        "edit",
        "schedule",
        "versions/1",
        "rename",
        "accept",
        "delete",
        "schedule/times",
        "versions/1/restore",
    ):
        answers = {asked(page, method, f"/templates/{names['template']}/{path}").status_code for method in METHODS}
        assert answers <= {404, 405}, path
    for path in ("/registry/{server}", "/chain/templates/{template}"):
        for method, said in (("patch", {"name": "mine"}), ("patch", {"team": None}), ("delete", None)):
            answer = asked(api, method, path.format(**names), said)
            assert answer.status_code == 403, f"{method} {path}"
    assert asked(api, "patch", f"/results/{names['result']}", {"team": None}).status_code == 403
    for path in ("/runs/{run}", "/chain/runs/{run}", "/turns/{chat_run}", "/chat/{conversation}"):
        assert asked(page, "get", path.format(**names)).status_code == 404, path
    copy = page.post(f"/templates/{names['template']}/duplicate").headers["Location"]
    assert Template.objects.get(pk=copy.rpartition("/")[2]).owner == bob
    assert f"/runs/{names['run']}" not in page.get(f"/templates/{names['template']}").content.decode()
