"""Database work of a run's driver: on the job's thread, and through a restart of the database."""

import asyncio
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections

logger = logging.getLogger(__name__)
PAUSES_S = (0.1, 0.5, 1, 2, 4, 8)  # in all less than a lease
P = ParamSpec("P")
T = TypeVar("T")


async def in_database(verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`verb(*args, **kwargs)`, tried again while the database does not answer. What it writes it must write at once.

    Raises OperationalError or InterfaceError when the database stays away.
    """
    for pause_s in PAUSES_S:
        try:
            return await sync_to_async(verb)(*args, **kwargs)
        except (OperationalError, InterfaceError):
            logger.warning("The database does not answer; trying again in %s s.", pause_s)
            await asyncio.sleep(pause_s)
            await sync_to_async(close_old_connections)()  # a broken connection is not used again
    return await sync_to_async(verb)(*args, **kwargs)
