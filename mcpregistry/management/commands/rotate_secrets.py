"""`manage.py rotate_secrets`: every stored secret under the newest SECRET_KEY."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mcpregistry.rotation import rotate_secrets


class Command(BaseCommand):
    help = "Encrypt all stored secrets again with the newest SECRET_KEY; then SECRET_KEY_FALLBACKS may be emptied."

    def handle(self, *args: Any, **options: Any) -> None:
        done = rotate_secrets()
        self.stdout.write(f"rotated {done.rotated}, already current {done.current}, unreadable {done.lost}")
        if done.lost:
            message = f"{done.lost} secrets were stored with a key that is in neither SECRET_KEY nor its fallbacks."
            raise CommandError(f"{message} Whoever they belong to must enter them again.")
