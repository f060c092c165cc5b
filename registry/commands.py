"""Who may start a server that is a command on this machine, when, and what may be put into its environment."""

import hashlib
import json
import shlex
from collections.abc import Iterable

from django.contrib.auth.models import User

from registry.models import Server


class MayNotStart(Exception):
    """The message says who may."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def check_start(user: User | None, server: Server) -> None:
    """Staff start any command; others only one that staff registered by hand and made public or shared with a team of
    theirs, never a catalogue's.
    None is the registry itself. Raises MayNotStart."""
    if server.transport != Server.Transport.STDIO or (user is not None and user.is_staff):
        return
    if server.source != "custom":
        raise MayNotStart("This server is a program of a stranger's catalogue: only staff may start it here.")
    is_open = server.visibility == Server.Visibility.PUBLIC
    if user is not None and not is_open and not (server.team and server.team.has(user)):
        raise MayNotStart("Only staff may start this server.")


def line_of(server: Server) -> str:
    """Exactly what is started, written so that a shell would understand it the same way; no shell does."""
    return shlex.join([*(f"{name}={value}" for name, value in server.env.items()), server.command, *server.args])


def fingerprint(server: Server) -> str:
    """Of the program, each of its arguments, and the environment that comes with it."""
    exact = json.dumps([server.command, server.args, server.env], sort_keys=True)
    return hashlib.sha256(exact.encode()).hexdigest()


def is_confirmed(server: Server) -> bool:
    """Has a member of staff written or seen this very command, and let it be started?"""
    return server.transport != Server.Transport.STDIO or server.confirmed_command == fingerprint(server)


def check_confirmed(server: Server) -> None:
    """Raises MayNotStart."""
    if not is_confirmed(server):
        raise MayNotStart(
            f"It was never started here as it is now: `{line_of(server)[:500]}`. Staff confirm that on its page first."
        )


class ChangedCommand(Exception):
    """It is another command than the one that was shown."""


def confirm_command(*, user: User, server: Server, shown: str) -> None:
    """Let a command be started that a person has seen: `shown` is its fingerprint. Raises MayNotStart or
    ChangedCommand."""
    if server.transport != Server.Transport.STDIO or not user.is_staff:
        raise MayNotStart("Only staff may confirm a command.")
    if shown != fingerprint(server):
        raise ChangedCommand(f"The command is another one by now: {line_of(server)[:500]}. Look at it again.")
    server.confirmed_command = shown
    Server.objects.filter(pk=server.pk).update(confirmed_command=shown)


def check_variables(user: User, server: Server, names: Iterable[str]) -> None:
    """A variable such as NODE_OPTIONS is a way to run one's own code: who is not staff sets only what the server asks
    for. Raises MayNotStart."""
    if server.transport != Server.Transport.STDIO or user.is_staff:
        return
    asked = {entry.get("name") for entry in server.env_schema if isinstance(entry, dict)}
    if unasked := sorted(set(names) - asked):
        raise MayNotStart(f"This server does not ask for {', '.join(unasked[:5])}: only staff may set it.")
