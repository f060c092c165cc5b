"""Starting a program on this machine is for staff, and for what staff published."""

import pytest

from registry.commands import fingerprint, is_confirmed
from registry.jobs import probe_server
from registry.models import Connection, Server
from tests.conftest import confirmed

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


# Nothing is started before staff have seen exactly what


def proposed(**fields: object) -> Server:
    return command(args=["--quiet", "a b; touch /tmp/pwned"], env={"CLOCK_MODE": "on"}, **fields)


def test_nothing_runs_before_staff_confirmed_the_very_command(staff_api, staff, web, alice):
    server = proposed()
    assert "never started here" in refused(staff_api.post("/registry/clock/healthcheck"))
    page = web.get("/servers/clock").content.decode()
    exact = "CLOCK_MODE=on no-such-command --quiet &#x27;a b; touch /tmp/pwned&#x27;"
    assert exact in page and "A member of staff confirms" in page and 'name="test"' not in page
    assert web.post("/servers/clock/confirm", {"command": fingerprint(server)}).status_code == 302
    assert not is_confirmed(Server.objects.get())
    web.force_login(staff)
    assert 'name="confirm"' in web.get("/servers/clock").content.decode()
    web.post("/servers/clock/confirm", {"command": fingerprint(server)})
    assert is_confirmed(Server.objects.get())
    assert 'name="test"' in web.get("/servers/clock").content.decode()


def test_another_command_is_another_thing_to_confirm(staff_api, api):
    server = proposed()
    told = staff_api.get("/registry/clock/command").json()
    assert (told["command"], told["args"][0], told["confirmed"]) == ("no-such-command", "--quiet", False)
    assert api.post("/registry/clock/command", {"fingerprint": told["fingerprint"]}).status_code == 403
    assert staff_api.post("/registry/clock/command", {"fingerprint": "of another"}).status_code == 409
    assert staff_api.post("/registry/clock/command", {"fingerprint": told["fingerprint"]}).json()["confirmed"]
    Server.objects.filter(pk=server.pk).update(args=["--loud"])  # as an import may
    assert "never started here" in refused(staff_api.post("/registry/clock/healthcheck"))
    assert not staff_api.get("/registry/clock/command").json()["confirmed"]
    assert staff_api.get("/registry/nowhere/command").status_code == 404


def test_what_staff_write_into_a_request_is_confirmed_by_that_and_a_change_is_not(staff_api, api):
    wanted = {"name": "Clock", "command": "no-such-command", "args": ["--quiet"]}
    assert api.post("/registry", wanted).status_code in {400, 403}
    assert staff_api.post("/registry", wanted).status_code == 201
    assert staff_api.get("/registry/clock/command").json()["confirmed"]
    assert staff_api.patch("/registry/clock", {"args": ["--loud"]}).status_code == 200
    assert not staff_api.get("/registry/clock/command").json()["confirmed"]


def test_what_was_not_confirmed_is_not_started_by_any_job(staff):
    server = proposed(owner=staff)
    probe_server(str(server.pk), staff.pk)
    server.refresh_from_db()
    assert (server.health, "never started here" in server.health_detail) == ("blocked", True)


def test_switched_off_means_those_that_are_registered_too(settings, staff):
    server = confirmed(proposed(owner=staff))
    server.save()
    settings.STDIO_SERVERS = "off"
    probe_server(str(server.pk), staff.pk)
    server.refresh_from_db()
    assert (server.health, "STDIO_SERVERS is off" in server.health_detail) == ("blocked", True)
