"""A language model that says what a test tells it to, over the real wire protocols of OpenAI's chat completions
(`/v1/chat/completions`) and Anthropic's messages (`/v1/messages`).

`POST /script` takes a list of replies. For each request the first unused reply that fits is given; one fits when it
has no `match`, or its `match` occurs in the request. A reply is
    {"text": "…"} or {"json": {…}}                        what the assistant says
    {"tool_calls": [{"name": "…", "arguments": {…}}]}     or calls
    {"status": 429, "retry_after": 1, "message": "…"}     or an error
and may say `match`, `delay_s` (before anything is sent), `chunk_delay_s` and `chunk_characters` (of a stream),
`stamped` (each chunk of a stream is the time it is sent, in seconds), `break_after` (end the connection after so many
chunks), `garbage_after` (send something that is no chunk), `again` (it is never used up) and `usage`.
`GET /requests` lists the bodies received, `GET /unused` the replies nobody asked for, `GET /left` how many readers went
away before their reply was complete.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from serving import arguments, serve_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Reply = dict[str, Any]
replies: list[Reply] = []
received: deque[dict[str, Any]] = deque(maxlen=1_000)
numbers = itertools.count(1)
left: list[str] = []  # paths of requests whose reader went away
LOOK_S = 0.05


async def set_script(request: Request) -> Response:
    replies[:] = await request.json()
    received.clear()
    left.clear()
    return JSONResponse({"replies": len(replies)})


async def get_requests(request: Request) -> Response:
    return JSONResponse(list(received))


async def get_unused(request: Request) -> Response:
    return JSONResponse(replies)


async def get_left(request: Request) -> Response:
    return JSONResponse(len(left))


async def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "scripted", "object": "model", "owned_by": "tests"}]})


async def complete(request: Request) -> Response:
    return await answered(request, stream, completion)


async def complete_as_anthropic(request: Request) -> Response:
    return await answered(request, anthropic_stream, anthropic_message)


async def answered(request: Request, streamed: Callable[..., Any], whole: Callable[..., Any]) -> Response:
    body = await request.json()
    received.append(body)
    reply = next_reply(json.dumps(body, ensure_ascii=False))
    if reply is None:
        return error(422, "The script has no reply that fits this request.")
    if await is_left_within(request, reply.get("delay_s", 0)):
        return error(499, "The reader went away.")
    if "status" in reply:
        return error(reply["status"], reply.get("message", "scripted error"), reply.get("retry_after"))
    if body.get("stream"):
        return StreamingResponse(watched(streamed(body, reply)), media_type="text/event-stream")
    return JSONResponse(whole(body, reply))


async def is_left_within(request: Request, delay_s: float) -> bool:
    """Wait, as a model does before its first word; does the reader hang up meanwhile?"""
    due = time.monotonic() + delay_s
    while (rest_s := due - time.monotonic()) > 0:
        if await request.is_disconnected():
            left.append(request.url.path)
            return True
        await asyncio.sleep(min(LOOK_S, rest_s))
    return False


async def watched(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    try:
        async for piece in pieces:
            yield piece
    except asyncio.CancelledError:
        left.append("stream")
        raise


def next_reply(request_text: str) -> Reply | None:
    for index, reply in enumerate(replies):
        if reply.get("match", "") in request_text:
            return reply if reply.get("again") else replies.pop(index)
    return None


def error(status: int, message: str, retry_after: float | None = None) -> Response:
    kind = {429: "rate_limit_exceeded", 401: "invalid_api_key"}.get(status, "server_error")
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"error": {"message": message, "type": kind, "param": None, "code": kind}}
    return JSONResponse(body, status_code=status, headers=headers)


def content_of(reply: Reply) -> str | None:
    return json.dumps(reply["json"], ensure_ascii=False) if "json" in reply else reply.get("text")


def tool_calls_of(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{next(numbers)}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call.get("arguments", {}))},
        }
        for call in reply.get("tool_calls", [])
    ]


def usage_of(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    prompt = len(json.dumps(body.get("messages", []))) // 4
    answer = len(content_of(reply) or "") // 4 + 1
    counted = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return counted | reply.get("usage", {})


def head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    model = body.get("model", "scripted")
    return {"id": f"chatcmpl-{next(numbers)}", "object": kind, "created": int(time.time()), "model": model}


def completion(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    calls = tool_calls_of(reply)
    message: dict[str, Any] = {"role": "assistant", "content": content_of(reply), "refusal": None}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return head(body, "chat.completion") | {"choices": [choice], "usage": usage_of(body, reply)}


async def stream(body: dict[str, Any], reply: Reply) -> AsyncIterator[str]:
    start = head(body, "chat.completion.chunk")
    pace = Pace(reply)
    for sent, delta in enumerate(deltas(reply)):
        if sent == reply.get("break_after"):
            raise ConnectionResetError("scripted break")
        if sent == reply.get("garbage_after"):
            yield "data: {this is no JSON\n\n"
        await pace.wait()
        if "stamped" in reply and delta.get("content"):
            delta = {"content": f"{time.time()} "}
        yield event(start | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    reason = "tool_calls" if reply.get("tool_calls") else "stop"
    yield event(start | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        yield event(start | {"choices": [], "usage": usage_of(body, reply)})
    yield "data: [DONE]\n\n"


class Pace:
    """A chunk every `chunk_delay_s`, by the clock: what one was late the next catches up."""

    def __init__(self, reply: Reply) -> None:
        self.every_s = reply.get("chunk_delay_s", 0)
        self.due = time.monotonic()

    async def wait(self) -> None:
        self.due += self.every_s
        await asyncio.sleep(max(0.0, self.due - time.monotonic()))


def deltas(reply: Reply) -> list[dict[str, Any]]:
    content = content_of(reply) or ""
    size = reply.get("chunk_characters", 8)
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    calls = [{"index": index} | call for index, call in enumerate(tool_calls_of(reply))]
    first: dict[str, Any] = {"role": "assistant", "content": "" if content else None}
    return [first, *({"content": piece} for piece in pieces), *({"tool_calls": [call]} for call in calls)]


def event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def anthropic_message(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    counted = usage_of(body, reply)
    return {
        "id": f"msg_{next(numbers)}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "scripted"),
        "content": [{"type": "text", "text": content_of(reply) or ""}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": counted["prompt_tokens"], "output_tokens": counted["completion_tokens"]},
    }


async def anthropic_stream(body: dict[str, Any], reply: Reply) -> AsyncIterator[str]:
    whole = anthropic_message(body, reply)
    begun = whole | {"content": [], "stop_reason": None, "usage": whole["usage"] | {"output_tokens": 1}}
    yield named("message_start", message=begun)
    yield named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    pace = Pace(reply)
    for sent, delta in enumerate(deltas(reply)):
        if sent == reply.get("break_after"):
            raise ConnectionResetError("scripted break")
        if sent == reply.get("garbage_after"):
            yield "event: content_block_delta\ndata: {this is no JSON\n\n"
        await pace.wait()
        yield named("content_block_delta", index=0, delta={"type": "text_delta", "text": delta["content"] or ""})
    yield named("content_block_stop", index=0)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield named("message_delta", delta=ended, usage=whole["usage"])
    yield named("message_stop")


def named(kind: str, **data: Any) -> str:
    return f"event: {kind}\n{event({'type': kind, **data})}"


app = Starlette(
    routes=[
        Route("/script", set_script, methods=["POST"]),
        Route("/requests", get_requests),
        Route("/unused", get_unused),
        Route("/left", get_left),
        Route("/v1/models", list_models),
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/messages", complete_as_anthropic, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    serve_app(app, arguments().parse_args(), "/v1")
