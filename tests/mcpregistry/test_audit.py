"""Who did what to which object."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import ProgrammingError, transaction
from django.test import Client
from rest_framework.test import APIClient

from mcpregistry.accounts import sign_in_path
from mcpregistry.models import AuditEntry
from mcpregistry.tokens import make_token
from registry.models import Server
from tests.mcpregistry.test_second_factor import code_of

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
    assert entries()[0][2:] == ("token_made", "laptop", 200)
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


def actions() -> list[tuple[str, str, str, int]]:
    return list(AuditEntry.objects.order_by("id").values_list("username", "action", "made", "status"))


def test_signing_in_and_out_is_written_down_and_so_is_failing(alice: User, client: Client) -> None:
    alice.set_password("correct horse battery")
    alice.save()
    client.post("/accounts/login/", {"login": "alice", "password": "wrong"})
    client.post("/accounts/login/", {"login": "my-password-by-mistake", "password": "x"})
    client.post("/accounts/login/", {"login": "alice", "password": "correct horse battery"})
    client.post("/accounts/logout/")
    alice.refresh_from_db()
    client.get(sign_in_path(alice))
    assert actions() == [
        ("alice", "sign_in_failed", "", 401),
        ("", "sign_in_failed", "", 401),
        ("alice", "sign_in", "password", 200),
        ("alice", "sign_out", "", 200),
        ("alice", "sign_in", "link", 200),
    ]
    assert "mistake" not in str(list(AuditEntry.objects.values()))
    assert "/signin/" not in str(list(AuditEntry.objects.values()))


def test_the_second_factor_coming_going_and_failing_is_written_down(
    alice: User, client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    client.get(sign_in_path(alice))
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/accounts/2fa/recovery-codes/generate/")
    stranger = Client()
    alice.refresh_from_db()
    stranger.get(sign_in_path(alice))
    stranger.post("/accounts/2fa/authenticate/", {"code": "000000"})
    client.post("/accounts/2fa/totp/deactivate/")
    told = [(action, made) for _, action, made, _ in actions() if not action.startswith("mfa_")]
    assert told[0] == ("sign_in", "link")
    assert ("second_factor_added", "totp") in told and ("second_factor_added", "recovery_codes") in told
    assert ("second_factor_failed", "totp") in told and ("recovery_codes_made", "") in told
    assert ("second_factor_removed", "totp") in told
    assert secret not in str(list(AuditEntry.objects.values()))


def test_tokens_coming_and_going_are_written_down_by_their_first_characters(web: Client, alice: User) -> None:
    token = web.post("/account", {"name": "laptop", "scope": "run"}).context["new_token"]
    web.post("/account", {"revoke": token[:15]})
    told = StringIO()
    call_command("token", "alice", stdout=told)
    rows = list(AuditEntry.objects.order_by("id").values_list("action", "object", "made"))
    assert rows == [
        ("token_made", "laptop", f"{token[:15]} run"),
        ("token_revoked", token[:15], ""),
        ("token_made", "manage.py", told.getvalue()[:15]),
    ]


def test_an_action_of_the_admin_is_written_down_by_its_name(staff: User, client: Client) -> None:
    User.objects.filter(pk=staff.pk).update(is_superuser=True)
    client.force_login(staff)
    server = Server.objects.create(slug="one", name="One", url="https://one.example/mcp", transport="sse")
    client.post("/admin/registry/server/", {"action": "verify", "_selected_action": [str(server.pk)]})
    client.post("/admin/registry/server/", {"action": "<script>", "_selected_action": [str(server.pk)]})
    assert [action for _, action, _, _ in actions()] == [
        "admin:registry_server_changelist:verify",
        "admin:registry_server_changelist",
    ]
