"""What nobody should send, at every call that the API describes: refused in JSON with the right 4xx, never applied."""

import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from chains.models import Result, Run, Template
from chat.models import Conversation, Message
from registry.models import Server, Tool
from registry.services import authorise
from registry.services.teams import create_team

pytestmark = [pytest.mark.django_db, pytest.mark.thorough]
JSON = "application/json"
MANY_DIGITS = "9" * 5_000
PLAN = {"version": 1, "steps": [{"id": "s1", "server": "mine", "tool": "read", "arguments": {}}]}

BODIES: dict[str, str | bytes] = {
    "broken": '{"name": ',
    "nothing but text": "hello",
    "3,000 deep": "[" * 3_000 + "]" * 3_000,
    "150 deep": '{"a":' * 150 + "1" + "}" * 150,
    "NUL in a value": '{"name": "a\\u0000b"}',
    "NUL in a name": '{"a\\u0000b": 1}',
    "surrogate in a value": '{"name": "\\ud800"}',
    "surrogate in a name": '{"\\udfff": 1}',
    "surrogate deep inside": '{"plan": {"steps": [{"id": {"\\ud800": []}}]}}',
    "5,000 digits": f'{{"version": {MANY_DIGITS}}}',
    "NaN": '{"inputs": {"a": NaN}}',
    "Infinity": '{"inputs": {"a": -Infinity}}',
    "overflow": '{"inputs": {"a": 1e999}}',
    "a name twice": '{"name": "a", "name": "b"}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "gzip unannounced": gzip.compress(b'{"name": "a"}'),
    "too large": '{"name": "' + "x" * 2_100_000 + '"}',
}
KINDS = {
    "form": ("application/x-www-form-urlencoded", {}),
    "form with NUL and surrogates": ("application/x-www-form-urlencoded; charset=utf-16", {}),
    "multipart without boundary": ("multipart/form-data", {}),
    "XML": ("application/xml", {}),
    "nonsense": ("\u00e9/\x01;;=", {}),
    "another charset": ("application/json; charset=utf-7", {}),
    "no charset there is": ("application/json; charset=nonsense", {}),
    "gzip": (JSON, {"Content-Encoding": "gzip"}),
}
QUERIES = {
    "q": ["%00", "a%00b"],
    "limit": ["-1", "0", "1000000000", MANY_DIGITS, "x", "1.5", "%00", "", "5&limit=6", "%D9%A5"],
    "cursor": ["nonsense", "%00", "bnVsbA", "x" * 5_000, "W10", "%FF", "a&cursor=b"],
    "after": ["-1", "x", "1.5", "", MANY_DIGITS, "2147483648", "%D9%A5", "1&after=2"],
    "template": ["x", "1", "%00"],
    "since": ["yesterday", "9999-99-99", "%00", "-1"],
    "until": ["", "9999-12-31"],
    "sort": ["owner_id", "%00", "-password"],
    "health": ["bogus", "%00"],
    "status": ["bogus", ""],
    "owner": ["7", "all"],
    "as": ["html", "%00"],
    "version": ["%00"],
    "updated_since": ["x", "%00", "99999-01-01"],
    "search": ["%00"],
}
NO_NAMES = ["%00", "%FF", "%ED%A0%80", "1", "-1", MANY_DIGITS, "x" * 3_000, "..%2f..", "%0d%0aSet-Cookie:a"]
NEVER = {"%FF", "%ED%A0%80", "%F0%28", "%u0000", "{}", "[]", "'--", "../../etc/passwd", "a" * 4_000}
FOREIGN = {
    "id": "00000000-0000-0000-0000-000000000001",
    "pk": 1,
    "user": 1,
    "user_id": 1,
    "owner": 1,
    "owner_id": 1,
    "is_staff": True,
    "is_superuser": True,
    "verified": True,
    "health": "ok",
    "health_detail": "set from outside",
    "quarantined": False,
    "enabled": False,
    "source": "official",
    "slug": "set-from-outside",
    "tool_count": 99,
    "latency_ms": 99,
    "last_seq": 99,
    "lease_token": 99,
    "attempt": 99,
    "kind": "chat",
    "status": "succeeded",
    "outputs": {"set": "from outside"},
    "summary": "set from outside",
    "tool_hashes": {"s1": "set from outside"},
    "created_at": "2001-01-01T00:00:00Z",
}

OF_SOMEBODY = {"id", "pk", "user", "user_id", "owner", "owner_id", "quarantined"}  # told otherwise, or true of any


@pytest.fixture
def mine(alice: User, bob: User) -> dict[str, str]:
    """Something of alice's at every address: what the parameters of paths are replaced by."""
    server = Server.objects.create(slug="mine", name="Mine", url="http://127.0.0.1:9/mcp", transport="sse", owner=alice)
    Server.objects.create(slug="started", name="Started", transport="stdio", command="true", owner=alice)
    read_only = {"readOnlyHint": True}
    Tool.objects.create(server=server, name="read", input_schema={"type": "object"}, annotations=read_only)
    authorise(user=alice, server=server)
    conversation = Conversation.objects.create(owner=alice, title="Mine")
    run = Run.objects.create(owner=alice, kind="chat", conversation_id=conversation.pk, plan=PLAN)
    question = Message.objects.create(conversation=conversation, role="user", content="?", run=run)
    template = Template.objects.create(owner=alice, name="Mine", plan=PLAN)
    result = Result.objects.create(owner=alice, run=run, kind="summary", title="Mine")
    create_team(user=bob, name="His")  # a number that is told for a name may be that of this one
    team = create_team(user=alice, name="Mine")
    names = {"server": "mine", "tool": "read", "conversation_id": conversation.pk, "run_id": run.pk}
    names |= {"message_id": question.pk, "name": "nobody", "version": "1", "username": "alice"}
    of_path = {
        "/chat/{id}": run.pk,
        "/chain/runs/{id}": run.pk,
        "/chain/templates/{id}": template.pk,
        "/results/{id}": result.pk,
        "/teams/{id}": team.pk,
    }
    return {name: str(value) for name, value in (names | of_path).items()}


@pytest.fixture(scope="module")
def document(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[str, Any]:
    with django_db_blocker.unblock():
        return Client().get("/api/schema", headers={"Accept": JSON}).json()["paths"]


def calls(document: dict[str, Any], mine: dict[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, address and description of every call, at something of alice's."""
    return [
        (method, filled(path, mine), call) for path, methods in document.items() for method, call in methods.items()
    ]


def filled(path: str, mine: dict[str, str]) -> str:
    path = path.replace("{server}/command", "started/command")  # there the other one is not found
    for prefix in [name for name in mine if name.startswith("/")]:
        if path.startswith(prefix):
            path = path.replace("{id}", mine[prefix])
    for name in [name for name in mine if not name.startswith("/")]:
        path = path.replace(f"{{{name}}}", mine[name])
    assert "{" not in path, path
    return path


def wrong(response: HttpResponse, *allowed: int) -> str:
    """What is wrong with a refusal; empty: nothing."""
    told = f"{response.status_code} {response.headers.get('Content-Type')} {response.content[:200]!r}"
    if response.status_code not in (allowed or range(400, 500)):
        return told
    error = response.json().get("error") if response.headers["Content-Type"].startswith(JSON) else None
    if isinstance(error, str) and error:  # the public registry's own shape
        return ""
    is_shaped = isinstance(error, dict) and error.keys() == {"code", "message", "fields"} and error["message"]
    return "" if is_shaped else told


def none_wrong(found: dict[str, str]) -> None:
    wrong = {name: told for name, told in found.items() if told}
    assert not wrong, json.dumps(wrong, indent=2)


def test_no_call_takes_a_body_that_is_none(api: APIClient, document: dict[str, Any], mine: dict[str, str]) -> None:
    found = {}
    for method, path, call in calls(document, mine):
        for name, body in BODIES.items() if "requestBody" in call else []:
            response = api.generic(method.upper(), path, body, content_type=JSON)
            status = 413 if name == "too large" else 400
            found[f"{method} {path}: {name}"] = wrong(response, status)
    assert len(found) > 15 * len(BODIES)
    none_wrong(found)


def test_no_call_takes_another_kind_of_body(api: APIClient, document: dict[str, Any], mine: dict[str, str]) -> None:
    found = {}
    for method, path, call in calls(document, mine):
        for name, (kind, headers) in KINDS.items() if "requestBody" in call else []:
            body = b"name=a%00b&user_msg=%ED%A0%80"
            response = api.generic(method.upper(), path, body, content_type=kind, headers=headers)
            found[f"{method} {path}: {name}"] = wrong(response, 400 if "multipart" in kind else 415, 415)
    none_wrong(found)


def test_no_query_is_misunderstood(api: APIClient, document: dict[str, Any], mine: dict[str, str]) -> None:
    found = {}
    for _method, path, call in calls(document, mine):
        for name in [each["name"] for each in call.get("parameters", []) if each["in"] == "query"]:
            for value in QUERIES.get(name, []):
                found[f"{path}?{name}={value[:40]}"] = wrong(api.get(f"{path}?{name}={value}"), 400)
    assert len(found) > 60
    none_wrong({name: told for name, told in found.items() if told and not is_blank_filter(name)})


def is_blank_filter(name: str) -> bool:
    """`?sort=` and the like narrow nothing where they may be left blank, and blank is a search for everything."""
    return name.endswith(("?cursor=", "?q=", "?search=", "?version=")) or "9999-12-31" in name


def test_no_name_or_value_of_a_query_leads_to_a_crash(
    api: APIClient, document: dict[str, Any], mine: dict[str, str]
) -> None:
    for method, path, call in calls(document, mine):
        if method == "get":
            names = [each["name"] for each in call.get("parameters", []) if each["in"] == "query"] + ["nothing", "%00"]
            for name in names:
                for value in NEVER:
                    response = api.get(f"{path}?{name}={value}")
                    assert response.status_code < 500, (path, name, value)
                    assert not response.headers.get("Content-Type", "").startswith("text/html"), (path, name, value)


def test_no_address_names_what_cannot_be_named(api: APIClient, document: dict[str, Any], mine: dict[str, str]) -> None:
    found = {}
    for path, methods in document.items():
        for part in [part for part in path.split("/") if part.startswith("{")]:
            for value in [
                "%00",
                "%FF",
                "%ED%A0%80",
                "1",
                "-1",
                MANY_DIGITS,
                "x" * 3_000,
                "..%2f..",
                "%0d%0aSet-Cookie:a",
            ]:
                address = filled(path.replace(part, "@"), mine).replace("@", value)
                for method in methods:
                    response = api.generic(method.upper(), address, "{}", content_type=JSON)
                    found[f"{method} {address[:80]}"] = wrong(response, 400, 404)
    assert len(found) > 100
    none_wrong(found)


def test_no_other_method_is_answered(api: APIClient, document: dict[str, Any], mine: dict[str, str]) -> None:
    found = {}
    for path, methods in document.items():
        for method in {"get", "post", "put", "patch", "delete", "trace", "propfind"} - methods.keys():
            response = api.generic(method.upper(), filled(path, mine), "{}", content_type=JSON)
            found[f"{method} {path}"] = wrong(response, 405)
            assert response.headers.get("Allow"), (method, path)
    none_wrong(found)


def test_nobody_calls_without_being_known(document: dict[str, Any], mine: dict[str, str], alice: User) -> None:
    """Without a token 401; with a session and without its CSRF token 403 for all that changes something."""
    stranger, session = Client(), Client(enforce_csrf_checks=True)
    session.force_login(alice)
    found = {}
    for method, path, call in calls(document, mine):
        if "security" in call:
            found[f"{method} {path}"] = wrong(stranger.generic(method.upper(), path, "{}", content_type=JSON), 401)
            if method != "get":
                response = session.generic(method.upper(), path, "{}", content_type=JSON)
                found[f"{method} {path} without CSRF"] = wrong(response, 403)
    none_wrong(found)


@pytest.mark.parametrize("host", ["evil.example", "a b", "127.0.0.1:x", "[::1", "testserver\x00", "", "é", "x" * 5_000])
@pytest.mark.parametrize("path", ["/registry", "/chat", "/chain/execute", "/v0.1/servers"])
def test_a_host_that_is_not_ours_is_refused(api: APIClient, host: str, path: str) -> None:
    assert not wrong(api.get(path, headers={"Host": host}), 400, 401)


VALID: dict[str, dict[str, Any]] = {
    "post /registry": {"name": "New", "url": "http://127.0.0.1:8999/other"},
    "patch /registry/{server}": {"description": "changed"},
    "put /registry/{server}/connection": {"tools": "all"},
    "post /chat": {"user_msg": "Hello"},
    "patch /chat/{conversation_id}": {"title": "changed"},
    "post /chain/execute": {"plan": PLAN},
    "post /chain/validate": {"plan": PLAN},
    "post /chain/templates": {"name": "New", "plan": PLAN},
    "patch /chain/templates/{id}": {"name": "changed"},
    "post /chain/templates/import": {"format": "mcp-registry-template", "name": "New", "plan": PLAN},
    "post /registry/{server}/tools/{tool}/accept": {},
}


def test_nothing_is_set_that_is_not_the_callers_to_set(
    api: APIClient, alice: User, bob: User, document: dict[str, Any], mine: dict[str, str]
) -> None:
    """Every call with a body is sent all names that are columns somewhere, beside what it takes, and alone."""
    foreign = FOREIGN | dict.fromkeys(("user", "user_id", "owner", "owner_id"), bob.pk)
    for path, methods in document.items():
        for method, call in methods.items():
            if "requestBody" in call:
                valid = VALID.get(f"{method} {path}", {})
                taken = {name: value for name, value in foreign.items() if name not in valid}
                for body in (taken, taken | valid):
                    response = api.generic(method.upper(), filled(path, mine), json.dumps(body), content_type=JSON)
                    is_for_a_worker = response.status_code == 503 and b"worker_unavailable" in response.content
                    assert response.status_code < 500 or is_for_a_worker, (method, path, response.content)
                    assert response.status_code < 300 or not valid or body is taken, (method, path, response.content)
    assert set_from_outside(alice) == []


def set_from_outside(alice: User) -> list[str]:
    """Columns that hold a value of FOREIGN, or belong to somebody else."""
    models: list[Any] = [Server, Conversation, Run, Template, Result]
    found = [f"{row!r} is not alice's" for model in models for row in model.objects.exclude(owner=alice)]
    for model in [*models, Tool, Message]:
        columns = {column.name for column in model._meta.get_fields()}
        told = {name: value for name, value in FOREIGN.items() if name in columns - OF_SOMEBODY and name != "kind"}
        found += [f"{model.__name__}.{name}" for name, value in told.items() if model.objects.filter(**{name: value})]
    return found + [str(user) for user in User.objects.filter(is_staff=True)]


class TestPages:
    """Of people: refused in HTML, and never with a crash."""

    @pytest.mark.parametrize("query", ["q=%00", "cursor=x", "limit=-1", "sort=%00", "page=-1", "page=%00", "at=%00"])
    @pytest.mark.parametrize("path", ["/", "/servers", "/templates", "/runs", "/results", "/sources", "/conversations"])
    def test_survive_their_queries(self, web: Client, alice: User, path: str, query: str) -> None:
        User.objects.filter(pk=alice.pk).update(is_staff=path == "/sources")
        response = web.get(f"{path}?{query}", headers={"Accept": "text/html"})
        assert response.status_code in (200, 302, 400, 404)

    @pytest.mark.parametrize(
        "path", ["/servers/%00", "/runs/x", "/templates/" + "9" * 5_000, "/sources/%FF", "/nowhere"]
    )
    def test_say_what_is_not_there_in_words(self, web: Client, alice: User, path: str) -> None:
        User.objects.filter(pk=alice.pk).update(is_staff=True)  # of sources others are told that they are staff's
        response = web.get(path, headers={"Accept": "text/html"})
        assert response.status_code == 404
        assert response.headers["Content-Type"].startswith("text/html")

    def test_survive_their_forms(self, web: Client, mine: dict[str, str]) -> None:
        fields = ["name", "url", "command", "text", "user_msg", "title", "plan", "cron", "q", "file", "revoke", "days"]
        conversation, template = mine["conversation_id"], mine["/chain/templates/{id}"]
        paths = ["/servers/new", "/servers/new/paste", "/say", "/account", "/templates/new", "/templates/import"]
        paths += [f"/templates/{template}/{verb}" for verb in ("schedule", "rename", "edit", "execute")]
        paths += [f"/conversations/{conversation}/change", "/servers/mine/authorise", "/servers/mine/accept"]
        for path in paths:
            for value in ["\x00", "%ED%A0%80", "9" * 5_000, "[" * 3_000, "'\"><script>", "x" * 100_000]:
                body = "&".join(f"{name}={value if '%' in value else quote(value)}" for name in fields)
                response = web.post(path, body, content_type="application/x-www-form-urlencoded")
                assert response.status_code < 500, (path, value[:20])
