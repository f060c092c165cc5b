"""`manage.py token USERNAME`: a new API token on standard output, and nothing else."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from knox.models import AuthToken

from mcpregistry.audit import write_of_command
from mcpregistry.tokens import KEY


class Command(BaseCommand):
    help = "Print a new API token of a user."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--create", action="store_true", help="make the user, without a password, if there is none")
        parser.add_argument("--staff", action="store_true", help="make the user a staff user")

    def handle(self, *args: Any, username: str, create: bool, staff: bool, **options: Any) -> None:
        user = find_user(username, create=create)
        if staff and not user.is_staff:
            user.is_staff = True
            user.save(update_fields=["is_staff"])
        _, token = AuthToken.objects.create(user=user)
        write_of_command(user=user, action="token_made", made=token[:KEY])
        self.stdout.write(token)


def find_user(username: str, *, create: bool) -> User:
    try:
        user = User.objects.filter(username=username).first()
    except ProgrammingError as error:
        raise CommandError("The database is empty yet: run `make run` once, or `manage.py migrate`.") from error
    if user is None and create:
        user = User.objects.create_user(username)
    if user is None:
        raise CommandError(f"There is no user {username!r}. Add --create to make one.")
    return user
