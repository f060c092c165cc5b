"""`manage.py probe_servers`: test the connections of servers, those not tested for the longest time first."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import F
from redis import RedisError

from registry.models import Health, Server
from registry.services.batches import probe_side_by_side
from registry.services.probing import enqueue_claimed

DEFAULT_LIMIT = 100


class Command(BaseCommand):
    help = "Queue a test of servers' connections, as their owners, the longest untested first."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("slugs", nargs="*", help="these servers; none: any that are reached by an address")
        parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help=f"at most so many ({DEFAULT_LIMIT})")
        parser.add_argument("--health", choices=Health.values, help="only those last seen so")
        parser.add_argument("--source", default="", help="only those first seen in this catalogue")
        parser.add_argument("--now", action="store_true", help="test here, side by side, and print what is found")

    def handle(self, *, slugs: list[str], limit: int, now: bool, **options: Any) -> None:
        chosen = Server.objects.exclude(status=Server.Status.DELETED).exclude(transport="")
        filters = {name: options[name] for name in ("health", "source") if options[name]}
        if slugs:
            filters["slug__in"] = slugs
        else:  # testing one that is started by a command runs somebody's code here: only when it is named
            chosen = chosen.exclude(transport=Server.Transport.STDIO)
        longest_ago = F("last_healthcheck").asc(nulls_first=True)
        servers = list(chosen.filter(**filters).order_by(longest_ago, "pk")[: max(0, limit)])
        if now:
            self._probe([server.pk for server in servers])
        else:
            self._enqueue(servers)

    def _probe(self, ids: list[Any]) -> None:
        probe_side_by_side(ids, makes_way=False)
        for server in Server.objects.filter(pk__in=ids).order_by("slug"):
            self.stdout.write(
                f"{server.slug}: {server.health}, {server.tool_count} tools. {server.health_detail}".strip()
            )
        self.stdout.write(f"tested {len(ids)}")

    def _enqueue(self, servers: list[Server]) -> None:
        try:
            enqueue_claimed(servers)
        except RedisError as error:
            raise CommandError(f"Redis cannot be reached: {error}. --now tests without a queue.") from error
        self.stdout.write(f"queued {len(servers)}")
