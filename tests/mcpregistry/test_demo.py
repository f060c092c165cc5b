"""What a fresh installation finds: servers and a template, put there once."""

import shutil
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from chains.models import Template
from mcpregistry import demo
from registry.models import Connection, Health, Server, Tool
from registry.services import accept_tools, delete_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin(settings: Any, tmp_path: Path) -> User:
    settings.DATA_DIR = tmp_path
    return User.objects.create_superuser("admin")


@pytest.fixture
def every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


def know_tools(*names: str) -> None:
    """As a probe would have found them."""
    for name in names:
        slug, tool = name.split("/")
        text = {"type": "object", "properties": {"timezone": {"type": "string"}, "path": {}, "content": {}}}
        server = Server.objects.get(slug=slug)
        Tool.objects.create(server=server, name=tool, input_schema=text, schema_hash=f"hash of {tool}")
        accept_tools(user=server.owner, server=server, seen={tool: None})


def test_servers_are_public_authorised_and_about_to_be_probed(admin: User, every_program: None) -> None:
    demo.register(admin)
    servers = Server.objects.filter(source="demo")
    assert {server.slug for server in servers} == {"time", "git", "fetch", "everything", "filesystem", "memory"}
    assert all(server.visibility == "public" and server.owner == admin for server in servers)
    assert Connection.objects.filter(user=admin, all_tools=True, approval_default="").count() == 6
    assert django_rq.get_queue("probes").count == 6


def test_second_start_adds_nothing_and_brings_nothing_back(admin: User, every_program: None) -> None:
    demo.register(admin)
    delete_server(server=Server.objects.get(slug="memory"))
    Template.objects.all().delete()
    Server.objects.update(health=Health.OK)
    django_rq.get_queue("probes").empty()
    demo.register(admin)
    assert Server.objects.visible_to(admin).count() == 5
    assert not Template.objects.exists()
    assert django_rq.get_queue("probes").count == 0


def test_without_node_the_python_servers_and_their_template_remain(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    demo.register(admin)
    assert {server.slug for server in Server.objects.all()} == {"time", "fetch"}
    steps = Template.objects.get().plan["steps"]
    assert [step["server"] for step in steps] == ["time", "time"]


def test_template_is_checked_once_its_tools_are_known(admin: User, every_program: None) -> None:
    demo.register(admin)
    template = Template.objects.get(name="City time note")
    demo.pin_template(str(template.pk))
    template.refresh_from_db()
    assert template.tool_hashes == {}
    know_tools("time/get_current_time", "filesystem/write_file")
    demo.pin_template(str(template.pk))
    template.refresh_from_db()
    assert set(template.tool_hashes) == {"time/get_current_time", "filesystem/write_file"}


def test_no_server_by_command_where_that_is_switched_off(admin: User) -> None:
    with override_settings(STDIO_SERVERS="off"):
        demo.register(admin)
    assert not Server.objects.exists()
