"""What answers tell a browser, and the check of a production set-up."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from rest_framework.test import APIClient

from chains.events import publish
from chains.models import Result, Run
from tests.toys import ROOT

pytestmark = pytest.mark.django_db


# What is answered: address, method, who asks, the status.
ANSWERS: dict[str, tuple[str, str, str, int]] = {
    "page": ("/servers", "get", "web", 200),
    "page for a stranger": ("/servers", "get", "client", 302),
    "page that is not there": ("/nothing/here", "get", "web", 404),
    "address with a slash too many": ("/admin", "get", "web", 301),
    "sign-in page": ("/accounts/login/", "get", "client", 200),
    "form without its CSRF token": ("/servers/new", "post", "strict", 403),
    "JSON": ("/registry", "get", "api", 200),
    "JSON for a stranger": ("/registry", "get", "client", 401),
    "JSON that is not there": ("/registry/nothing", "get", "api", 404),
    "JSON by the wrong method": ("/chain/execute", "get", "api", 405),
    "JSON that is refused": ("/chain/execute", "post", "api", 400),
    "public list": ("/v0.1/servers", "get", "client", 200),
    "health": ("/healthz", "get", "client", 503),
    "document": ("/api/schema", "get", "client", 200),
    "documentation": ("/api/docs", "get", "client", 200),
    "admin": ("/admin/", "get", "admin", 200),
    "queues": ("/admin/django-rq/", "get", "admin", 200),
    "style sheet": ("/static/css/app.css", "get", "client", 200),
    "icon": ("/favicon.ico", "get", "client", 302),
    "file": ("FILE", "get", "api", 200),
    "events": ("STREAM", "get", "api", 200),
    "crash on a page": ("/servers?q=crash", "get", "web", 500),
    "crash of a call": ("/registry/search?q=crash", "get", "api", 500),
}
PUBLIC = {"public list", "style sheet"}


@pytest.fixture
def asking(alice: User, api: APIClient, web: Client, client: Client) -> dict[str, Client]:
    strict, admin = Client(enforce_csrf_checks=True), Client(raise_request_exception=False)
    strict.force_login(alice)
    admin.force_login(User.objects.create_superuser("root"))
    web.raise_request_exception = api.raise_request_exception = False
    return {"api": api, "web": web, "client": client, "strict": strict, "admin": admin}


@pytest.fixture
def addresses(alice: User) -> dict[str, str]:
    run = Run.objects.create(owner=alice, kind="chain", status="succeeded", plan={"version": 1, "steps": []})
    publish(run.pk, [("RUN_FINISHED", {"status": "succeeded"})])
    held = ContentFile(b"<script>alert(1)</script>", "page.html")
    result = Result.objects.create(
        owner=alice, run=run, kind="file", title="page.html", mime_type="text/html", file=held
    )
    return {"FILE": f"/results/{result.pk}/file", "STREAM": f"/chat/{run.pk}/stream"}


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
def test_every_answer_tells_a_browser_how_little_it_may_do(
    what: str, https: bool, asking: dict[str, Client], addresses: dict[str, str], settings: Any, monkeypatch: Any
) -> None:
    settings.SECURE_HSTS_SECONDS = 3600 if https else 0
    monkeypatch.setattr("registry.search.parse", crash)
    path, method, who, status = ANSWERS[what]
    accept = "text/html,*/*" if who in ("web", "admin", "strict") else "*/*"
    response = asking[who].generic(
        method.upper(),
        addresses.get(path, path),
        secure=https,
        content_type="application/json",
        headers={"Accept": accept},
    )
    told = response.headers
    assert response.status_code == status, response
    check_policy(told["Content-Security-Policy"], is_file=path == "FILE")
    assert ("sha256-" in told["Content-Security-Policy"]) == (what == "queues")  # what the package itself brings
    assert (told["X-Content-Type-Options"], told["X-Frame-Options"]) == ("nosniff", "DENY")
    assert told["Referrer-Policy"] == told["Cross-Origin-Opener-Policy"] == "same-origin"
    assert told["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in told["Permissions-Policy"]
    assert ("Strict-Transport-Security" in told) == https
    assert what in PUBLIC or "no-store" in told["Cache-Control"]


def crash(*arguments: Any, **named: Any) -> None:
    raise RuntimeError("as if something were wrong")


def check_policy(policy: str, *, is_file: bool) -> None:
    """No inline script or style, nothing from elsewhere, framed nowhere; of a file nothing at all."""
    rules = {name: value for name, _, value in (rule.partition(" ") for rule in policy.split("; "))}
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    if is_file:
        assert "sandbox" in rules and "script-src" not in rules
    else:
        assert rules["script-src"] == "'self'"
        assert all(each == "'self'" or each.startswith("'sha256-") for each in rules["style-src"].split())
        assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"


@pytest.mark.parametrize("path", ["/account", "/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/login/"])
def test_no_browser_keeps_a_page_that_may_show_a_secret(web: Client, path: str) -> None:
    assert "no-store" in web.get(path).headers["Cache-Control"]


def test_a_production_set_up_passes_the_deployment_check() -> None:
    production = {"HTTPS": "1", "SECRET_KEY": "k9-Zq_" * 12, "ALLOWED_HOSTS": "registry.example.com", "DEBUG": "0"}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    told = subprocess.run(command, cwd=ROOT, env=os.environ | production, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "no issues" in told.stdout, told.stdout


def test_the_documentation_of_the_api_has_no_script_of_its_own(web: Client) -> None:
    page = web.get("/api/docs").content.decode()
    assert page.count("<script src=") == page.count("<script") == 3
    assert "<style" not in page
