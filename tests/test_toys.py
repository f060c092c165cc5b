"""The toy servers speak the real protocols; what other tests build on must itself be true."""

import sys
from collections.abc import Callable

import openai
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client

from tests.toys import SERVERS, Toy


async def test_text_server_answers_over_streamable_http(toy_text: Toy) -> None:
    async with Client(toy_text.url) as client:
        counted = await client.call_tool("count_words", {"text": "two words"})
        failed = await client.call_tool("fail", {"message": "on purpose"})
    assert counted.structured_content == {"words": 2, "characters": 9}
    assert failed.is_error
    assert failed.content[0].text.endswith("on purpose")


async def test_text_server_answers_over_sse_and_stdio(toy_sse: Toy) -> None:
    command = StdioServerParameters(command=sys.executable, args=[str(SERVERS / "text.py"), "--transport", "stdio"])
    for transport in (sse_client(toy_sse.url), stdio_client(command)):
        async with Client(transport) as client:
            answer = await client.call_tool("upper", {"text": "quiet"})
        assert answer.content[0].text == "QUIET"


async def test_slow_tool_reports_its_progress(toy_text: Toy) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with Client(toy_text.url) as client:
        await client.call_tool("slow", {"seconds": 0.1}, progress_callback=on_progress)
    assert seen == list(range(1, 11))


async def test_files_server_stays_in_its_folder_and_counts_writes(toy_files: Toy) -> None:
    async with Client(toy_files.url) as client:
        await client.call_tool("write_file", {"path": "a/now.txt", "content": "12:00"})
        outside = await client.call_tool("write_file", {"path": "../now.txt", "content": "12:00"})
        listed = await client.call_tool("list_files", {})
    assert (toy_files.root / "a/now.txt").read_text() == "12:00"
    assert outside.is_error
    assert listed.structured_content == {"result": ["a/now.txt"]}
    assert (toy_files.root / ".writes").read_text() == "a/now.txt\n"


async def test_many_server_gives_its_tools_in_pages(toy_many: Toy) -> None:
    async with Client(toy_many.url) as client:
        first = await client.list_tools()
        second = await client.list_tools(cursor=first.next_cursor)
    assert [tool.name for tool in first.tools][-1] == "tool_49"
    assert second.tools[0].name == "tool_50"


async def test_changing_server_changes_its_description(toy_changing: Toy) -> None:
    async with Client(toy_changing.url) as client:
        before = (await client.list_tools()).tools[0].description
        toy_changing.post("/change")
        after = (await client.list_tools(cache_mode="bypass")).tools[0].description
    assert before == "Greet somebody by name."
    assert "id_rsa" in after


async def test_scripted_model_streams_counts_and_fails_as_told(llm: Toy) -> None:
    llm.script([{"match": "time", "text": "It is twelve."}, {"status": 429, "retry_after": 7, "message": "slow down"}])
    async with openai.AsyncOpenAI(base_url=llm.url, api_key="x", max_retries=0) as model:
        ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "what time is it"}]}
        stream = await model.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        with pytest.raises(openai.RateLimitError) as refused:
            await model.chat.completions.create(**ask)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "It is twelve."
    assert chunks[-1].usage.total_tokens > 0
    assert refused.value.response.headers["Retry-After"] == "7"
    assert len(llm.requests()) == 2


async def test_scripted_model_answers_json_and_calls_tools(llm: Toy) -> None:
    llm.script([{"json": {"plan": []}}, {"tool_calls": [{"name": "upper", "arguments": {"text": "a"}}]}])
    async with openai.AsyncOpenAI(base_url=llm.url, api_key="x") as model:
        ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        planned = await model.chat.completions.create(**ask)
        called = await model.chat.completions.create(**ask)
    assert planned.choices[0].message.content == '{"plan": []}'
    assert called.choices[0].message.tool_calls[0].function.arguments == '{"text": "a"}'


def test_other_toys_say_where_they_are(toy: Callable[..., Toy], toy_notmcp: Toy, toy_silent: Toy) -> None:
    assert toy_notmcp.get("/json") == {"shop": "open"}
    assert toy_silent.url.endswith("/mcp")
