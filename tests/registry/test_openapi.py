"""Calls of an OpenAPI service over the wire: every parameter style and body kind, credentials, answers, failures."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache

from registry.connectors import CallResult, ConnectorError, connect
from registry.connectors.definitions import schema_hash
from registry.connectors.openapi import memory
from registry.models import Server
from tests.toys import Toy

PATIENCE_S = 10
LIST, OBJECT = ["blue", "b&k"], {"R": 100, "G": "a b"}


@pytest.fixture(scope="module")
def service(toy: Callable[..., Toy]) -> Toy:
    return toy("openapi_service")


def at(url: str) -> Server:
    return Server(transport="openapi", openapi_url=url)


async def called(server: Server, tool: str, arguments: dict[str, Any], **credentials: str) -> CallResult:
    async with connect(server, credentials) as session:
        return await session.call(tool, arguments, timeout_s=PATIENCE_S)


async def received(server: Server, tool: str, arguments: dict[str, Any], **credentials: str) -> dict[str, Any]:
    """What the service says that it got."""
    result = await called(server, tool, arguments, **credentials)
    assert not result.is_error, result.content
    assert isinstance(result.structured, dict)
    return result.structured


async def refusal(server: Server, tool: str = "", timeout_s: float = PATIENCE_S, **arguments: Any) -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        async with connect(server, {}) as session:
            await (session.call(tool, arguments, timeout_s=timeout_s) if tool else session.introspect())
    return raised.value


class TestParameters:
    @pytest.mark.parametrize(
        ("tool", "primitive", "listed", "mapped"),
        [
            ("path_simple", "x%20y", "blue,b%26k", "R,100,G,a%20b"),
            ("path_simple_explode", "x%20y", "blue,b%26k", "R=100,G=a%20b"),
            ("path_label", ".x%20y", ".blue,b%26k", ".R,100,G,a%20b"),
            ("path_label_explode", ".x%20y", ".blue.b%26k", ".R=100.G=a%20b"),
            ("path_matrix", ";color=x%20y", ";color=blue,b%26k", ";color=R,100,G,a%20b"),
            ("path_matrix_explode", ";color=x%20y", ";color=blue;color=b%26k", ";R=100;G=a%20b"),
        ],
    )
    async def test_in_the_path(self, service, tool, primitive, listed, mapped):
        for value, expected in (("x y", primitive), (LIST, listed), (OBJECT, mapped)):
            got = await received(at(service.url), tool, {"color": value})
            assert got["path"] == f"/echo/{tool}/{expected}"

    @pytest.mark.parametrize(
        ("tool", "primitive", "listed", "mapped"),
        [
            ("query_form", "color=true", "color=blue,b%26k", "color=R,100,G,a%20b"),
            ("query_form_explode", "color=true", "color=blue&color=b%26k", "R=100&G=a%20b"),
            ("query_spaceDelimited", "color=true", "color=blue%20b%26k", "color=R%20100%20G%20a%20b"),
            ("query_pipeDelimited", "color=true", "color=blue%7Cb%26k", "color=R%7C100%7CG%7Ca%20b"),
            ("query_deepObject_explode", "color=true", "color=blue&color=b%26k", "color%5BR%5D=100&color%5BG%5D=a%20b"),
        ],
    )
    async def test_in_the_query(self, service, tool, primitive, listed, mapped):
        for value, expected in ((True, primitive), (LIST, listed), (OBJECT, mapped)):
            assert (await received(at(service.url), tool, {"color": value}))["query"] == expected

    @pytest.mark.parametrize(
        ("tool", "listed", "mapped"),
        [("header_simple", "blue,b&k", "R,100,G,a b"), ("header_simple_explode", "blue,b&k", "R=100,G=a b")],
    )
    async def test_in_a_header(self, service, tool, listed, mapped):
        for value, expected in ((7.5, "7.5"), (LIST, listed), (OBJECT, mapped)):
            assert (await received(at(service.url), tool, {"color": value}))["headers"]["color"] == expected

    @pytest.mark.parametrize(
        ("tool", "listed", "mapped"),
        [
            ("cookie_form", "color=blue,b%26k", "color=R,100,G,a%20b"),
            ("cookie_form_explode", "color=blue; color=b%26k", "R=100; G=a%20b"),
        ],
    )
    async def test_in_a_cookie(self, service, tool, listed, mapped):
        for value, expected in (("x;y", "color=x%3By"), (LIST, listed), (OBJECT, mapped)):
            assert (await received(at(service.url), tool, {"color": value}))["headers"]["cookie"] == expected

    @pytest.mark.parametrize(
        ("tool", "query"),
        [("csv", "a,b"), ("ssv", "a%20b"), ("tsv", "a%09b"), ("pipes", "a%7Cb"), ("multi", "a&color=b")],
    )
    async def test_in_the_words_of_swagger(self, service, tool, query):
        got = await received(at(service.base + "/swagger.json"), tool, {"color": ["a", "b"]})
        assert (got["path"], got["query"]) == (f"/echo/{tool}", f"color={query}")

    async def test_that_are_documents_are_json(self, service):
        got = await received(at(service.url), "content", {"filter": {"a": [1]}})
        assert got["query"] == "filter=%7B%22a%22%3A%5B1%5D%7D"

    async def test_of_another_server_go_there(self, service):
        assert (await received(at(service.url), "get_echo_elsewhere", {}))["path"] == "/other/v2/echo/elsewhere"

    @pytest.mark.parametrize("value", ["../../admin", "a/b", "a?b=c#d", "%2e%2e"])
    async def test_cannot_add_to_the_path(self, service, value):
        got = await received(at(service.url), "path_simple", {"color": value})
        assert got["path"].startswith("/echo/path_simple/") and got["path"].count("/") == 3
        assert got["query"] == ""

    @pytest.mark.parametrize("value", ["..", "."])
    async def test_cannot_lead_to_another_path(self, service, value):
        error = await refusal(at(service.url), "path_simple", color=value)
        assert (error.code, error.sent) == ("invalid_arguments", False)

    async def test_cannot_add_a_header(self, service):
        error = await refusal(at(service.url), "header_simple", color="a\r\nx-admin: 1")
        assert error.code == "invalid_arguments"

    async def test_unknown_and_missing_ones_are_named(self, service):
        assert "'colour'" in (await refusal(at(service.url), "query_form", colour="x")).message
        assert "'color' is missing" in (await refusal(at(service.url), "query_form")).message


class TestBodies:
    async def test_json_of_flat_arguments(self, service):
        got = await received(at(service.url), "json_flat", {"name": "Ä", "owner": {"children": []}})
        assert (got["method"], got["content_type"]) == ("POST", "application/json")
        assert got["body"] == '{"name": "Ä", "owner": {"children": []}}'

    async def test_json_that_is_no_object(self, service):
        assert (await received(at(service.url), "json_list", {"body": [{"name": "a"}]}))["body"] == '[{"name": "a"}]'

    async def test_json_of_a_kind_of_its_own(self, service):
        got = await received(at(service.url), "json_merge", {"body": {"a": None}})
        assert (got["content_type"], got["body"]) == ("application/merge-patch+json", '{"a": null}')

    async def test_json_of_a_body_that_collides_with_a_parameter(self, service):
        got = await received(at(service.url), "put", {"id": 3, "body": {"id": "x"}})
        assert (got["path"], got["body"]) == ("/echo/items/3", '{"id": "x"}')

    async def test_forms(self, service):
        got = await received(at(service.url), "form", {"note": "a&b c", "tags": ["x", "y"], "meta": {"k": 1}})
        assert got["content_type"] == "application/x-www-form-urlencoded"
        assert got["body"] == "note=a%26b%20c&tags=x&tags=y&meta=%7B%22k%22%3A1%7D"

    async def test_multipart_with_files_as_text_and_as_base64(self, service):
        picture = {"base64": "AAEC/w==", "filename": "a.png"}
        arguments = {"note": "hi", "tags": ["x", "y"], "meta": {"k": 1}, "file": picture, "more": ["one", "two"]}
        assert (await received(at(service.url), "multipart", arguments))["parts"] == [
            ["note", None, None, "hi"],
            ["tags", None, None, "x"],
            ["tags", None, None, "y"],
            ["meta", None, None, '{"k":1}'],
            ["file", "a.png", "image/png", "AAEC/w=="],
            ["more", "more", "text/plain", "one"],
            ["more", "more", "text/plain", "two"],
        ]

    async def test_plain_text(self, service):
        got = await received(at(service.url), "text", {"body": "Hello"})
        assert (got["content_type"], got["body"]) == ("text/plain", "Hello")

    async def test_bytes(self, service):
        got = await received(at(service.url), "binary", {"body": {"base64": "Af8="}})
        assert (got["content_type"], got["body"]) == ("application/octet-stream", "\x01\\xff")
        assert (await received(at(service.url), "binary", {"body": "text"}))["body"] == "text"
        assert "base64" in (await refusal(at(service.url), "binary", body={"base64": "?"})).message

    async def test_in_the_words_of_swagger(self, service):
        server = at(service.base + "/swagger.json")
        assert (await received(server, "pet", {"name": "a"}))["body"] == '{"name": "a"}'
        assert (await received(server, "plain", {"note": "a b"}))["body"] == "note=a%20b"
        form = await received(server, "form", {"note": "n", "file": {"text": "t", "filename": "f.txt"}})
        assert form["parts"] == [["note", None, None, "n"], ["file", "f.txt", "text/plain", "t"]]


class TestCredentials:
    ALL = {"Authorization": "tok", "basic": "ann:pass word", "X-API-Key": "k1", "key": "k2", "sid": "k 3"}

    @pytest.mark.parametrize(
        ("tool", "place", "expected"),
        [
            ("with_bearer", "authorization", "Bearer tok"),
            ("with_basic", "authorization", "Basic YW5uOnBhc3Mgd29yZA=="),
            ("with_header", "x-api-key", "k1"),
            ("with_cookie", "cookie", "sid=k%203"),
        ],
    )
    async def test_go_where_the_scheme_says_and_nowhere_else(self, service, tool, place, expected):
        got = await received(at(service.url), tool, {}, **self.ALL)
        secret = {
            name: value for name, value in got["headers"].items() if name in {"authorization", "x-api-key", "cookie"}
        }
        assert secret == {place: expected}
        assert got["query"] == ""

    async def test_go_into_the_query_where_the_scheme_says(self, service):
        assert (await received(at(service.url), "with_query", {}, **self.ALL))["query"] == "key=k2"

    async def test_go_together_or_the_other_way(self, service):
        both = await received(at(service.url), "with_either", {}, **{"X-API-Key": "k1", "key": "k2"})
        assert (both["headers"]["x-api-key"], both["query"]) == ("k1", "key=k2")
        other = await received(at(service.url), "with_either", {}, Authorization="tok")
        assert (other["headers"]["authorization"], other["query"]) == ("Bearer tok", "")

    async def test_stay_at_home_where_none_are_asked_for(self, service):
        got = await received(at(service.url), "with_nothing", {}, **self.ALL)
        assert not {"authorization", "x-api-key", "cookie"} & got["headers"].keys()

    async def test_that_no_scheme_knows_are_headers(self, service):
        got = await received(at(service.url), "with_nothing", {}, **{"X-Tenant": "seven"})
        assert got["headers"]["x-tenant"] == "seven"

    async def test_open_a_document_that_asks_for_them(self, service):
        server = at(service.base + "/private.json")
        assert (await refusal(server)).code == "needs_auth"
        assert (await received(server, "linked", {}, Authorization="sesame"))["path"] == "/echo/linked"
        assert (await refusal(server, "linked")).code == "needs_auth"


class TestAnswers:
    async def test_json_is_text_and_value(self, service):
        result = await called(at(service.url), "answer", {"kind": "list"})
        assert result == CallResult([{"type": "text", "text": '[1,null,{"a":"b"}]'}], [1, None, {"a": "b"}], False)

    async def test_text_is_text(self, service):
        result = await called(at(service.url), "answer", {"kind": "text"})
        assert result == CallResult([{"type": "text", "text": "just words"}], None, False)

    async def test_bytes_are_embedded(self, service):
        result = await called(at(service.url), "answer", {"kind": "binary"})
        uri = f"{service.base}/answers/binary"
        assert result.content == [
            {"type": "resource", "resource": {"uri": uri, "mimeType": "image/png", "blob": "iVBORwA="}}
        ]

    async def test_nothing_is_said_to_be_nothing(self, service):
        result = await called(at(service.url), "answer", {"kind": "nothing"})
        assert result == CallResult([{"type": "text", "text": "HTTP 204 No Content"}], None, False)

    async def test_an_error_says_its_status_and_what_the_service_said(self, service):
        result = await called(at(service.url), "answer", {"kind": "error"})
        text = result.content[0]["text"]
        assert result.is_error
        assert text.startswith("HTTP 422 Unprocessable") and '{"detail":"xxx' in text
        assert len(text) < 5_000

    async def test_a_locked_door_says_which_key(self, service):
        result = await called(at(service.url), "answer", {"kind": "locked"})
        assert result.is_error
        assert all(word in result.content[0]["text"] for word in ("HTTP 401", "X-API-Key", "Authorise", "who are you"))

    async def test_redirects_are_followed_at_home_and_not_abroad(self, service):
        assert (await received(at(service.url), "answer", {"kind": "near"}))["path"] == "/echo/near"
        away = await called(at(service.url), "answer", {"kind": "away"})
        assert away.is_error and "redirects to http://127.0.0.2:9/" in away.content[0]["text"]

    async def test_one_without_end_is_cut(self, service):
        error = await refusal(at(service.url), "answer", kind="huge")
        assert (error.code, error.sent) == ("too_large", True)

    async def test_one_that_never_comes_is_a_time_out_that_may_have_worked(self, service):
        async with connect(at(service.url), {}) as session:
            await session.introspect()
            started = time.monotonic()
            slow = session.call("answer", {"kind": "never"}, timeout_s=0.3)
            error, quick = await asyncio.gather(
                slow, session.call("linked", {}, timeout_s=PATIENCE_S), return_exceptions=True
            )
        assert (error.code, error.sent) == ("timeout", True)
        assert time.monotonic() - started < 3
        assert isinstance(quick, CallResult)


class TestWhatWasSeen:
    async def test_a_call_needs_no_document_once_it_was_seen(self, service):
        async with connect(at(service.url), {}) as session:
            await session.introspect()
        memory._known.clear()  # as in the process of another job
        before = service.get("/served")["documents"]
        await received(at(service.url), "linked", {})
        assert service.get("/served")["documents"] == before

    async def test_calls_go_by_what_the_last_test_saw(self, toy):
        own = toy("openapi_service")
        async with connect(at(own.url), {}) as session:
            await session.introspect()
        own.post("/version", 2)
        assert (await received(at(own.url), "get_item", {"id": 1}))["path"] == "/echo/items/1"
        async with connect(at(own.url), {}) as session:
            await session.introspect()
        assert (await refusal(at(own.url), "get_item", id=1)).code == "tool_not_found"
        assert (await received(at(own.url), "moved", {"id": 1}))["path"] == "/echo/items/1"

    @pytest.mark.parametrize("change", ["server", "path", "method", "place", "credentials"])
    async def test_a_call_goes_where_it_was_accepted_or_nowhere(self, toy, change):
        own = toy("openapi_service")
        async with connect(at(own.url), {}) as session:
            tools = {tool.name: schema_hash(tool) for tool in (await session.introspect()).tools}
            accepted = tools["get_item"]
            own.post("/version", change)
            await session.call("get_item", {"id": 1}, timeout_s=PATIENCE_S, accepted=accepted)
            sent = own.get("/served")["calls"]
            now = {tool.name: schema_hash(tool) for tool in (await session.introspect()).tools}
            with pytest.raises(ConnectorError) as raised:
                await session.call("get_item", {"id": 1}, timeout_s=PATIENCE_S, accepted=accepted)
            assert (raised.value.code, raised.value.sent) == ("changed_tool", False)
            assert own.get("/served")["calls"] == sent
            await session.call("get_item", {"id": 1}, timeout_s=PATIENCE_S, accepted=now["get_item"])
        assert own.get("/served")["calls"] == sent + 1

    async def test_a_document_that_is_read_again_for_a_call_is_compared_first(self, toy):
        own = toy("openapi_service")
        async with connect(at(own.url), {}) as session:
            accepted = {tool.name: schema_hash(tool) for tool in (await session.introspect()).tools}["get_item"]
        memory._known.clear()
        cache.clear()
        own.post("/version", "server")
        with pytest.raises(ConnectorError, match="differently"):
            async with connect(at(own.url), {}) as session:
                await session.call("get_item", {"id": 1}, timeout_s=PATIENCE_S, accepted=accepted)
        assert own.get("/served")["calls"] == 0

    async def test_yaml_and_json_say_the_same(self, service):
        async with connect(at(service.url), {}) as one, connect(at(service.base + "/openapi.yaml"), {}) as other:
            assert (await one.introspect()).tools == (await other.introspect()).tools


class TestAddresses:
    @pytest.mark.parametrize(
        ("kind", "code", "words"),
        [
            ("html", "not_openapi", "a web page"),
            ("json", "not_openapi", "neither a field"),
            ("remote", "not_openapi", "other.yaml#/p"),
            ("hooks", "not_openapi", "no operation"),
            ("moved", "not_openapi", "redirects to http://127.0.0.2:9/openapi.json"),
            ("gone", "not_openapi", "HTTP 404"),
            ("huge", "not_openapi", "larger than 20 MB"),
            ("bomb", "not_openapi", "unfold"),
            ("broken", "unreachable", "HTTP 500"),
        ],
    )
    async def test_that_hold_no_document_say_why(self, service, kind, code, words):
        error = await refusal(at(f"{service.base}/wrong/{kind}"))
        assert error.code == code
        assert words in error.message

    async def test_inside_are_not_reached(self, service, settings):
        assert (await refusal(at("http://192.168.0.1/openapi.json"))).code == "blocked"
        assert (await refusal(at("http://127.0.0.1:9/openapi.json"))).code == "unreachable"

    async def test_a_document_names_are_not_reached_either(self, service, settings):
        async with connect(at(service.url), {}) as session:
            await session.introspect()
        settings.OUTBOUND_ALLOW = []
        error = await refusal(at(service.url), "get_echo_elsewhere")
        assert (error.code, error.sent) == ("blocked", False)
