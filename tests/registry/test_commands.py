"""Starting a program on this machine is for staff, and for what staff published."""

import pytest

from registry.jobs import probe_server
from registry.models import Connection, Server

pytestmark = pytest.mark.django_db


def command(source: str = "custom", **fields: object) -> Server:
    return Server.objects.create(
        name="Clock", slug="clock", transport="stdio", command="no-such-command", source=source, visibility="public",
        **fields,
    )  # fmt: skip


def refused(response) -> str:
    assert response.status_code == 403, response.content
    return response.json()["error"]["message"]


def test_a_catalogues_command_is_neither_tested_nor_authorised_by_users(api):
    command(source="official")
    assert "only staff" in refused(api.post("/registry/clock/healthcheck"))
    assert "only staff" in refused(api.put("/registry/clock/connection", {}))
    assert not Connection.objects.exists()


def test_staff_may_authorise_it(staff_api):
    command(source="official")
    assert staff_api.put("/registry/clock/connection", {}).status_code == 200


def test_what_staff_published_may_be_used_by_all(api):
    command()
    assert api.put("/registry/clock/connection", {}).status_code == 200


def test_nobody_refreshes_a_catalogues_command_unasked():
    server = command(source="official")
    probe_server(str(server.pk))
    server.refresh_from_db()
    assert (server.health, "only staff" in server.health_detail) == ("untested", True)


def test_a_user_sets_only_the_variables_a_server_asks_for(api):
    command(env_schema=[{"name": "CLOCK_KEY", "in": "env"}])
    assert "NODE_OPTIONS" in refused(api.put("/registry/clock/connection", {"credentials": {"NODE_OPTIONS": "x"}}))
    assert not Connection.objects.exists()
    assert api.put("/registry/clock/connection", {"credentials": {"CLOCK_KEY": "x"}}).status_code == 200
