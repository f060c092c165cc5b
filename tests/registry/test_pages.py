"""Pages of servers, as a browser without JavaScript and as htmx see them."""

import re
import time
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from registry.credentials import credentials_for
from registry.healthchecks import WorkerUnavailable
from registry.models import Connection, HealthCheck, ImportRun, Server, Tool
from tests.toys import Toy

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "Accept": "text/html"}
HOSTILE = "<script>alert('x')</script>"


def make_server(slug: str = "toy", **fields: object) -> Server:
    told = {"name": slug, "url": f"https://{slug}.example/mcp", "transport": "streamable_http", "visibility": "public"}
    server = Server.objects.create(slug=slug, **(told | fields))
    for name, hints in (("read", {"readOnlyHint": True}), ("write", {})):
        Tool.objects.create(server=server, name=name, annotations=hints, schema_hash=name, content_hash=name)
    return server


@pytest.fixture
def server() -> Server:
    return make_server()


def page(web: Client, path: str, **headers: str) -> str:
    response = web.get(path, headers={"Accept": "text/html"} | headers)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("path", ["/", "/servers", "/servers/new", "/templates", "/runs", "/results", "/account"])
def test_every_page_asks_a_stranger_to_sign_in(client: Client, path: str) -> None:
    response = client.get(path, headers={"Accept": "text/html"})
    assert (response.status_code, response.url.split("?")[0]) == (302, "/accounts/login/")


@pytest.mark.parametrize("path", ["/", "/servers", "/servers/new", "/templates", "/runs", "/results", "/account"])
def test_every_empty_page_says_what_to_do(web: Client, path: str) -> None:
    html = page(web, path)
    assert "</h1>" in html
    advice = ("No ", "Nothing has run yet", "Most servers are in a catalogue", "Try one of")
    assert any(words in html for words in advice)


def test_pages_hold_no_inline_script_style_or_handler(web: Client, server: Server) -> None:
    for path in ("/", "/servers", "/servers/new", "/servers/toy", "/account"):
        html = page(web, path)
        assert " style=" not in html
        assert " onclick=" not in html
        assert html.count("<script") == html.count("<script src=") + html.count('<script type="module" src=')


def test_the_list_takes_a_fixed_number_of_queries(
    web: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        make_server(f"toy-{number}")
    with django_assert_max_num_queries(16):
        page(web, "/servers")


def test_filters_narrow_the_list_and_are_counted(web: Client, server: Server) -> None:
    make_server("broken", health="unreachable")
    html = page(web, "/servers?health=unreachable")
    assert "/servers/broken" in html
    assert 'href="/servers/toy"' not in html
    assert "Remove the filter unreachable" in html


def test_htmx_gets_only_the_part_of_the_list_that_changes(web: Client, server: Server) -> None:
    html = page(web, "/servers?q=toy", **HTMX)
    assert html.lstrip().startswith("<main")
    assert 'href="/servers/toy"' in html


def test_a_failed_import_is_told_beside_the_list(web: Client, server: Server) -> None:
    ImportRun.objects.create(source="official", status="succeeded")
    ImportRun.objects.create(source="official", status="failed", error="The catalogue does not answer.", done=5)
    ImportRun.objects.create(source="docker", status="failed", error="It cannot be reached.")
    html = page(web, "/servers")
    assert "last import failed: The catalogue does not answer." in html
    assert "not read: It cannot be reached." in html


def test_another_page_of_the_list_is_a_link_and_a_wrong_cursor_is_not_found(web: Client) -> None:
    for number in range(51):
        make_server(f"toy-{number}")
    assert "More servers" in page(web, "/servers")
    assert web.get("/servers?cursor=nonsense").status_code == 404


def test_suggestions_come_from_the_address_of_the_list(web: Client, server: Server) -> None:
    html = page(web, "/registry?q=to", **HTMX)
    assert 'href="/servers/toy"' in html
    assert "<html" not in html
    assert web.get("/registry?q=to").json()["count"] == 1


@pytest.mark.parametrize(
    "address",
    [
        "javascript:pwned",
        " javascript:pwned",
        "JAVASCRIPT:pwned",
        "data:text/html,pwned",
        "//pwned.example",
        'x" onload=pwned',
    ],
)
def test_an_address_that_is_none_is_no_link_and_no_image(web: Client, address: str) -> None:
    make_server("evil", homepage=address, repository=address, icon_url=address)
    for path in ("/servers/evil", "/servers", "/servers?q=evil"):
        assert "pwned" not in page(web, path)


def test_what_servers_say_is_never_markup(web: Client) -> None:
    server = make_server("evil", title=HOSTILE, description=HOSTILE, homepage="javascript:alert(1)", tags=[HOSTILE])
    server.tools.update(description=HOSTILE, input_schema={"properties": {HOSTILE: {"description": HOSTILE}}})
    for path in ("/servers", "/servers/evil", "/registry?q=long"):
        html = page(web, path)
        assert HOSTILE not in html
        assert "javascript:" not in html


def test_a_private_server_does_not_exist_for_others(web: Client, bob: User) -> None:
    make_server("secret", owner=bob, visibility="private")
    assert web.get("/servers/secret").status_code == 404


def test_a_server_is_added_by_its_address(web: Client, alice: User, toy_http: Toy) -> None:
    response = web.post("/servers/new?kind=url", {"name": "Mine", "url": toy_http.url, "transport": "streamable_http"})
    assert (response.status_code, response.url) == (302, "/servers/mine")
    assert Server.objects.get(slug="mine").owner == alice


def test_a_refused_address_is_told_at_its_field_and_nothing_typed_is_lost(web: Client) -> None:
    typed = {"name": "Mine", "url": "ftp://files.example", "transport": "sse", "description": "My words"}
    response = web.post("/servers/new?kind=url", typed)
    html = response.content.decode()
    assert response.status_code == 400
    assert 'id="id_url_error"' in html
    assert "My words" in html
    assert not Server.objects.exists()


def test_only_staff_are_offered_commands(web: Client, staff: User) -> None:
    assert "kind=command" not in page(web, "/servers/new")
    web.force_login(staff)
    assert "kind=command" in page(web, "/servers/new")
    web.post("/servers/new?kind=command", {"name": "Clock", "command": "uvx 'mcp server'", "env": "TZ=UTC"})
    server = Server.objects.get(slug="clock")
    assert (server.command, server.args, server.env) == ("uvx", ["mcp server"], {})


def test_chosen_tools_are_authorised_with_their_policies(web: Client, server: Server, alice: User) -> None:
    write = server.tools.get(name="write")
    wanted = {"scope": "chosen", "tools": ["write"], "default": "ask", f"policy-{write.pk}": "never"}
    assert web.post("/servers/toy/authorise", wanted).status_code == 302
    connection = Connection.objects.get(user=alice, server=server)
    assert (connection.tools, connection.approval_default) == (["write"], "ask")
    assert connection.approval_tools == {"write": "never"}


def test_choosing_no_tool_is_explained(web: Client, server: Server) -> None:
    response = web.post("/servers/toy/authorise", {"scope": "chosen"})
    assert response.status_code == 400
    assert "Choose at least one tool" in response.content.decode()
    assert not Connection.objects.exists()


def test_credentials_are_written_and_never_shown(web: Client, alice: User) -> None:
    server = make_server("locked", auth_type="bearer")
    web.post("/servers/locked/authorise", {"scope": "all", "credential-0": "hunter2", "more": "X-Team=blue-team"})
    web.post("/servers/locked/authorise", {"scope": "all"})
    html = page(web, "/servers/locked")
    assert "hunter2" not in html
    assert "blue-team" not in html
    assert credentials_for(alice, server) == {"Authorization": "hunter2", "X-Team": "blue-team"}


def test_revoking_ends_the_connection(web: Client, server: Server, alice: User) -> None:
    Connection.objects.create(user=alice, server=server)
    web.post("/servers/toy/revoke")
    assert not Connection.objects.exists()


def test_only_its_owner_deletes_a_server(web: Client, server: Server, alice: User) -> None:
    assert web.post("/servers/toy/delete").status_code == 404
    make_server("mine", owner=alice)
    web.post("/servers/mine/delete")
    assert list(Server.objects.values_list("slug", flat=True)) == ["toy"]


async def found_ok(server: Server, user: User) -> HealthCheck:
    changes = {"added": ["read"], "removed": [], "changed": []}
    return await HealthCheck.objects.acreate(server=server, health="ok", detail="Speaks MCP.", changes=changes)


async def nobody_there(server: Server, user: User) -> HealthCheck:
    raise WorkerUnavailable


@pytest.mark.django_db(transaction=True)
def test_a_test_of_the_connection_answers_htmx_with_what_it_found(
    web: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.api.check_now", found_ok)
    html = web.post(f"/registry/{server.pk}/healthcheck", headers=HTMX).content.decode()
    assert "Speaks MCP." in html
    assert 'id="authorise"' in html
    assert "<html" not in html


@pytest.mark.django_db(transaction=True)
def test_a_test_needs_the_csrf_token_that_htmx_sends(
    server: Server, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.api.check_now", found_ok)
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(alice)
    token = careful.get("/servers/toy").cookies["csrftoken"].value
    address, form = f"/registry/{server.pk}/healthcheck", "application/x-www-form-urlencoded"
    assert careful.post(address, "a=b", form, headers=HTMX).status_code == 403
    assert careful.post(address, "a=b", form, headers=HTMX | {"X-CSRFToken": token}).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("check", "shown"), [(found_ok, "Speaks MCP."), (nobody_there, "No worker is running")])
def test_the_test_works_without_javascript(
    web: Client, server: Server, monkeypatch: pytest.MonkeyPatch, check: object, shown: str
) -> None:
    monkeypatch.setattr("registry.views.check_now", check)
    back = {"Referer": "http://testserver/servers/toy"}
    response = web.post("/servers/toy/test", headers=back, follow=True)
    assert shown in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_without_a_worker_htmx_is_told_why(web: Client, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.api.check_now", nobody_there)
    response = web.post(f"/registry/{server.pk}/healthcheck", headers=HTMX)
    assert response.status_code == 503
    assert response.json()["error"]["message"] == WorkerUnavailable.default_detail


@pytest.mark.parametrize(
    "schema",
    [None, [], {"properties": []}, {"properties": {"a": 5}, "required": "a"}, {"properties": {"a": {"$ref": "#/a"}}}],
)
def test_a_tool_with_a_broken_schema_is_shown_all_the_same(web: Client, server: Server, schema: object) -> None:
    server.tools.update(input_schema=schema or {})
    assert "read" in page(web, "/servers/toy")


def test_suggestions_begin_with_what_is_called_as_typed(web: Client) -> None:
    for slug in ("time", "timely", "clock-time", "times"):
        make_server(slug, search_text=slug)
    found = [server["slug"] for server in web.get("/registry?q=time&sort=match").json()["results"]]
    assert (found[0], set(found[1:3]), found[3]) == ("time", {"timely", "times"}, "clock-time")


def test_what_one_has_authorised_stands_first_in_a_long_list(web: Client, alice: User) -> None:
    for number in range(51):
        make_server(f"toy-{number}")
    Connection.objects.create(user=alice, server=Server.objects.get(slug="toy-0"))
    html = page(web, "/servers")
    assert html.index("Authorised by you") < html.index('href="/servers/toy-0"') < html.index("All servers")


class TestManyTools:
    """A server with more tools than a page should hold."""

    COUNT = 10_000

    @pytest.fixture
    def huge(self, alice: User) -> Server:
        server = Server.objects.create(slug="huge", name="Huge", source="test", visibility="public")
        with connection.cursor() as cursor:  # no test here searches them: their documents would take most of the time
            cursor.execute("SET LOCAL session_replication_role = replica")
        Tool.objects.bulk_create(
            Tool(
                server=server,
                name=f"tool_{n:05}",
                description=HOSTILE if n == 7 else f"Does thing {n}.",
                schema_hash=f"{n}",
                content_hash=f"{n}",
                input_schema={"properties": {"city": {"type": "string", "description": "Where."}}},
            )
            for n in range(self.COUNT)
        )
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = origin")
        return server

    def test_its_page_lists_some_and_is_as_fast_and_small_as_any(
        self, web: Client, huge: Server, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        page(web, "/servers/huge")
        began = time.monotonic()
        with django_assert_max_num_queries(30):
            html = page(web, "/servers/huge")
        assert time.monotonic() - began < 1
        assert len(html) < 500_000
        assert html.count('class="tool"') == 50
        assert "10,000" in html and "page 1 of 200" in html
        assert HOSTILE not in html

    def test_each_is_found_by_its_name_or_what_it_does(self, web: Client, huge: Server) -> None:
        found = page(web, "/servers/huge?find=tool_09999", **HTMX)
        assert found.count('class="tool"') == 1 and "<html" not in found
        assert page(web, "/servers/huge?find=thing+421.").count('class="tool"') == 10
        assert "No tool fits" in page(web, "/servers/huge?find=%00nothing+like+it")
        assert "tool_09999" in page(web, "/servers/huge?page=200")
        assert page(web, "/servers/huge?page=x").count('class="tool"') == 50

    def test_some_are_authorised_by_name_and_pattern(self, web: Client, alice: User, huge: Server) -> None:
        html = page(web, "/servers/huge")
        assert 'name="names"' in html and 'class="policies"' not in html
        wanted = {"scope": "chosen", "names": "tool_00001\n tool_0000* \n", "default": "ask"}
        assert web.post("/servers/huge/authorise", wanted).status_code == 302
        connection = Connection.objects.get()
        assert connection.tools == ["tool_00001", *(f"tool_{n:05}" for n in range(10) if n != 1)]
        assert "tool_00009" in page(web, "/servers/huge")
        for names in ("nonsense", "", "nothing_*"):
            assert web.post("/servers/huge/authorise", {"scope": "chosen", "names": names}).status_code == 400

    def test_what_changed_is_shown_by_itself_and_accepted_together(
        self, web: Client, alice: User, huge: Server
    ) -> None:
        web.post("/servers/huge/authorise", {"scope": "all"})
        Tool.objects.filter(name__in=["tool_04000", "tool_08000"]).update(schema_hash="other")
        html = page(web, "/servers/huge?changed=")
        assert html.count('class="tool"') == 2 and "2 tools changed" in html
        digest = html.partition('name="digest" value="')[2].partition('"')[0]
        assert web.post("/servers/huge/accept", {"digest": digest}).status_code == 302
        assert "changed since you authorised" not in page(web, "/servers/huge")


def test_a_description_of_a_megabyte_and_an_absurd_name_fit_on_every_page(web: Client) -> None:
    make_server("long", title="\u202eevil" * 20, description=f"{HOSTILE} {'very long ' * 100_000}")
    for path in ("/servers", "/servers/long", "/registry?q=long"):
        html = page(web, path)
        assert len(html) < 200_000
        assert HOSTILE not in html and "&lt;script&gt;" in html
    assert "The whole description" in page(web, "/servers/long")
    assert "<bdi>" in page(web, "/servers/long")


def test_ones_own_servers_are_counted_under_the_other_filters(web: Client, alice: User) -> None:
    make_server("own", owner=alice, health="ok")
    make_server("other", owner=alice)
    assert "owner=me" in page(web, "/servers?health=ok")
    html = page(web, "/servers?health=ok").partition("<span>mine</span>")[2]
    assert html.lstrip().startswith("<span>1</span>")
    assert "<span>mine</span>" not in page(web, "/servers?health=blocked")


def test_the_list_is_sorted_page_by_page_at_an_address_to_share(web: Client) -> None:
    for number in range(60):
        health, count = ("ok", number) if number % 2 else ("unreachable", 0)
        make_server(f"s{number:02}", health=health, tool_count=count)

    def listed(path: str) -> list[str]:
        names, html = [], page(web, path)
        while html:
            names += re.findall(r'<h3>\s*<a href="/servers/(s\d\d)">', html)
            more = re.search(r'href="([^"]+)">More servers', html)
            html = page(web, unescape(more[1])) if more else ""
        return names

    by_name = [f"s{number:02}" for number in range(60)]
    assert listed("/servers?sort=name") == by_name
    assert listed("/servers?sort=health") == by_name[1::2] + by_name[::2]
    assert listed("/servers?sort=tools")[:30] == by_name[1::2][::-1]
    assert listed("/servers?sort=nonsense") == by_name[::-1]
    assert listed("/servers?sort=name&health=ok") == by_name[1::2]
    assert "sort=name&amp;health=ok" in page(web, "/servers?sort=name")
