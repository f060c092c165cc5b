"""Wake-ups of viewers from a process of threads: one event loop sends them all, over one connection to Redis.

Without it every publication from a thread would make a loop of its own, and with it a new connection.
"""

import asyncio
import logging
import threading
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
_loops: list[asyncio.AbstractEventLoop] = []


def keep_a_loop() -> None:
    """For a process that publishes from many threads and never forks."""
    if not _loops:
        _loops.append(asyncio.new_event_loop())
        threading.Thread(target=_loops[0].run_forever, name="waking", daemon=True).start()


def wake(group: str, message: dict[str, Any]) -> None:
    """Without Redis nobody is woken: viewers look by themselves."""
    if _loops:
        asyncio.run_coroutine_threadsafe(_send(group, message), _loops[0])
    else:
        async_to_sync(_send)(group, message)


async def _send(group: str, message: dict[str, Any]) -> None:
    try:
        await get_channel_layer().group_send(group, message)
    except (RedisError, OSError):
        logger.warning("Viewers of %s could not be woken: Redis does not answer. They look by themselves.", group)
