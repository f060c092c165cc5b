"""Servers as a user has them: toy MCP servers registered, their tools loaded, authorised."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection, connections

from chains.jobs import drive_run
from chains.models import Run
from registry.connectors import ToolDefinition, connect
from registry.models import Server, Tool
from registry.services import authorise
from tests.toys import Toy


def connected(user: User, toy: Toy, slug: str, *, approval: str = "auto") -> Server:
    """A server of this user with the tools it really has, all of them authorised."""
    server = Server.objects.create(slug=slug, name=slug, url=toy.url, transport="streamable_http", owner=user)
    for tool in async_to_sync(tools_of)(server):
        Tool.objects.create(
            server=server,
            name=tool.name,
            input_schema=tool.input_schema,
            output_schema=tool.output_schema,
            annotations=tool.annotations,
            schema_hash=f"{tool.name} as first seen",
            content_hash="",
        )
    authorise(user=user, server=server, approval={"default": approval})
    return server


async def tools_of(server: Server) -> list[ToolDefinition]:
    async with connect(server, {}) as session:
        return (await session.introspect()).tools


@pytest.fixture
def text(alice: User, toy_text: Toy) -> Server:
    return connected(alice, toy_text, "text")


@pytest.fixture
def files(alice: User, toy_files: Toy) -> Server:
    return connected(alice, toy_files, "files")


def step(step_id: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """`step("s1", "text.upper", text="a")`; further fields of the step are added with `|`."""
    server, _, name = tool.partition(".")
    return {"id": step_id, "server": server, "tool": name, "arguments": arguments}


def plan(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"version": 1, "steps": list(steps), **fields}


def statuses(run: Run) -> dict[str, str]:
    run.refresh_from_db()
    return {row.step: row.status for row in run.current_steps()}


def event_types(run: Run) -> list[str]:
    return list(run.events.values_list("type", flat=True))


def until(condition: Callable[[], Any], timeout_s: float = 20) -> Any:
    """What `condition` returns once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return value


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction it would tell the same for ever
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def computing_for(most_s: float) -> Iterator[None]:
    """The block takes no longer, by the clock of this process alone: it stands while others have the processor."""
    began = time.process_time()
    yield
    assert time.process_time() - began < most_s


@contextmanager
def driven(run: Run) -> Iterator[threading.Thread]:
    """The run's job, in a thread of its own, for as long as the block and then to its end."""

    def drive() -> None:
        drive_run(str(run.pk))
        connections.close_all()

    driver = threading.Thread(target=drive)
    driver.start()
    yield driver
    driver.join(20)
    assert not driver.is_alive()
