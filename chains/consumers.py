"""The websocket of a run: the same events as its SSE stream."""

import asyncio
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError

from chains.events import parse_after, subscribe
from chains.models import Run

NOT_FOUND = 4404
TRY_AGAIN = 4503  # daphne may not send 1013, which says the same
logger = logging.getLogger(__name__)


class Nowhere(AsyncWebsocketConsumer):
    """Any other address: refused, which is no error of ours."""

    async def connect(self) -> None:
        await self.close()


class RunConsumer(AsyncWebsocketConsumer):
    """`/ws/runs/{id}?after=`: JSON text of each event, then the socket is closed. What it is sent, it ignores."""

    streaming: "asyncio.Task[None] | None" = None

    async def connect(self) -> None:
        await self.accept()
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        if not await database_sync_to_async(self.may_watch)(run_id):
            await self.close(NOT_FOUND)
            return
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        after = parse_after(None, query.get("after", [None])[0])
        self.streaming = asyncio.create_task(self.stream(run_id, after))

    def may_watch(self, run_id: Any) -> bool:
        user = self.scope["user"]
        return user.is_authenticated and Run.objects.owned_by(user).filter(pk=run_id).exists()

    async def stream(self, run_id: Any, after: int | None) -> None:
        try:
            async for event in subscribe(run_id, after):
                await self.send(event.text)
            await self.close()
        except Run.DoesNotExist:
            await self.close(NOT_FOUND)
        except (OperationalError, InterfaceError):
            logger.warning("The database does not answer; a viewer of run %s is asked to come again.", run_id)
            await self.close(TRY_AGAIN)

    async def disconnect(self, code: int) -> None:
        if self.streaming is not None:
            self.streaming.cancel()
            with suppress(asyncio.CancelledError):
                await self.streaming
