"""`manage.py import_catalogue official`: read a catalogue of MCP servers into the registry."""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from redis import RedisError

from registry.catalogues import AlreadyReading, Counts, Outcome, read_catalogue
from registry.importers import IMPORTERS
from registry.services.embedding import embed_on_commit
from registry.sources import options_for

SHOWN_REJECTED = 20


class Command(BaseCommand):
    help = "Read a catalogue of MCP servers into the registry; what has not changed is left alone."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("source", choices=sorted(IMPORTERS), help="which catalogue")
        parser.add_argument("--url", default="", help="base of the catalogue instead of the configured one")
        parser.add_argument("--path", default="", help="the file to read: JSON, JSON lines or YAML, perhaps gzipped")
        parser.add_argument("--tag", default="", help="a tag for every server it lists")
        parser.add_argument("--limit", type=int, help="read no more than this many records")
        parser.add_argument("--updated-since", default="", help="RFC 3339 time: only what changed after it")
        parser.add_argument("--incremental", action="store_true", help="only what changed since the last import")
        parser.add_argument("--dry-run", action="store_true", help="count, show the first changes, and change nothing")

    def handle(self, *, source: str, **options: Any) -> None:
        progress = _Progress(source)
        try:
            outcome = read_catalogue(
                importer=IMPORTERS[source],
                options=options_for(
                    source,
                    incremental=options["incremental"],
                    **{name: options[name] for name in ("url", "path", "updated_since")},
                ),
                tag=options["tag"],
                limit=options["limit"],
                dry_run=options["dry_run"],
                report=progress.show,
            )
        except AlreadyReading as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted: what was read until now is stored; the same command goes on.") from error
        finally:
            progress.end()
        if outcome.counts.is_news and not options["dry_run"]:
            self._embed_soon()
        for preview in outcome.previews:
            self.stdout.write(str(preview))
        self._say_rejected(outcome)
        self.stdout.write(f"{outcome.counts} in {outcome.seconds:.1f} s")
        if outcome.error:
            raise CommandError(outcome.error)

    def _say_rejected(self, outcome: Outcome) -> None:
        for one in outcome.rejected[:SHOWN_REJECTED]:
            self.stderr.write(f"rejected {one['external_id']}: {one['reason']}")
        if outcome.counts.rejected > SHOWN_REJECTED:
            self.stderr.write("… and more: the admin's import runs list the first hundred.")

    def _embed_soon(self) -> None:
        try:
            embed_on_commit()
        except RedisError:
            self.stderr.write(
                "Redis is not running: `manage.py embed_tools` makes the new texts searchable by meaning."
            )


class _Progress:
    """One line that moves, for a person at a terminal."""

    WIDTH = 30  # characters of the bar; one for each PER_CHARACTER records, then it starts again
    PER_CHARACTER = 200

    def __init__(self, source: str) -> None:
        self.source = source
        self.shown = False

    def show(self, counts: Counts) -> None:
        if sys.stderr.isatty():
            filled = counts.read // self.PER_CHARACTER % (self.WIDTH + 1)
            bar = "█" * filled + "·" * (self.WIDTH - filled)
            sys.stderr.write(f"\r{self.source} {bar} {counts.read:,} read: {counts}  ")
            sys.stderr.flush()
            self.shown = True

    def end(self) -> None:
        if self.shown:
            sys.stderr.write("\n")
