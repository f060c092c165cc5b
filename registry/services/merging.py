"""A curator's word that several servers of catalogues are one."""

from collections.abc import Sequence

from django.db import transaction

from registry.identity import BOUND
from registry.models import Server, SourceRecord
from registry.services.listing import link, take_turns


class NotMergeable(Exception):
    """These servers cannot become one."""


def merge_servers(*, servers: Sequence[Server]) -> Server:
    """The oldest is kept, and stays what all their records make whatever catalogues say later. Raises NotMergeable."""
    if len(servers) < 2:
        raise NotMergeable("Choose two servers or more.")
    with transaction.atomic():
        take_turns()
        rows = list(SourceRecord.objects.light().filter(server__in=servers))
        listed = {row.server_id for row in rows}
        if any(server.pk not in listed or server.owner_id for server in servers):
            raise NotMergeable("Only servers of catalogues are merged: one that somebody added is theirs.")
        for row in rows:
            row.identity = [*row.identity, f"{BOUND}{min(listed)}"]
        return link(touched=rows)[0]
