"""Lint knows one door to addresses that users and servers name, and the code has no way around lint."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OTHER_DOORS = [
    "import httpx",
    "import requests",
    "import aiohttp",
    "import urllib.request",
    "from urllib import request",
    "import http.client",
    "from urllib3 import PoolManager",
    "import httpcore2",
    "from httpx2 import AsyncClient",
    "import httpx2\n\nhttpx2.Client()",
    "import httpx2 as h\n\nh.get('https://a.example')",
    "import socket\n\nsocket.create_connection(('a.example', 80))",
    "import asyncio\n\nasyncio.open_connection('a.example', 80)",
    "import socket\n\nsocket.socket()",
    "from socket import socket",
    "import asyncio\n\nasyncio.open_unix_connection('/run/x')",
    "import ftplib",
    "import smtplib\n\nsmtplib.SMTP('a.example')",
    "import xmlrpc.client",
    "import httplib2",
    "from pip._vendor import requests",
    "from openai import OpenAI",
    "from langchain_anthropic import ChatAnthropic",
]


def refusals(code: str, path: str) -> str:
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", path, "-"]
    told = subprocess.run(command, input=code + "\n", capture_output=True, text=True, cwd=ROOT, check=False)
    assert told.returncode in {0, 1}, told.stderr
    return told.stdout if told.returncode else ""


@pytest.mark.parametrize("code", OTHER_DOORS)
def test_another_way_out_is_refused(code: str) -> None:
    for path in ("registry/anything.py", "chains/anything.py", "mcpregistry/anything.py"):
        assert "TID251" in refusals(code, path)


def test_types_of_the_client_may_be_named_anywhere() -> None:
    code = "import httpx2\n\n\ndef read(response: httpx2.Response) -> bytes:\n    return response.content"
    assert refusals(code, "registry/anything.py") == ""


OURS = ("mcpregistry", "registry", "chains", "chat")
FREE = {
    "registry/outbound.py",
    "chat/llm.py",
    "chat/lines.py",
    "mcpregistry/management/commands/up.py",
    "mcpregistry/embedded/redis.py",
    "mcpregistry/web.py",
}
BY_NAME = {"importlib.import_module", "__import__", "import_module", "eval", "exec", "importlib.__import__"}
NAMES_OF_OURS = {"mcpregistry/workers.py", "mcpregistry/management/commands/up.py"}  # modules of ours, listed there
PLAIN_NAMES = {
    "torch",
    "torch.ao.quantization",
    "sentence_transformers",
    "transformers.utils.logging",
    "chat.dispatching",
    "mcpregistry.audit_signals",
    "registry.services.sharing",
}
CLIENTS_OF_THE_SDK = {"streamable_http_client": "http_client", "sse_client": "httpx_client_factory"}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Each call in our code: its file, the name that is called, the call."""
    for path in sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield str(path.relative_to(ROOT)), ast.unparse(node.func), node


def test_nothing_is_imported_by_a_name_that_lint_cannot_see() -> None:
    found = [(path, ast.unparse(call.args[0])) for path, name, call in calls() if name in BY_NAME]
    assert {path for path, told in found if told.strip("'") not in PLAIN_NAMES} <= NAMES_OF_OURS


def test_the_sdk_is_always_given_our_client() -> None:
    made = [(path, name, call) for path, name, call in calls() if name.rpartition(".")[2] in CLIENTS_OF_THE_SDK]
    assert made
    for path, name, call in made:
        assert CLIENTS_OF_THE_SDK[name.rpartition(".")[2]] in {given.arg for given in call.keywords}, path


def test_no_program_is_started_by_a_shell_nor_one_that_fetches() -> None:
    for path, name, call in calls():
        told = ast.unparse(call)
        assert name not in {"os.system", "os.popen", "subprocess.getoutput"}, path
        assert "shell=True" not in told, path
        if name.startswith("subprocess."):
            assert not any(f"'{program}'" in told for program in ("curl", "wget", "nc", "ssh")), path


def test_the_rule_is_lifted_nowhere_else() -> None:
    lifted = (ROOT / "pyproject.toml").read_text().split("per-file-ignores]")[1].split("[tool")[0]
    files = {line.split('"')[1] for line in lifted.splitlines() if "TID251" in line}
    assert files == {"tests/**", "bench/**", *FREE}
    noted = [path for folder in OURS for path in (ROOT / folder).rglob("*.py") if "noqa: TID251" in path.read_text()]
    assert noted == []
