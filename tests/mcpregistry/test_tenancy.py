"""Of every address there is: what one tenant has does not exist for another, and nobody is anybody before signing in.

ADDRESSES has an entry for each route of the resolver; a new address without one fails the first test.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
WAYS = {"page": ("get", "post"), "API": METHODS}
WORD = "barometer"  # in every text of everything alice has
TEXT = f"{WORD} pressure"  # and what it is looked for by


@dataclass(frozen=True, slots=True)
class Address:
    """`path` names alice's objects in braces; `said` is what its form wants, so that it is found at all."""

    path: str
    said: dict[str, str] = field(default_factory=dict)


OWN = {  # objects of alice's: 404 for others
    "chat/<uuid:conversation_id>": Address("/chat/{conversation}"),
    "chat/<uuid:run_id>/inputs": Address("/chat/{chat_run}/inputs"),
    "chat/<uuid:run_id>/plan": Address("/chat/{chat_run}/plan"),
    "chat/<uuid:conversation_id>/stop": Address("/chat/{conversation}/stop"),
    "chat/<uuid:conversation_id>/export": Address("/chat/{conversation}/export"),
    "chat/messages/<uuid:message_id>/edit": Address("/chat/messages/{message}/edit", {"user_msg": "x"}),
    "chat/messages/<uuid:message_id>/regenerate": Address("/chat/messages/{message}/regenerate"),
    "chat/<uuid:id>/stream": Address("/chat/{conversation}/stream"),
    "turns/<uuid:run_id>": Address("/turns/{chat_run}"),
    "turns/<uuid:run_id>/inputs": Address("/turns/{chat_run}/inputs"),
    "turns/<uuid:run_id>/plan": Address("/turns/{chat_run}/plan"),
    "messages/<uuid:pk>/edit": Address("/messages/{message}/edit", {"user_msg": "x"}),
    "messages/<uuid:pk>/regenerate": Address("/messages/{message}/regenerate"),
    "conversations/<uuid:pk>/change": Address("/conversations/{conversation}/change"),
    "conversations/<uuid:pk>/delete": Address("/conversations/{conversation}/delete"),
    "chain/runs/<uuid:pk>": Address("/chain/runs/{run}"),
    "chain/runs/<uuid:pk>/events": Address("/chain/runs/{run}/events"),
    "chain/runs/<uuid:pk>/approve": Address("/chain/runs/{run}/approve"),
    "chain/runs/<uuid:pk>/reject": Address("/chain/runs/{run}/reject"),
    "chain/runs/<uuid:pk>/resolve": Address("/chain/runs/{run}/resolve"),
    "chain/runs/<uuid:pk>/cancel": Address("/chain/runs/{run}/cancel"),
    "chain/runs/<uuid:pk>/retry": Address("/chain/runs/{run}/retry"),
    "chain/templates/<uuid:pk>/export": Address("/chain/templates/{template}/export"),
    "chain/templates/<uuid:pk>": Address("/chain/templates/{template}"),
    "results/<uuid:pk>": Address("/results/{result}"),
    "results/<uuid:pk>/file": Address("/results/{result}/file"),
    "results/<uuid:pk>/share": Address("/results/{result}/share"),
    "runs/<uuid:pk>": Address("/runs/{run}"),
    "runs/<uuid:pk>/cancel": Address("/runs/{run}/cancel"),
    "runs/<uuid:pk>/retry": Address("/runs/{run}/retry"),
    "runs/<uuid:pk>/approve": Address("/runs/{run}/approve"),
    "runs/<uuid:pk>/reject": Address("/runs/{run}/reject"),
    "runs/<uuid:pk>/resolve": Address("/runs/{run}/resolve", {"action": "skip", "step": "s1"}),
    "runs/<uuid:pk>/execute": Address("/runs/{run}/execute"),
    "runs/<uuid:pk>/template": Address("/runs/{run}/template"),
    "templates/<uuid:pk>/edit": Address("/templates/{template}/edit"),
    "templates/<uuid:pk>/versions/<int:version>": Address("/templates/{template}/versions/1"),
    "templates/<uuid:pk>/versions/<int:version>/restore": Address("/templates/{template}/versions/1/restore"),
    "templates/<uuid:pk>/schedule": Address("/templates/{template}/schedule"),
    "templates/<uuid:pk>/schedule/times": Address("/templates/{template}/schedule/times"),
    "templates/<uuid:pk>/duplicate": Address("/templates/{template}/duplicate"),
    "templates/<uuid:pk>": Address("/templates/{template}"),
    "templates/<uuid:pk>/execute": Address("/templates/{template}/execute"),
    "templates/<uuid:pk>/accept": Address("/templates/{template}/accept"),
    "templates/<uuid:pk>/rename": Address("/templates/{template}/rename"),
    "templates/<uuid:pk>/share": Address("/templates/{template}/share"),
    "templates/<uuid:pk>/delete": Address("/templates/{template}/delete"),
    "registry/<str:server>": Address("/registry/{server}"),
    "registry/<str:server>/tools": Address("/registry/{server}/tools"),
    "registry/<str:server>/tools/<path:tool>/accept": Address("/registry/{server}/tools/pressure/accept"),
    "registry/<str:server>/tools/<path:tool>/call": Address("/registry/{server}/tools/pressure/call"),
    "registry/<str:server>/connection": Address("/registry/{server}/connection"),
    "registry/<str:server>/healthcheck": Address("/registry/{server}/healthcheck"),
    "registry/<str:server>/command": Address("/registry/{started}/command"),
    "registry/<str:server>/oauth": Address("/registry/{server}/oauth"),
    "registry/<str:server>/oauth/start": Address("/registry/{server}/oauth/start"),
    "registry/<str:server>/oauth/finish": Address("/registry/{server}/oauth/finish", {"state": "x", "code": "x"}),
    "servers/<str:name>": Address("/servers/{slug}"),
    "servers/<str:name>/try/<int:pk>": Address("/servers/{slug}/try/{tool}"),
    "servers/<str:name>/test": Address("/servers/{slug}/test"),
    "servers/<str:name>/authorise": Address("/servers/{slug}/authorise"),
    "servers/<str:name>/accept": Address("/servers/{slug}/accept"),
    "servers/<str:name>/confirm": Address("/servers/{started}/confirm"),
    "servers/<str:name>/oauth/start": Address("/servers/{slug}/oauth/start"),
    "servers/<str:name>/oauth/forget": Address("/servers/{slug}/oauth/forget"),
    "servers/<str:name>/revoke": Address("/servers/{slug}/revoke"),
    "servers/<str:name>/share": Address("/servers/{slug}/share"),
    "servers/<str:name>/delete": Address("/servers/{slug}/delete"),
    "teams/<int:pk>": Address("/teams/{team}"),
    "teams/<int:pk>/membership": Address("/teams/{team}/membership"),
    "teams/<int:pk>/members": Address("/teams/{team}/members"),
    "teams/<int:pk>/members/<str:username>": Address("/teams/{team}/members/alice", {"role": "admin"}),
    "teams/<int:pk>/rename": Address("/teams/{team}/rename"),
    "teams/<int:pk>/invite": Address("/teams/{team}/invite"),
    "teams/<int:pk>/remove": Address("/teams/{team}/remove", {"username": "alice"}),
    "teams/<int:pk>/role": Address("/teams/{team}/role", {"username": "alice", "role": "admin"}),
    "teams/<int:pk>/join": Address("/teams/{team}/join"),
    "teams/<int:pk>/leave": Address("/teams/{team}/leave"),
    "teams/<int:pk>/delete": Address("/teams/{team}/delete"),
}
LASTING = {
    "chat/<uuid:id>/stream",
    "registry/<str:server>/healthcheck",
    "registry/<str:server>/oauth/start",
    "registry/<str:server>/tools/<path:tool>/call",
    "servers/<str:name>/oauth/start",
    "servers/<str:name>/test",
    "servers/<str:name>/try/<int:pk>",
}
LISTS = {  # what everybody who is signed in has of their own, with all that a query may name of alice's
    "": ["/", "/?conversation={conversation}", "/?conversation={conversation}&at={message}"],
    "chat": ["/chat", "/chat?q=pressure"],
    "commands": ["/commands"],
    "conversations": ["/conversations", "/conversations?q=pressure"],
    "chain/runs": ["/chain/runs", "/chain/runs?q=pressure", "/chain/runs?template={template}"],
    "chain/templates": ["/chain/templates", "/chain/templates?owner=shared", "/chain/templates?owner=me"],
    "results": ["/results", "/results?owner=shared", "/results?q=pressure", "/results?q=pressure&owner=shared"],
    "runs": ["/runs", "/runs?template={template}", "/runs?q=pressure"],
    "runs/compare": ["/runs/compare?run={run}&run={chat_run}"],
    "templates": ["/templates", "/templates?owner=shared"],
    "templates/tools": ["/templates/tools?q=pressure"],
    "registry": ["/registry", "/registry?owner=me", "/registry?owner=shared", "/registry?q=press"],
    "registry/search": ["/registry/search?q=pressure", "/registry/search?q=pressure&owner=shared"],
    "registry/tools/search": ["/registry/tools/search?q=pressure"],
    "teams": ["/teams"],
    "servers": ["/servers", "/servers?q=pressure", "/servers?owner=shared"],
    "account": ["/account"],
}
FORMS = {  # pages on which something is made, and verbs that take what they are about in what is sent along
    "say", "chain/execute", "chain/validate", "chain/templates/import", "templates/new", "templates/import",
    "servers/new", "servers/new/paste", "teams/new", "oauth/callback",
}  # fmt: skip
STAFF = {"sources", "sources/<str:name>", "sources/<str:name>/import", "metrics"}
OPEN = {
    "v0.1/servers", "signin/<str:uid>/<str:token>", "favicon.ico", "livez", "readyz", "healthz",
    "api/schema", "api/docs",
    "oauth/clients/<uuid:server>",  # who we are, to the authorisation server of whatever is asked for
}  # fmt: skip
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
    conversation = Conversation.objects.create(owner=alice, title=TEXT)
    chat_run = Run.objects.create(owner=alice, kind="chat", conversation_id=conversation.pk, inputs={"at": TEXT})
    run = Run.objects.create(owner=alice, template=template, plan=PLAN, inputs={"at": TEXT}, status="failed")
    run.tool_runs.create(step="s1", position=0, server=server, server_slug=WORD, tool="pressure")
    message = conversation.messages.create(role=Message.Role.USER, content=TEXT, run=chat_run)
    result = Result.objects.create(owner=alice, run=run, kind="file", title=TEXT, summary=TEXT, size_bytes=9)
    result.file.save(f"{WORD}.txt", ContentFile(WORD.encode()))
    team = create_team(user=alice, name=WORD)
    named = {"server": server, "template": template, "conversation": conversation, "chat_run": chat_run, "run": run}
    named |= {"message": message, "result": result, "team": team, "tool": Tool.objects.get()}
    return {name: str(each.pk) for name, each in named.items()} | {"slug": server.slug, "started": _started(alice).slug}


def _server(alice: User) -> Server:
    server = Server.objects.create(
        slug=WORD, name=WORD, url="http://127.0.0.1:9/mcp", transport="sse", owner=alice, search_text=TEXT
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


def _started(alice: User) -> Server:
    return Server.objects.create(slug=f"{WORD}-started", name=WORD, command="true", transport="stdio", owner=alice)


def _template(alice: User) -> Template:
    template = Template.objects.create(owner=alice, name=TEXT, plan=PLAN, version=2)
    template.former.create(version=1, plan=PLAN, saved_at=timezone.now(), saved_by=alice)
    Schedule.objects.create(template=template, at="08:00", inputs={"at": WORD}, next_at=timezone.now())
    return template


def page_of(user: User | None) -> Client:
    client = Client(headers={"Accept": "text/html,*/*;q=0.8"})
    if user is not None:
        client.force_login(user)
    return client


def clients_of(user: User | None) -> list[tuple[str, Client]]:
    """As a browser with pages, and as a program with the API."""
    return [("page", page_of(user)), ("API", client_of(user) if user else APIClient())]


def asked(client: Any, method: str, path: str, said: Any = None) -> Any:
    """The answer, and whatever it changed is as it was. What is streamed is not read."""
    with transaction.atomic():
        answer = client.get(path) if method == "get" else getattr(client, method)(path, said or {})
        transaction.set_rollback(True)
    return answer


def everywhere(addresses: Iterable[Address], names: dict[str, str], user: User | None) -> Iterator[tuple[str, Any]]:
    """Every method at each of the addresses, by page and by API: where, and the answer."""
    for way, client in clients_of(user):
        for address in addresses:
            path = address.path.format(**names)
            for method in WAYS[way]:
                yield f"{way} {method} {path}", asked(client, method, path, address.said)


def leads_to_sign_in(answer: Any) -> bool:
    return answer.status_code == 302 and answer.headers["Location"].startswith("/accounts/login")


def test_every_address_is_in_this_table() -> None:
    known = {*OWN, *LISTS, *FORMS, *STAFF, *OPEN, *HIDDEN}
    unknown = [route for route in routes() if route not in known and not route.startswith(PREFIXES)]
    assert unknown == []
    assert known <= set(routes())


def test_what_another_tenant_has_is_not_found_by_whatever_method(bob: User, names: dict[str, str]) -> None:
    hidden = set()
    for where, answer in everywhere(OWN.values(), names, bob):
        is_page_by_token = where.startswith("API") and leads_to_sign_in(answer)
        is_form_of_a_call = where.startswith("page") and answer.status_code == 415  # whatever it is about
        assert answer.status_code in (404, 405) or is_page_by_token or is_form_of_a_call, (
            f"{where}: {answer.status_code}"
        )
        hidden |= {where.split()[-1]} if answer.status_code == 404 else set()
    assert {address.path.format(**names) for address in OWN.values()} == hidden


def test_its_owner_finds_it_at_the_same_addresses(alice: User, names: dict[str, str]) -> None:
    """Else the test before this one would prove nothing. Where a worker is waited for, or a stream goes on, other
    tests show it."""
    client = page_of(alice)
    for route, address in OWN.items():
        path = address.path.format(**names)
        statuses = (asked(client, method, path, address.said).status_code for method in METHODS)
        assert route in LASTING or any(status not in (404, 405) for status in statuses), path


def test_lists_and_searches_say_nothing_of_what_another_tenant_has(
    alice: User, bob: User, names: dict[str, str]
) -> None:
    told_alice = set()
    owner = client_of(alice)
    for path in (each.format(**names) for paths in LISTS.values() for each in paths):
        for way, client in clients_of(bob):
            answer = asked(client, "get", path)
            assert answer.status_code in (200, 404) or leads_to_sign_in(answer), f"{way} {path}: {answer.status_code}"
            assert WORD not in answer.content.decode(), f"{way} {path}"
        told_alice |= {path} if WORD in asked(owner, "get", path).content.decode() else set()
    assert told_alice >= {"/chat", "/chain/runs", "/chain/templates", "/results", "/registry", "/teams"}
    assert told_alice >= {"/registry/search?q=pressure", "/results?q=pressure", "/registry?q=press"}


@pytest.mark.parametrize(("path", "said"), REFERENCES)
def test_what_is_named_in_a_request_is_looked_for_among_ones_own(
    path: str, said: dict[str, str], bob: User, names: dict[str, str]
) -> None:
    body = {name: value.format(**names) for name, value in said.items()}
    client = page_of(bob) if path == "/say" else client_of(bob)
    assert asked(client, "post", path, body).status_code == 404


def test_nobody_is_anybody_before_signing_in(names: dict[str, str]) -> None:
    lists = [Address(path) for paths in LISTS.values() for path in paths]
    forms = [Address(f"/{route}") for route in FORMS]
    closed = set()
    for where, answer in everywhere([*OWN.values(), *lists, *forms], names, None):
        is_closed = leads_to_sign_in(answer) or answer.status_code == 401
        assert is_closed or answer.status_code == 405, f"{where}: {answer.status_code}"
        closed |= {where.split()[-1]} if is_closed else set()
    assert {each.path.format(**names) for each in [*OWN.values(), *lists, *forms]} == closed


@pytest.mark.parametrize("who", ["bob", "nobody"])
def test_public_addresses_know_nothing_that_is_private(who: str, bob: User, names: dict[str, str]) -> None:
    user = bob if who == "bob" else None
    for _, client in clients_of(user):
        for path in HIDDEN.values():
            assert asked(client, "get", path.format(**names)).status_code == 404, path
        for path in ("/v0.1/servers", "/v0.1/servers?search=pressure", "/healthz", "/oauth/clients/{server}"):
            assert WORD not in asked(client, "get", path.format(**names)).content.decode(), path


@pytest.mark.parametrize("who", ["bob", "nobody"])
def test_staff_pages_are_for_staff(who: str, bob: User) -> None:
    client = page_of(bob if who == "bob" else None)
    for route in [*STAFF, *(each for each in routes() if each.startswith("admin/"))]:
        if route in ("admin/login/", "admin/logout/"):
            continue
        answer = client.get(example_of(route))
        to_sign_in = answer.status_code in (301, 302) and "login" in answer.headers["Location"]
        told_no = answer.status_code == 200 and b'"error": true' in answer.content
        assert answer.status_code in (401, 403, 404, 405) or to_sign_in or told_no, f"{route}: {answer.status_code}"


@pytest.mark.django_db(transaction=True)
async def test_every_websocket_is_its_owners_alone(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)
    routes = [str(each.pattern) for each in websocket_urlpatterns]
    assert routes == ["ws/runs/<uuid:run_id>", ""]  # the last one refuses whatever else is asked for
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
