"""Django looks for its class of connections in a module of this name."""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> Any:
        """One that asks a connection for a sign of life only where something came in since it was used: a server that
        ends or restarts says so, and to ask each time costs a request as much as reading its token."""
        pool: Any = super().pool
        if pool is not None and pool._check == ConnectionPool.check_connection:
            pool._check = check_if_told
        return pool


def check_if_told(connection: Connection[Any]) -> None:
    """Raises OperationalError where the server has gone."""
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    if arrived.poll(0):
        ConnectionPool.check_connection(connection)
