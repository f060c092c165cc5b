"""`manage.py doctor`: what is wrong with this set-up, in plain words. Status 1 when something is."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from mcpregistry.doctor import findings


class Command(BaseCommand):
    help = "Say what is wrong with this set-up, and what to do about it."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        found = []
        for finding in findings():
            found.append(finding.state)
            self.stdout.write(f"{finding.state:5}  {finding.part:10}  {finding.words}")
        if "wrong" in found:
            sys.exit(1)
