"""Sessions with real servers over every transport, and with servers that do it wrong."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mcp import MCPError

from registry.connectors import CallResult, ConnectorError, Session, connect
from registry.connectors.errors import explain
from registry.connectors.mcp import MAX_PAGES
from registry.connectors.recording import Exchange
from registry.connectors.stdio import environment
from registry.models import Server
from tests.conftest import confirmed
from tests.nursery import is_gone
from tests.toys import ROOT, SERVERS, Toy

STDIO_TEXT = [str(SERVERS / "text.py"), "--transport", "stdio"]
RUN_TEXT = (
    f"import runpy, sys; sys.path.insert(0, {str(SERVERS)!r}); sys.argv = {STDIO_TEXT};"
    "runpy.run_path(sys.argv[0], None, '__main__')"
)
PATIENCE_S = 10


def http(url: str, transport: str = "streamable_http") -> Server:
    return Server(transport=transport, url=url)


def stdio(*args: str) -> Server:
    return confirmed(Server(transport="stdio", command=sys.executable, args=list(args)))


def script(code: str) -> Server:
    return stdio("-c", code)


@pytest.fixture(scope="session")
def odd(toy: Callable[..., Toy]) -> Toy:
    return toy("odd")


@pytest.fixture(params=["streamable_http", "sse", "stdio"])
def text_server(request: pytest.FixtureRequest) -> Server:
    """The toy that works on text, over each transport."""
    if request.param == "stdio":
        return stdio(*STDIO_TEXT)
    toy = request.getfixturevalue("toy_text" if request.param == "streamable_http" else "toy_sse")
    return http(toy.url, request.param)


async def failure(server: Server, **credentials: str) -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        async with connect(server, credentials) as session:
            await session.introspect()
    return raised.value


async def call_failure(
    server: Server, tool: str = "good", timeout_s: float = PATIENCE_S, **arguments
) -> ConnectorError:
    async with connect(server, {}) as session:
        with pytest.raises(ConnectorError) as raised:
            await session.call(tool, arguments, timeout_s=timeout_s)
    return raised.value


def running() -> set[psutil.Process]:
    """Processes below this one that are alive."""
    below = psutil.Process().children(recursive=True)
    return {each for each in below if not is_gone(each)}


async def under_way(session: Session) -> asyncio.Task[CallResult]:
    """A call that has surely reached the server: it reported progress."""
    reached = asyncio.Event()

    async def on_progress(*progress: object) -> None:
        reached.set()

    task = asyncio.create_task(session.call("slow", {"seconds": 30}, timeout_s=60, on_progress=on_progress))
    await asyncio.wait_for(reached.wait(), PATIENCE_S)
    return task


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


class TestEveryTransport:
    async def test_says_who_it_is_and_what_it_offers(self, text_server):
        async with connect(text_server, {}) as session:
            found = await session.introspect()
        assert (found.server_name, found.protocol_version, found.problems) == ("toy-text", "2026-07-28", [])
        tools = {tool.name: tool for tool in found.tools}
        assert tools["upper"].input_schema["required"] == ["text"]
        assert tools["upper"].annotations["readOnlyHint"] is True
        assert tools["count_words"].output_schema["properties"]["words"] == {"title": "Words", "type": "integer"}

    async def test_results_are_plain_json(self, text_server):
        async with connect(text_server, {}) as session:
            shouted = await session.call("upper", {"text": "ä\nb"}, timeout_s=PATIENCE_S)
            counted = await session.call("count_words", {"text": "one two"}, timeout_s=PATIENCE_S)
            failed = await session.call("fail", {"message": "no"}, timeout_s=PATIENCE_S)
        assert (shouted.content, shouted.is_error) == ([{"type": "text", "text": "Ä\nB"}], False)
        assert counted.structured == {"words": 2, "characters": 7}
        assert failed.is_error
        assert json.dumps(failed.content)

    async def test_progress_arrives_as_it_is_made(self, text_server):
        seen = []

        async def on_progress(done: float, total: float | None, message: str) -> None:
            seen.append((done, total, message))

        async with connect(text_server, {}) as session:
            await session.call("slow", {"seconds": 0.3}, timeout_s=PATIENCE_S, on_progress=on_progress)
        assert len(seen) == 10
        assert seen[0] == (1, 10, "step 1 of 10")

    async def test_calls_run_side_by_side_and_fail_alone(self, text_server):
        async with connect(text_server, {}) as session:
            started = time.monotonic()
            slow = [session.call("slow", {"seconds": 0.5}, timeout_s=PATIENCE_S) for _ in range(3)]
            late = session.call("slow", {"seconds": 5}, timeout_s=0.3)
            *waited, error = await asyncio.gather(*slow, late, return_exceptions=True)
            assert time.monotonic() - started < 1.8
            assert [each.is_error for each in waited] == [False] * 3
            assert (error.code, error.sent) == ("timeout", True)
            assert (await session.call("upper", {"text": "on"}, timeout_s=PATIENCE_S)).content[0]["text"] == "ON"

    async def test_the_callers_own_error_passes_through_as_it_is(self, text_server):
        with pytest.raises(KeyError, match="mine"):
            async with connect(text_server, {}):
                raise KeyError("mine")

    @pytest.mark.alone
    async def test_a_cancelled_session_is_gone_within_two_seconds(self, text_server):
        before = running()
        inside = asyncio.Event()

        async def hold() -> None:
            async with connect(text_server, {}) as session:
                call = await under_way(session)
                inside.set()
                await call

        task = asyncio.create_task(hold())
        await asyncio.wait_for(inside.wait(), PATIENCE_S)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 2
        assert not running() - before


class TestLists:
    async def test_all_pages_are_read(self, toy_many):
        async with connect(http(toy_many.url), {}) as session:
            found = await session.introspect()
        assert [tool.name for tool in found.tools[:2]] == ["tool_0", "tool_1"]
        assert len(found.tools) == 250

    async def test_a_list_that_does_not_end_is_left(self, toy):
        endless = toy("many", "--tools", "100", "--loop-cursor")
        async with connect(http(endless.url), {}) as session:
            found = await session.introspect()
        assert len(found.tools) == 100
        assert "too long or does not end" in found.problems[-1]

    async def test_more_pages_than_we_read_are_named(self, toy):
        long = toy("many", "--tools", str(MAX_PAGES + 50), "--page", "1")
        async with connect(http(long.url), {}) as session:
            found = await session.introspect()
        assert len(found.tools) == MAX_PAGES
        assert found.problems

    async def test_more_tools_than_we_take_are_named(self, toy_many, monkeypatch):
        monkeypatch.setattr("registry.connectors.mcp.MAX_TOOLS", 120)
        async with connect(http(toy_many.url), {}) as session:
            found = await session.introspect()
        assert len(found.tools) == 120
        assert "too long" in found.problems[-1]

    async def test_a_bad_tool_hides_no_other_and_is_named(self, odd):
        async with connect(http(odd.base + "/bad-tools"), {}) as session:
            found = await session.introspect()
        assert [(tool.name, tool.description) for tool in found.tools] == [("good", "Good."), ("odd", "ab")]
        assert (found.tools[1].output_schema, found.tools[1].annotations) == (None, {})
        told = "\n".join(found.problems)
        assert all(name in told for name in ("no_schema", "array_schema", "listed twice", "no name"))


class TestFailures:
    async def test_a_missing_token_is_told_apart_from_a_wrong_server(self, toy_auth):
        error = await failure(http(toy_auth.url))
        assert (error.code, error.http_status, error.sent) == ("needs_auth", 401, False)
        async with connect(http(toy_auth.url), {"Authorization": "Bearer sesame"}) as session:
            assert (await session.call("secret", {}, timeout_s=PATIENCE_S)).content[0]["text"] == "the cave is open"

    @pytest.mark.parametrize(
        ("path", "code", "words"),
        [
            ("/forbidden", "needs_auth", "403"),
            ("/broken", "unreachable", "500"),
            ("/redirect", "not_mcp", "http://127.0.0.1:9/elsewhere"),
        ],
    )
    async def test_a_status_says_what_it_means(self, odd, path, code, words):
        error = await failure(http(odd.base + path))
        assert error.code == code
        assert words in error.message

    @pytest.mark.parametrize("path", ["/", "/json"])
    @pytest.mark.parametrize("transport", ["streamable_http", "sse"])
    async def test_an_ordinary_web_server_is_not_mcp(self, toy_notmcp, path, transport):
        assert (await failure(http(toy_notmcp.base + path, transport))).code == "not_mcp"

    @pytest.mark.parametrize(
        ("url", "code", "words"),
        [
            ("http://127.0.0.1:9/mcp", "unreachable", "refused"),
            ("http://nowhere.invalid/mcp", "unreachable", "resolved"),
            ("http://10.1.2.3/mcp", "blocked", "10.0.0.0/8"),
        ],
    )
    async def test_what_cannot_be_reached_says_why(self, url, code, words):
        error = await failure(http(url))
        assert (error.code, error.sent) == (code, False)
        assert words in error.message

    async def test_tls_where_none_is_spoken_is_named(self, toy_text):
        assert "TLS" in (await failure(http(toy_text.url.replace("http:", "https:")))).message

    async def test_silence_ends_by_itself(self, toy_silent, monkeypatch):
        monkeypatch.setattr("registry.connectors.mcp.HTTP_CONNECT_TIMEOUT_S", 0.5)
        for transport in ("streamable_http", "sse"):
            assert (await failure(http(toy_silent.url, transport))).code == "timeout"

    @pytest.mark.parametrize(
        ("path", "code"), [("/huge", "too_large"), ("/gzip", "too_large"), ("/breaks", "unreachable")]
    )
    async def test_an_answer_that_cannot_be_taken_ends_the_call_alone(self, odd, path, code):
        server = http(odd.base + path)
        async with connect(server, {}) as session:
            with pytest.raises(ConnectorError) as raised:
                await session.call("good", {}, timeout_s=PATIENCE_S)
            assert (raised.value.code, raised.value.sent) == (code, True)
            assert (await session.introspect()).tools

    async def test_a_servers_own_words_count_more_than_its_status(self, odd):
        error = await call_failure(http(odd.base + "/refuses"))
        assert (error.code, error.http_status) == ("tool_not_found", 404)
        assert "No such tool today" in error.message

    async def test_a_forgotten_session_had_no_effect(self, odd):
        error = await call_failure(http(odd.base + "/forgets"))
        assert (error.code, error.sent) == ("unreachable", False)
        assert "ended the session" in error.message

    async def test_an_endless_answer_ends_in_time(self, odd):
        started = time.monotonic()
        error = await call_failure(http(odd.base + "/endless"), timeout_s=0.5)
        assert (error.code, error.sent) == ("timeout", True)
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize("arguments", [(), ("--transport", "sse")])
    async def test_a_server_that_goes_away_is_a_connector_error(self, toy, arguments):
        server = toy("text", *arguments)
        async with connect(http(server.url, "sse" if arguments else "streamable_http"), {}) as session:
            calling = await under_way(session)
            server.process.kill()
            with pytest.raises(ConnectorError) as in_flight:
                await calling
            for _ in range(2):  # the first may find an open connection that nobody reads; the second opens one
                with pytest.raises(ConnectorError) as afterwards:
                    await session.call("upper", {"text": "x"}, timeout_s=PATIENCE_S)
        assert (in_flight.value.code, in_flight.value.sent) == ("unreachable", True)
        assert (afterwards.value.code, afterwards.value.sent) == ("unreachable", False)


class TestStdio:
    async def test_last_words_are_told(self):
        error = await failure(script("import sys; sys.exit('MAIL_KEY is missing')"))
        assert error.code == "unreachable"
        assert "status 1" in error.message
        assert "MAIL_KEY is missing" in error.message

    async def test_a_command_that_is_not_there_is_named(self):
        error = await failure(confirmed(Server(transport="stdio", command="no-such-command")))
        assert (error.code, error.sent) == ("unreachable", False)
        assert "no-such-command" in error.message

    async def test_death_in_a_call_may_have_had_an_effect_and_later_calls_have_none(self):
        async with connect(stdio(*STDIO_TEXT), {}) as session:
            server = next(each for each in running() if each.cmdline()[1:] == STDIO_TEXT)
            calling = await under_way(session)
            server.kill()
            with pytest.raises(ConnectorError) as in_flight:
                await calling
            with pytest.raises(ConnectorError) as afterwards:
                await session.call("upper", {"text": "x"}, timeout_s=PATIENCE_S)
        assert (in_flight.value.code, in_flight.value.sent) == ("unreachable", True)
        assert (afterwards.value.code, afterwards.value.sent) == ("unreachable", False)

    async def test_log_lines_on_its_output_do_no_harm(self):
        server = script(f"print('starting up'); {RUN_TEXT}")
        async with connect(server, {}) as session:
            assert (await session.introspect()).server_name == "toy-text"

    async def test_a_message_without_end_is_cut(self):
        error = await failure(script("import sys; [sys.stdout.write('x' * 100_000) for _ in range(200)]"))
        assert error.code == "too_large"

    async def test_commands_can_be_switched_off(self, settings):
        settings.STDIO_SERVERS = "off"
        assert (await failure(stdio(*STDIO_TEXT))).code == "blocked"

    def test_a_command_sees_its_own_secrets_and_none_of_ours(self, monkeypatch):
        for name in ("DATABASE_URL", "SECRET_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "UV_PUBLISH_TOKEN"):
            monkeypatch.setenv(name, "ours")
        monkeypatch.setenv("UV_INDEX_URL", "https://packages.example")
        monkeypatch.setenv("npm_config_registry", "https://packages.example")
        seen = environment({"MAIL_KEY": "its own"})
        assert "ours" not in seen.values()
        assert (seen["MAIL_KEY"], seen["UV_INDEX_URL"]) == ("its own", "https://packages.example")
        assert seen["npm_config_registry"] == "https://packages.example"
        assert Path(seen["PATH"].split(os.pathsep)[0]) == Path(sys.executable).parent

    async def test_no_shell_reads_its_words(self, tmp_path):
        words = ["$(touch pwned)", "`id`", "; touch pwned", "a b", "*", ">pwned", "&&"]
        error = await failure(stdio("-c", "import sys; sys.exit(repr(sys.argv[1:]))", *words))
        assert repr(words) in error.message

    async def test_it_is_started_under_limits(self, settings):
        settings.STDIO_MEMORY_MB, settings.STDIO_FILES, settings.STDIO_CPU_SECONDS = 500, 64, 9
        told = "import resource as r, sys; sys.exit(str([r.getrlimit(n)[0] for n in (2, 7, 0, 4)]))"
        assert "[500000000, 64, 9, 0]" in (await failure(script(told))).message

    @pytest.mark.parametrize(
        ("code", "cpu_s", "words"),
        [
            ("import os, time; [os.fork() for _ in range(6)]; time.sleep(60)", 60, "more than 20 processes"),
            ("kept = [bytearray(10**7) for _ in range(100)]", 60, "MemoryError"),
            (
                "import os, time; [os.fork() for _ in range(3)]; b = b'x' * 10**8; time.sleep(60)",
                60,
                "more than 300 MB",
            ),
            ("while True: pass", 1, "ended with status"),
        ],
    )
    async def test_one_that_takes_too_much_is_ended_and_says_so(self, settings, code, cpu_s, words):
        settings.STDIO_MEMORY_MB, settings.STDIO_PROCESSES, settings.STDIO_CPU_SECONDS = 300, 20, cpu_s
        before = running()
        error = await failure(script(code))
        assert error.code == "unreachable"
        assert words in error.message
        await until(lambda: not running() - before)

    async def test_one_that_will_not_stop_is_killed_with_its_children(self):
        stubborn = (
            "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
            "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start();"
            f"{RUN_TEXT}"
        )
        before = running()
        async with connect(script(stubborn), {}):
            started = running() - before
            assert len(started) == 3
            closing = time.monotonic()
        assert time.monotonic() - closing < 2
        await until(lambda: not started & running())

    async def test_nothing_outlives_a_worker_that_is_killed(self, tmp_path):
        holder = tmp_path / "holder.py"
        holder.write_text(HOLDER)
        process = started_script(holder)
        assert process.stdout.readline() == "connected\n"
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) == 2
        process.send_signal(signal.SIGKILL)
        process.wait()
        await until(lambda: not [each for each in started if not is_gone(each)])


def started_script(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


HOLDER = f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
import django
django.setup()
from registry.commands import fingerprint
from registry.connectors import connect
from registry.models import Server

async def hold():
    server = Server(transport="stdio", command=sys.executable, args={STDIO_TEXT!r})
    server.confirmed_command = fingerprint(server)
    async with connect(server, {{}}):
        print("connected", flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Connection closed", "unreachable"),
        ("SSE stream ended without a response", "unreachable"),
        ("Your quota is spent", "protocol"),
    ],
)
def test_a_servers_own_error_is_told_though_its_code_means_a_closed_connection_too(words: str, code: str) -> None:
    told = explain(MCPError(code=-32000, message=words), Exchange(sent=True))
    assert told.code == code
    assert (words in told.message) == (code == "protocol")
