"""Who did what to which object."""

import pytest
from django.contrib.auth.models import User
from django.db import ProgrammingError, transaction
from django.test import Client
from rest_framework.test import APIClient

from mcpregistry.models import AuditEntry
from mcpregistry.tokens import make_token

pytestmark = pytest.mark.django_db


def entries() -> list[tuple[str, str, str, str, int]]:
    rows = AuditEntry.objects.order_by("id")
    return list(rows.values_list("username", "method", "action", "object", "status"))


def test_a_change_by_the_api_is_written_down_with_what_it_made(alice: User) -> None:
    token = make_token(user=alice, name="script")
    api = APIClient(headers={"Authorization": f"Token {token}"})
    made = api.post("/registry", {"name": "Mine", "url": "https://mine.example/mcp"}).json()
    api.delete(f"/registry/{made['id']}")
    assert entries() == [
        ("alice", "POST", "api_servers", "/registry", 201),
        ("alice", "DELETE", "api_server", f"/registry/{made['id']}", 204),
    ]
    first = AuditEntry.objects.earliest("id")
    assert f"id={made['id']}" in first.made
    assert token.startswith(first.token_key) and len(first.token_key) == 15
    assert first.address == "127.0.0.1"


def test_a_change_on_a_page_and_in_the_admin_is_written_down(web: Client, alice: User) -> None:
    web.post("/account", {"name": "laptop"})
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    web.post(f"/admin/auth/user/{alice.pk}/delete/", {"post": "yes"})
    assert entries()[0][2:] == ("account", "/account", 200)
    assert entries()[1][2:4] == ("admin:auth_user_delete", f"/admin/auth/user/{alice.pk}/delete/")


def test_what_was_refused_is_written_down_but_strangers_are_not(bob_api: APIClient, api: APIClient) -> None:
    made = api.post("/registry", {"name": "Mine", "url": "https://mine.example/mcp"}).json()
    bob_api.delete(f"/registry/{made['id']}")
    APIClient().post("/registry", {"name": "No"})
    assert [(who, status) for who, _, _, _, status in entries()] == [("alice", 201), ("bob", 404)]


def test_reading_leaves_nothing(web: Client, api: APIClient) -> None:
    web.get("/servers"), api.get("/registry"), api.post("/chain/validate", {"plan": {}})
    assert entries() == []


def test_no_secret_that_was_sent_is_in_the_log(api: APIClient) -> None:
    body = {"name": "Mine", "url": "https://mine.example/mcp", "credentials": {"Authorization": "hunter2"}}
    api.post("/registry", body)
    assert "hunter2" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_nothing_in_the_log_can_be_changed_or_removed(api: APIClient, verb: str) -> None:
    api.post("/registry", {"name": "Mine", "url": "https://mine.example/mcp"})
    with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
        AuditEntry.objects.all().delete() if verb == "delete" else AuditEntry.objects.update(username="bob")
    assert [who for who, *_ in entries()] == ["alice"]


def test_administrators_read_the_log_and_cannot_write_it(api: APIClient) -> None:
    api.post("/registry", {"name": "Mine", "url": "https://mine.example/mcp"})
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    assert "api_servers" in root.get("/admin/mcpregistry/auditentry/?q=alice").content.decode()
    page = f"/admin/mcpregistry/auditentry/{AuditEntry.objects.latest('id').pk}"
    assert root.get(f"{page}/change/").status_code == 200
    assert root.get("/admin/mcpregistry/auditentry/add/").status_code == 403
    assert root.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
