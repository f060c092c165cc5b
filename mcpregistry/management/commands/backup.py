"""`manage.py backup FILE`: everything that is kept, in one archive, while the product runs."""

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mcpregistry.backup.archive import Unusable
from mcpregistry.backup.making import make, open_for_owner


class Command(BaseCommand):
    help = "Write all tables, as they are at one moment, and the files of results into one archive."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the archive, a zip file that only its owner may read")
        parser.add_argument(
            "--secret-key",
            type=Path,
            metavar="KEYFILE",
            help="write SECRET_KEY too, into a file apart from the archive",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        path, key_path = options["file"], options["secret_key"]
        if key_path:
            with open_for_owner(key_path) as file:
                file.write(settings.SECRET_KEY.encode())
        try:
            manifest = make(path)
        except (Unusable, OSError) as error:
            raise CommandError(str(error)) from error
        for key in manifest.missing:
            self.stderr.write(f"not in the storage: {key}")
        self.stdout.write(
            f"backed up {len(manifest.tables)} tables, {manifest.rows} rows, {len(manifest.files)} files, "
            f"{len(manifest.missing)} missing, {path.stat().st_size} bytes in {time.monotonic() - began:.1f} s"
        )
        if not key_path:
            self.stdout.write("The secret key is not in it: without that key stored credentials cannot be read.")
