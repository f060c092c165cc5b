"""Test many servers side by side in one job."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from registry.models import Server
from registry.probers import Prober, owners_probers
from registry.probes import ProbeOutcome, probe
from registry.schedule import give_back
from registry.services.probing import must_make_way
from registry.services.recording import record_probe

CONCURRENCY = 30
PATIENCE_S = 15.0  # for one server; whoever clicks “Test connection” has more
LOOK_S = 0.5


def probe_side_by_side(server_ids: Sequence[Any], *, makes_way: bool = True) -> None:
    """Record each as it ends. When somebody else's test must come first, what is left is due again."""
    servers = list(
        Server.objects.filter(pk__in=server_ids).exclude(status=Server.Status.DELETED).select_related("owner")
    )
    left = {server.pk: server for server in servers}
    async_to_sync(_work)(left, owners_probers(servers), makes_way)
    give_back(list(left))


async def _work(left: dict[Any, Server], probers: Mapping[Any, Prober], makes_way: bool) -> None:
    """Takes from `left` what is done."""
    waiting = iter(list(left.values()))
    workers = [asyncio.create_task(_one_after_the_other(waiting, left, probers)) for _ in range(CONCURRENCY)]
    pending = set(workers)
    while pending and not (makes_way and await sync_to_async(must_make_way)()):
        _, pending = await asyncio.wait(pending, timeout=LOOK_S)
    for task in pending:
        task.cancel()
    for result in await asyncio.gather(*workers, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _one_after_the_other(
    waiting: Iterator[Server], left: dict[Any, Server], probers: Mapping[Any, Prober]
) -> None:
    for server in waiting:
        prober = probers[server.pk]
        outcome = prober.refused or await probe(server, prober.credentials, timeout_s=PATIENCE_S, bearer=prober.bearer)
        await sync_to_async(_record)(server, outcome)
        del left[server.pk]


def _record(server: Server, outcome: ProbeOutcome) -> None:
    with suppress(Server.DoesNotExist):  # deleted while it was tested
        record_probe(server=server, outcome=outcome)
