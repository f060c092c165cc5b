"""Dockerfile and compose.yaml are right by their own rules, and say of settings, queues and commands what is so."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from django.utils.module_loading import import_string

from mcpregistry.management.commands.up import KEEPING, SEVERAL
from tests.toys import ROOT

BIN = Path(sys.executable).parent
OURS = ("migrate", "web", "worker-", "cron")
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}  # what boto3 reads
COMPOSE_OWN = {"POSTGRES_PASSWORD", "SITE_HOST"}  # of compose.yaml itself


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text())
    found: dict[str, Any] = loaded["services"]
    return found


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def ours(services: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in services.items() if name.startswith(OURS)}


def test_the_dockerfile_passes_its_linter() -> None:
    told = subprocess.run([BIN / "hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


def test_compose_is_what_its_schema_says() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_every_name_in_the_environment_is_a_setting(services: dict[str, Any], dockerfile: str) -> None:
    source = (ROOT / "mcpregistry/settings.py").read_text()
    known = set(re.findall(r"env(?:_\w+)?\(\"([A-Z0-9_]+)\"", source)) | FOREIGN
    for name, service in ours(services).items():
        assert set(service["environment"]) <= known, name
    interpolated = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert interpolated <= known | COMPOSE_OWN
    set_in_image = set(re.findall(r"^(?:ENV|   ) (?:\s*)([A-Z_]+)=", dockerfile, re.M))
    assert {"DATA_DIR", "LOG_FORMAT"} <= set_in_image
    assert set_in_image <= known | {"PATH", "PYTHONUNBUFFERED", "DJANGO_SETTINGS_MODULE", "TQDM_DISABLE"} | {
        "PIP_DISABLE_PIP_VERSION_CHECK"
    }


def test_every_queue_has_a_worker_of_its_kind_and_there_is_one_cron(services: dict[str, Any]) -> None:
    workers = {service["command"][3]: service["command"] for name, service in services.items() if "worker-" in name}
    assert set(workers) == set(settings.RQ_QUEUES)
    for queue, command in workers.items():
        kind = SEVERAL.get(queue, KEEPING)
        assert f"--worker-class={kind}" in command
        assert import_string(kind)
    assert services["cron"]["command"][2:] == ["rqcron", "mcpregistry.cron"]
    assert "replicas" not in services["cron"].get("deploy", {})


def test_every_command_is_one(services: dict[str, Any], dockerfile: str) -> None:
    for name, service in ours(services).items():
        if command := service.get("command"):
            assert command[:2] == ["python", "manage.py"], name
            assert command[2] in get_commands(), name
    assert 'CMD ["daphne"' in dockerfile


def test_ports_and_folders_agree(services: dict[str, Any], dockerfile: str) -> None:
    port = re.search(r"EXPOSE (\d+)", dockerfile)
    assert port
    assert f'"-p", "{port[1]}"' in dockerfile and f"127.0.0.1:{port[1]}/livez" in dockerfile
    assert services["web"]["ports"] == [f"127.0.0.1:{port[1]}:{port[1]}"]
    for service in ours(services).values():
        assert service["volumes"] == ["data:/data"]
    assert "DATA_DIR=/data" in dockerfile
    assert {"--appendonly", "noeviction"} <= set(services["redis"]["command"])


def test_nothing_runs_as_root_and_no_secret_is_inside(services: dict[str, Any], dockerfile: str) -> None:
    assert re.findall(r"^USER (\S+)", dockerfile, re.M)[-1] == "10001:10001"
    for name, service in ours(services).items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        secret = {key: value for key, value in service["environment"].items() if re.search("SECRET|KEY|TOKEN", key)}
        assert all(str(value).startswith("${") for value in secret.values()), name
    assert not re.search(r"(SECRET|PASSWORD|TOKEN|_KEY)\w*=", dockerfile)


def test_only_what_the_product_runs_on_gets_into_the_image(dockerfile: str) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]

    def is_ignored(path: str) -> bool:
        """The last line that fits decides."""
        ignored = False
        for line in lines:
            pattern = line.removeprefix("!")
            if any(fnmatch(part, pattern.removeprefix("**/")) for part in (path, path.split("/")[0])):
                ignored = not line.startswith("!")
        return ignored

    assert all(
        map(is_ignored, [".venv", "var", "var/secret_key", ".git", ".env", "prod.env", "tests", "bench", "docs"])
    )
    needed = ["chains", "chat", "mcpregistry", "registry", "static", "templates", "manage.py", "requirements.txt"]
    assert not any(map(is_ignored, [*needed, "constraints.txt", "mcpregistry/settings.py"]))
    assert "--constraint constraints.txt" in dockerfile
