"""Secrets are planted wherever somebody enters one, servers tell them back in every text, and then everything that can
be read is looked through: rows, pages, API, streams, exports, prompts, logs. Whatever is found is a leak."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import PLANTED_KEY
from tests.stack import Stack
from tests.toys import ROOT, SERVERS, Toy, running_toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.thorough]

PLANTED = {
    "header": "planted-header-7c41e9/+b",
    "bearer": "planted-bearer-51d0aa7e",
    "env": "planted-env-e07b2f13",
    "query": "planted query=&99c1d4",
    "password": "planted-password-b86f20",
    "provider": PLANTED_KEY,
}
# All rows of all tables, and what waits in Redis.
DUMP = """
import json, zlib
from django.apps import apps
from django.db import connection
from mcpregistry.health import get_connection
with connection.cursor() as cursor:
    for table in connection.introspection.table_names():
        cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
        for (row,) in cursor.fetchall():
            print(table, row)
redis = get_connection("runs")
for key in redis.scan_iter():
    kind = redis.type(key)
    for value in redis.hgetall(key).values() if kind == b"hash" else [redis.get(key)] if kind == b"string" else []:
        try:
            value = zlib.decompress(value)
        except zlib.error:
            pass
        print(key, value)
"""
MAKE_USER = """
from django.contrib.auth.models import User
User.objects.create_user("keeper", password={password!r}, is_staff=True, is_superuser=True)
"""


def spellings(secret: str) -> set[str]:
    quoted = {urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    return {secret, base64.b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1], *quoted}


def leaks(secrets: dict[str, str], places: dict[str, str]) -> list[str]:
    """Which secret stands where, with what stands around it."""
    found = []
    for place, text in places.items():
        for name, secret in secrets.items():
            for word in spellings(secret):
                if (at := text.find(word)) >= 0:
                    found.append(f"{name} in {place}: …{text[max(0, at - 120) : at + 60]}…")
    return found


@pytest.fixture(scope="module")
def leaky() -> Iterator[Toy]:
    server = running_toy("leaky")
    yield server
    server.stop()


def added(site: Stack, **told: Any) -> dict[str, Any]:
    status, server = site.call("POST", "/registry", told, site.token)
    assert status == 201, server
    if "command" in told:
        where = f"/registry/{server['id']}/command"
        shown = site.call("GET", where, token=site.token)[1]["fingerprint"]
        assert site.call("POST", where, {"fingerprint": shown}, site.token)[0] == 200
    status, health = site.call("POST", f"/registry/{server['id']}/healthcheck", {}, site.token)
    assert status == 200, health
    if health["health"] == "ok":
        wanted = {"tools": "all", "approval": {"default": "auto"}}
        assert site.call("PUT", f"/registry/{server['id']}/connection", wanted, site.token)[0] == 200
    return server | health


@pytest.fixture(scope="module")
def servers(site: Stack, leaky: Toy) -> list[dict[str, Any]]:
    command = [str(SERVERS / "leaky.py"), "--transport", "stdio"]
    bearer = {"Authorization": f"Bearer {PLANTED['bearer']}"}
    kinds: list[dict[str, Any]] = [
        {"name": "Leaky header", "url": leaky.url, "credentials": {"X-Api-Key": PLANTED["header"]}},
        {"name": "Leaky bearer", "url": f"{leaky.url}?second", "credentials": bearer},
        {"name": "Leaky env", "command": sys.executable, "args": command, "credentials": {"API_KEY": PLANTED["env"]}},
        {
            "name": "Leaky api",
            "openapi_url": f"{leaky.base}/openapi.json",
            "credentials": {"api_key": PLANTED["query"]},
        },
        {"name": "Leaky broken", "url": f"{leaky.base}/broken", "credentials": bearer},
    ]
    return [added(site, **kind) for kind in kinds]


def finished(site: Stack, run_id: str) -> tuple[dict[str, Any], str]:
    """The run and all that its stream said, which ends with it."""
    stream = read(site, f"/chat/{run_id}/stream?after=0", site.token)
    return site.call("GET", f"/chain/runs/{run_id}", token=site.token)[1], stream


def read(site: Stack, path: str, token: str = "", cookie: str = "", accept: str = "*/*") -> str:
    request = urllib.request.Request(site.base + path, headers={"Accept": accept})
    if token:
        request.add_header("Authorization", f"Token {token}")
    if cookie:
        request.add_header("Cookie", cookie)
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


def plan_of(servers: list[dict[str, Any]]) -> dict[str, Any]:
    """A call that answers on each server; then one that fails, each way there is."""
    tools = {"Leaky api": ("say", "refuse")}
    steps: list[dict[str, Any]] = []
    for server in servers:
        for tool in tools.get(server["name"], ("echo", "fail", "crash")):
            steps.append({"id": f"s{len(steps)}", "server": server["slug"], "tool": tool, "arguments": {}})
    return {"version": 1, "steps": steps}


def places_of_runs(site: Stack, model: Toy, servers: list[dict[str, Any]]) -> dict[str, str]:
    places: dict[str, str] = {}
    working = [server for server in servers if server["health"] == "ok"]
    assert [server["name"] for server in working] == ["Leaky header", "Leaky bearer", "Leaky env", "Leaky api"]
    for number, step in enumerate(plan_of(working)["steps"]):
        status, told = site.call("POST", "/chain/execute", {"plan": {"version": 1, "steps": [step]}}, site.token)
        assert status == 202, told
        run, stream = finished(site, told["run_id"])
        expected = "succeeded" if step["tool"] in {"echo", "say"} else "failed"
        assert run["status"] == expected, run
        assert "[redacted]" in json.dumps(run), run
        places |= {f"run {number}": json.dumps(run), f"stream of run {number}": stream}
    draft = {"say": "I look.", "missing": [], "look": False}
    draft["steps"] = [{"id": "s1", "server": working[0]["slug"], "tool": "echo", "arguments": {}}]
    model.script([{"json": draft}, {"text": "It said something."}, {"text": "A name"}])
    told = site.call("POST", "/chat", {"user_msg": "What does it say?", "approval": "auto"}, site.token)[1]
    run, places["stream of the chat"] = finished(site, told["run_id"])
    assert run["status"] == "succeeded", run
    places["prompts"] = json.dumps(model.requests())
    places["exported conversation"] = read(site, f"/chat/{told['conversation_id']}/export", site.token)
    saved = site.call("POST", "/chain/templates", {"name": "Leaky", "run_id": told["run_id"]}, site.token)[1]
    places["exported template"] = read(site, f"/chain/templates/{saved['id']}/export", site.token)
    return places


def places_to_read(site: Stack, cookie: str, servers: list[dict[str, Any]]) -> dict[str, str]:
    pages = ["/", "/servers", "/templates", "/runs", "/results", "/account", "/conversations", "/healthz"]
    pages += [f"/servers/{server['slug']}" for server in servers]
    pages += [f"/admin/{name}/" for name in ("registry/server", "registry/connection", "registry/healthcheck")]
    pages += [f"/admin/{name}/" for name in ("mcpregistry/auditentry", "mcpregistry/tokengrant", "django-rq")]
    pages += [f"/admin/registry/server/{servers[0]['id']}/change/"]
    told = {page: read(site, page, cookie=cookie, accept="text/html") for page in pages}
    calls = ["/registry", "/chain/runs", "/chat", "/results", "/v0.1/servers"]
    calls += [f"/registry/{server['id']}/tools" for server in servers]
    return told | {f"GET {call}": read(site, call, site.token) for call in calls}


def test_no_secret_comes_out_anywhere(site: Stack, model: Toy, servers: list[dict[str, Any]], session: Any) -> None:
    site.manage("shell", "-v", "0", "-c", MAKE_USER.format(password=PLANTED["password"]))
    form = urllib.parse.urlencode({"login": "keeper", "password": PLANTED["password"] + "x"}).encode()
    with pytest.raises(urllib.error.HTTPError):  # without its CSRF token; the form itself is what may be written down
        urllib.request.urlopen(f"{site.base}/accounts/login/", form, timeout=30)
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in session["cookies"])
    places = places_of_runs(site, model, servers)
    places |= places_to_read(site, cookie, servers)
    places["health of the servers"] = json.dumps(servers)
    places["rows and queues"] = site.manage("shell", "-v", "0", "-c", DUMP)
    places["doctor"] = site.manage("doctor")
    places["logs of web and workers"] = site.output
    assert "Leaky header" in places["rows and queues"] and "[redacted]" in places["rows and queues"]
    assert leaks(PLANTED | {"API token": site.token}, places) == []


def test_an_address_with_a_password_is_not_repeated(tmp_path: Any) -> None:
    """The doctor and the log of what cannot be reached name no password."""
    address = "postgresql://registry:planted-database-3a9@127.0.0.1:1/registry"
    environment = {"DATABASE_URL": address, "REDIS_URL": "redis://:planted-redis-8d1@127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(tmp_path), "LOG_LEVEL": "DEBUG", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "does not answer" in done.stdout
    assert "planted" not in done.stdout + done.stderr
