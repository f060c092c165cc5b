"""Work of the registry that runs in workers. Jobs take ids, may run twice, and call one function."""

import asyncio
import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

from registry.credentials import CredentialsLost, credentials_for
from registry.models import Health, Server
from registry.probes import ProbeOutcome, probe
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
        credentials = credentials_for(user, server)
    except CredentialsLost as lost:
        return ProbeOutcome(Health.NEEDS_AUTH, str(lost))
    return asyncio.run(probe(server, credentials))
