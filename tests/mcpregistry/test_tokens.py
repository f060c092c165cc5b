"""What a token may do, and until when."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from rest_framework.test import APIClient

from mcpregistry.models import TokenGrant
from mcpregistry.tokens import make_token, may, row_of, scope_of

pytestmark = pytest.mark.django_db
SERVER = {"name": "Mine", "url": "https://mine.example/mcp"}


def client(user: User, scope: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Token {make_token(user=user, name='test', scope=scope)}"})


def test_a_token_that_may_read_changes_nothing(alice: User) -> None:
    reader = client(alice, "read")
    assert reader.get("/registry").status_code == 200
    refused = reader.post("/registry", SERVER)
    assert refused.status_code == 403
    assert "may only read" in refused.json()["error"]["message"]
    assert reader.post("/chat", {"user_msg": "hello"}).status_code == 403


def test_a_token_that_may_run_runs_and_changes_nothing_else(alice: User) -> None:
    runner = client(alice, "run")
    assert runner.post("/chain/validate", {"plan": {}}).status_code == 200
    assert runner.post("/registry", SERVER).status_code == 403
    assert runner.post("/chain/templates", {"name": "x", "plan": {}}).status_code == 403
    assert runner.delete(f"/chat/{alice.pk}").status_code in {403, 404}


def test_a_token_from_before_there_were_scopes_may_all_its_user_may(alice: User) -> None:
    _, token = AuthToken.objects.create(user=alice)
    assert APIClient(headers={"Authorization": f"Token {token}"}).post("/registry", SERVER).status_code == 201


def test_a_token_is_recognised_by_one_query(alice: User, django_assert_num_queries: Any) -> None:
    """The one for its row; that it has no grant is known by then."""
    _, token = AuthToken.objects.create(user=alice)
    with django_assert_num_queries(0):  # a prepared statement is none that Django counts
        row = row_of(token.encode())
        assert row is not None and scope_of(row) == "admin"


def test_a_token_that_has_ended_is_refused(alice: User) -> None:
    ending = client(alice, "admin")
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert ending.get("/registry").status_code == 401


@pytest.mark.parametrize("token", ["", "x", "mcpr_", "é" * 20, "mcpr_" + "0" * 64])
def test_what_is_no_token_is_refused(token: str) -> None:
    headers = {"Authorization": f"Token {token}".encode().decode("latin-1")}
    assert Client().get("/registry", headers=headers).status_code == 401


def test_the_account_page_makes_a_token_with_a_name_a_scope_and_an_end(web: Client) -> None:
    page = web.post("/account", {"name": "nightly job", "scope": "run", "days": "30"})
    assert page.context["new_token"].startswith("mcpr_")
    row = AuthToken.objects.get()
    assert timedelta(days=29) < row.expiry - timezone.now() < timedelta(days=31)
    assert TokenGrant.objects.get().scope == "run"
    assert "nightly job" in web.get("/account").content.decode()


def test_the_account_page_makes_none_with_a_scope_there_is_not(web: Client) -> None:
    assert web.post("/account", {"name": "x", "scope": "root"}).context["new_token"] == ""
    assert not AuthToken.objects.exists()


@pytest.mark.parametrize(
    ("method", "path", "runs"),
    [
        ("POST", "/chat", True),
        ("POST", "/chat/", True),
        ("POST", "/chain/runs/1/approve", True),
        ("POST", "/registry/time/healthcheck", True),
        ("POST", "/registry/time/tools/now/call", True),
        ("POST", "/registry/time/tools/now/accept", False),
        ("PUT", "/registry/time/connection", False),
        ("DELETE", "/chat/1", False),
        ("POST", "/chatter", False),
        ("POST", "/chain/templates", False),
    ],
)
def test_running_is_told_from_changing(method: str, path: str, runs: bool) -> None:
    assert may("run", method, path) is runs
    assert may("admin", method, path)
    assert not may("read", method, path)
