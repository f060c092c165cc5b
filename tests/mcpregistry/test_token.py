"""`manage.py token`."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from tests.stack import SHARED_WITH_TESTS, stack_data_dir
from tests.toys import ROOT

pytestmark = pytest.mark.django_db


def token(*arguments: str) -> str:
    out = StringIO()
    call_command("token", *arguments, stdout=out)
    return out.getvalue()


def test_token_authenticates(alice: User) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token('alice').strip()}")
    assert client.get("/registry").status_code == 200


def test_user_is_made_only_when_asked() -> None:
    with pytest.raises(CommandError, match="--create"):
        token("carol")
    token("carol", "--create")
    carol = User.objects.get(username="carol")
    assert not carol.is_staff
    assert not carol.has_usable_password()


def test_staff_is_given_to_a_new_and_to_a_known_user(alice: User) -> None:
    token("alice", "--staff")
    token("carol", "--create", "--staff")
    assert set(User.objects.filter(is_staff=True).values_list("username", flat=True)) == {"alice", "carol"}


def test_manage_starts_what_it_needs_and_an_empty_database_is_explained() -> None:
    with stack_data_dir() as data_dir:
        inherited = {name: value for name, value in os.environ.items() if name not in SHARED_WITH_TESTS}
        command = [sys.executable, "manage.py", "token", "admin"]
        environment = inherited | {"DATA_DIR": str(data_dir)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "run `make run` once" in done.stderr
        assert Path(data_dir / "postgres").exists()
