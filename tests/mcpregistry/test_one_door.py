"""Lint knows one door to addresses that users and servers name."""

import subprocess
import sys
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
