"""`manage.py embed_tools`: a vector for every tool and server that has none."""

from typing import Any

from django.core.management.base import BaseCommand

from registry.search.indexing import embed_missing


class Command(BaseCommand):
    help = "Give every tool and server without one an embedding, here and now; it may be stopped and started again."

    def handle(self, **options: Any) -> None:
        done = embed_missing()
        self.stdout.write(f"embedded {done.computed}, copied {done.copied}")
