"""Work of the registry that runs in workers. Jobs take ids, may run twice, and call one function."""

import asyncio
import logging
from dataclasses import asdict
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from rq.timeouts import JobTimeoutException

from registry.catalogues import read_catalogue
from registry.commands import MayNotStart, check_start
from registry.credentials import CredentialsLost, credentials_for
from registry.importers import IMPORTERS
from registry.importers.base import ImportOptions
from registry.models import Health, Server
from registry.probes import ProbeOutcome, probe
from registry.search.indexing import embed_missing
from registry.services import record_probe

logger = logging.getLogger(__name__)


def probe_server(server_id: str, user_id: int | None = None, reply_channel: str | None = None) -> None:
    """Test a server's connection as this user would (None: without credentials), record what was found, and tell
    the group `reply_channel`: `{"type": "probe.done", "check_id"}`, None when the server is gone."""
    server = Server.objects.filter(pk=server_id).first()
    check_id = None
    if server is not None:
        user = User.objects.filter(pk=user_id).first() if user_id is not None else None
        check_id = record_probe(server=server, outcome=_probe_as(user, server)).pk
    if reply_channel:
        message = {"type": "probe.done", "check_id": check_id}
        async_to_sync(get_channel_layer().group_send)(reply_channel, message)


def _probe_as(user: User | None, server: Server) -> ProbeOutcome:
    try:
        check_start(user, server)
        credentials = credentials_for(user, server)
    except CredentialsLost as lost:
        return ProbeOutcome(Health.NEEDS_AUTH, str(lost))
    except MayNotStart as refused:
        return ProbeOutcome(Health.UNTESTED, refused.message)
    try:
        return asyncio.run(probe(server, credentials))
    except JobTimeoutException:
        return ProbeOutcome(Health.TIMEOUT, "The test was stopped: the server kept the worker busy beyond its time.")


def embed_tools() -> dict[str, int]:
    """Give every tool and server without one an embedding; how many were computed and how many copied."""
    done = embed_missing()
    return {"computed": done.computed, "copied": done.copied}


def import_catalogue(source: str, *, tag: str = "", limit: int | None = None, **options: Any) -> dict[str, Any]:
    """Read a catalogue (a name of IMPORTERS; options are those of ImportOptions) and embed what it brought."""
    importer = IMPORTERS[source]
    outcome = read_catalogue(importer=importer, options=ImportOptions(**options), tag=tag, limit=limit)
    logger.info("Import of %s: %s in %.1f s %s", source, outcome.counts, outcome.seconds, outcome.error)
    embed_missing()
    return {**asdict(outcome.counts), "error": outcome.error}
