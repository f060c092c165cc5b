"""Who may start a server that is a command on this machine, and what may be put into its environment."""

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


def check_variables(user: User, server: Server, names: Iterable[str]) -> None:
    """A variable such as NODE_OPTIONS is a way to run one's own code: who is not staff sets only what the server asks
    for. Raises MayNotStart."""
    if server.transport != Server.Transport.STDIO or user.is_staff:
        return
    asked = {entry.get("name") for entry in server.env_schema if isinstance(entry, dict)}
    if unasked := sorted(set(names) - asked):
        raise MayNotStart(f"This server does not ask for {', '.join(unasked[:5])}: only staff may set it.")
