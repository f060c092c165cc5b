"""An ASGI application that drains as the product's does: `/slow`, `/stream` and a websocket. Run by daphne."""

import asyncio
import sys
from pathlib import Path

from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
settings.configure(DRAIN_SECONDS=0)

from mcpregistry.draining import DrainingApplication, drain_on_signals  # noqa: E402
from mcpregistry.tracing import Receive, Scope, Send  # noqa: E402

SLOW_S = 1.0
PAUSE_S = 0.05


async def application_itself(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["path"] == "/slow":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(SLOW_S)
        await send({"type": "http.response.body", "body": b"done"})
    else:
        await stream(receive, send)


async def stream(receive: Receive, send: Send) -> None:
    """Until its reader leaves; it does not end by itself."""
    headers = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    leaving = asyncio.ensure_future(receive())
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        await asyncio.sleep(PAUSE_S)


application = DrainingApplication(application_itself)
drain_on_signals(application)
