"""`manage.py drop_second_factor USERNAME`: for the administrator who lost phone, key and codes."""

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Remove every second factor of a user, who then signs in by password or link alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        count, _ = Authenticator.objects.filter(user__username=username).delete()
        if not count:
            raise CommandError(f"No user {username!r} has a second factor.")
        self.stdout.write(f"{username} signs in without a second factor now.")
