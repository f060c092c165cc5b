"""Work of the registry that runs in workers. Jobs take ids, may run twice, and call one function."""

import asyncio
import logging
from dataclasses import asdict
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from rq.timeouts import JobTimeoutException

from registry import watchdog
from registry.catalogues import AlreadyReading, Outcome, read_catalogue
from registry.importers import IMPORTERS
from registry.models import Health, ImportRun, Server
from registry.probers import Prober, prober_for
from registry.probes import ProbeOutcome, probe
from registry.search.indexing import embed_missing, embedding_beside, is_lacking
from registry.services import record_probe
from registry.services.batches import probe_side_by_side
from registry.services.embedding import enqueue_embedding
from registry.services.probing import enqueue_due, probe_each
from registry.sign_ins import finish, prepare, revoke_ended, tell
from registry.sources import options_for, queue_due_imports, resumed_options, retry_soon
from registry.trial_results import failed
from registry.trials import leave_answer, perform

logger = logging.getLogger(__name__)


def probe_server(server_id: str, user_id: int | None = None, reply_channel: str | None = None) -> None:
    """Test a server's connection as this user would (None: as its owner), record what was found, and tell the group
    `reply_channel`: `{"type": "probe.done", "check_id"}`, None when the server is gone."""
    server = Server.objects.filter(pk=server_id).select_related("owner").first()
    check_id = None
    if server is not None:
        prober = prober_for(server, User.objects.filter(pk=user_id).first() if user_id is not None else None)
        outcome = prober.refused or _probe(server, prober)
        check_id = record_probe(server=server, outcome=outcome, user=prober.private_to).pk
    if reply_channel:
        message = {"type": "probe.done", "check_id": check_id}
        async_to_sync(get_channel_layer().group_send)(reply_channel, message)


def _probe(server: Server, prober: Prober) -> ProbeOutcome:
    try:
        return asyncio.run(probe(server, prober.credentials, bearer=prober.bearer))
    except JobTimeoutException:
        return ProbeOutcome(Health.TIMEOUT, "The test was stopped: the server kept the worker busy beyond its time.")


def probe_frozen(server_id: str, user_id: int | None = None, reply_channel: str | None = None) -> None:
    """In the worker, after the process of such a test was ended by the watchdog."""
    server = Server.objects.filter(pk=server_id).select_related("owner").first()
    if server is not None:
        prober = prober_for(server, User.objects.filter(pk=user_id).first() if user_id is not None else None)
        outcome = ProbeOutcome(Health.TIMEOUT, watchdog.WORDS)
        record_probe(server=server, outcome=outcome, user=prober.private_to)


def prepare_sign_in(sign_in_id: int) -> None:
    """Find out where a person who wants to sign in is to go."""
    prepare(sign_in_id)
    tell(sign_in_id)


def finish_sign_in(sign_in_id: int) -> None:
    """Trade what the person brought back, and see which tools it opens."""
    if granted := finish(sign_in_id):
        probe_server(str(granted.server_id), granted.user_id)
    tell(sign_in_id)


def revoke_grants() -> int:
    """Give back the tokens of sign-ins that ended."""
    return revoke_ended()


def call_tool(trial: str, tool_id: int, user_id: int, arguments: dict[str, Any]) -> None:
    """Call a tool once for a user who tries it; the answer waits in the cache."""
    perform(trial, tool_id, user_id, arguments)


def batch_frozen(server_ids: list[str]) -> None:
    """In the worker, after the process of such a batch was ended by the watchdog: one by one they say which it was."""
    probe_each(server_ids)


def call_frozen(trial: str, tool_id: int, user_id: int, arguments: dict[str, Any]) -> None:
    """In the worker, after the process of such a call was ended by the watchdog."""
    leave_answer(trial, failed("timeout", watchdog.WORDS, sent=True))


def schedule_probes() -> int:
    """Enqueue tests of the servers that are due, as far as the queue has room. How many?"""
    return enqueue_due()


def probe_batch(server_ids: list[str]) -> None:
    """Test servers that were claimed, side by side, and make way as soon as somebody waits for a test of their own."""
    probe_side_by_side(server_ids)


def embed_tools() -> dict[str, int]:
    """Give every tool and server without one an embedding; how many were computed and how many copied."""
    done = embed_missing()
    return {"computed": done.computed, "copied": done.copied}


def complete_index() -> bool:
    """Every minute: have what a lost worker left undone embedded. Was there any?"""
    if lacking := is_lacking():
        enqueue_embedding()
    return lacking


def import_catalogue(
    source: str, *, tag: str = "", limit: int | None = None, incremental: bool = False, **options: Any
) -> dict[str, Any]:
    """Read a catalogue (a name of IMPORTERS; options are those of ImportOptions) and embed what it brought."""
    told = options_for(source, incremental=incremental, **options)
    try:
        with embedding_beside():
            outcome = read_catalogue(importer=IMPORTERS[source], options=told, tag=tag, limit=limit)
    except AlreadyReading as error:
        return {"error": str(error)}
    return _embedded(source, outcome)


def run_import(run_id: int) -> dict[str, Any]:
    """Do an import that was asked for on the Sources page or is due; the second job for one run finds nothing to do."""
    run = ImportRun.objects.unfinished().filter(pk=run_id).first()
    if run is None:
        return {"error": "It is done already."}
    told = options_for(run.source, incremental=True) if run.is_queued else resumed_options(run)
    try:
        with embedding_beside():
            outcome = read_catalogue(importer=IMPORTERS[run.source], options=told, run=run)
    except AlreadyReading as error:
        return {"error": str(error)}
    if outcome.error:
        retry_soon(source=run.source)
    return _embedded(run.source, outcome)


def _embedded(source: str, outcome: Outcome) -> dict[str, Any]:
    logger.info("Import of %s: %s in %.1f s %s", source, outcome.counts, outcome.seconds, outcome.error)
    embed_missing(words_are_counted=outcome.counts.is_news)
    return {**asdict(outcome.counts), "error": outcome.error}


def start_due_imports() -> int:
    """Every minute: queue the catalogues whose time has come, and what was cut off. How many?"""
    return queue_due_imports()
