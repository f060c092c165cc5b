"""`manage.py drop_second_factor USERNAME`: for the administrator who lost phone, key and codes."""

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from mcpregistry.audit import write_of_command


class Command(BaseCommand):
    help = "Remove every second factor of a user, who then signs in by password or link alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username, authenticator__isnull=False).first()
        if user is None:
            raise CommandError(f"No user {username!r} has a second factor.")
        Authenticator.objects.filter(user=user).delete()
        write_of_command(user=user, action="second_factor_removed", made="all")
        self.stdout.write(f"{username} signs in without a second factor now.")
