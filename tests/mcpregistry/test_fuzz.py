"""The API against what its own document promises, with generated input: every check of schemathesis in every phase.

`make fuzz` does the same for longer and with more seeds; a seed stands, so that a failure comes again. What the tool
cannot know is in schemathesis.toml and fuzz_hooks.py beside this file, each with its reason.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.stack import Stack, running_stack
from tests.toys import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_900)]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "24"))
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")
SEEDS = os.environ.get("FUZZ_SEEDS", "1").split(",")
PHASES = ("coverage", "examples,fuzzing,stateful")  # each with half of the time: the first one would take it all
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Stack]:
    """Of its own: nobody else wants to meet what is made up here."""
    with running_stack(LLM_PROVIDER="offline", STDIO_SERVERS="off", EMBEDDING_MODEL="off") as running:
        yield running


@pytest.mark.parametrize("phases", PHASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_input_leads_to_what_the_document_does_not_say(
    fuzzed: Stack, tmp_path: Path, seed: str, phases: str
) -> None:
    token, told = fuzzed.manage("token", "fuzz", "--create").strip(), len(fuzzed.output)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)]
    command += [
        "run",
        "--no-color",
        f"{fuzzed.base}/api/schema",
        "--header",
        f"Authorization: Token {token}",
        "--checks",
        "all",
    ]
    command += ["--phases", phases, "--seed", seed, "--max-time", str(SECONDS // len(PHASES)), "-n", EXAMPLES]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert "test cases" in done.stdout.lower(), done.stdout + done.stderr
    assert done.returncode == 0, failures(done.stdout)
    _, trace, what = fuzzed.output[told:].partition("Traceback")
    assert not trace, what[:4_000]


def failures(said: str) -> str:
    """What schemathesis found, with what it sent cut short: some of it is thousands of characters."""
    return "\n".join(line[:400] for line in said.partition("FAILURES")[2].splitlines())[:20_000]


@pytest.fixture
def document(db: None, client: Client) -> dict[str, Any]:
    return client.get("/api/schema", headers={"Accept": "application/json"}).json()


def test_the_document_is_valid_and_refers_to_nothing_outside(document: dict[str, Any]) -> None:
    """The validator would fetch what is referred to elsewhere; so first: nothing is."""
    assert document["openapi"].startswith("3.1")
    assert [reference for reference in references(document) if not reference.startswith("#/")] == []
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def references(node: Any) -> Iterator[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]
    for child in children:
        yield from references(child)


def test_every_call_says_what_it_does_who_may_and_how_it_refuses(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            assert call["description"] and call["tags"] and call["operationId"], (method, path)
            assert {"400", "429", "default"} <= call["responses"].keys(), (method, path)
            assert "404" in call["responses"] or "{" not in path, (method, path)
            if not path.startswith("/v0.1"):  # open to all
                assert {name for each in call["security"] for name in each} == schemes.keys(), (method, path)
                assert {"401", "403"} <= call["responses"].keys(), (method, path)
