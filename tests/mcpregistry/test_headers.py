"""What answers tell a browser, and the check of a production set-up."""

import os
import subprocess
import sys

import pytest
from django.test import Client

from tests.toys import ROOT

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/", "/servers", "/account", "/nothing/here", "/registry", "/healthz", "/api/docs"])
def test_no_answer_lets_a_script_run_that_is_not_ours(web: Client, path: str) -> None:
    policy = web.get(path).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in policy


def test_pages_are_not_framed_sniffed_or_told_about_elsewhere(web: Client) -> None:
    told = web.get("/servers").headers
    assert told["X-Frame-Options"] == "DENY"
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == told["Cross-Origin-Opener-Policy"] == "same-origin"
    assert told["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in told["Permissions-Policy"]


@pytest.mark.parametrize("path", ["/account", "/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/login/"])
def test_no_browser_keeps_a_page_that_may_show_a_secret(web: Client, path: str) -> None:
    assert web.get(path).headers["Cache-Control"] == "no-store"


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
