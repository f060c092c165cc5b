"""`manage.py restore FILE`: put back what `manage.py backup` wrote, into an empty database."""

import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mcpregistry.backup.archive import Manifest, Unusable, fingerprint
from mcpregistry.backup.restoring import restore


class Command(BaseCommand):
    help = "Put an archive of `manage.py backup` back. Stop the web servers and workers first."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="what the database holds is removed")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            manifest = restore(options["file"], replace=options["replace"])
        except Unusable as error:
            raise CommandError(str(error)) from error
        self.tell(manifest, time.monotonic() - began)

    def tell(self, manifest: Manifest, took_s: float) -> None:
        for name, table in manifest.tables.items():
            if table.rows:
                self.stdout.write(f"{table.rows:>10}  {name}")
        self.stdout.write(
            f"restored {len(manifest.tables)} tables, {manifest.rows} rows, {len(manifest.files)} files "
            f"of {manifest.made_at} in {took_s:.1f} s"
        )
        if manifest.secret_key != fingerprint():
            self.stderr.write(
                "SECRET_KEY is another one than when this was backed up: put that one into SECRET_KEY_FALLBACKS, "
                "or stored credentials and sessions are lost."
            )
