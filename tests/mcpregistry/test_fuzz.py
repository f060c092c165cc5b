"""The API against what its own document promises, with generated input: no 5xx, no HTML, no undocumented answer.

`make fuzz` does the same for longer; the seed stands, so that a failure comes again. Two checks are left out: what a
cursor, a plan or a tool's arguments may be cannot be said in a schema, and a number that came as text in an address is
one. A request line of many kilobytes, which daphne cuts off without an answer, counts as an error there, not a failure.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_900)]
SECONDS = os.environ.get("FUZZ_SECONDS", "40")
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")
NOT_CHECKED = "positive_data_acceptance,negative_data_rejection"


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Of its own: nobody else wants to meet what is made up here."""
    with running_stack(LLM_PROVIDER="offline", STDIO_SERVERS="off", EMBEDDING_MODEL="off") as running:
        yield running


def test_no_input_leads_to_what_the_document_does_not_say(stack: Stack, tmp_path: Path) -> None:
    token = stack.manage("token", "fuzz", "--create").strip()
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{stack.base}/api/schema"]
    command += ["--header", f"Authorization: Token {token}", "--checks", "all", "--exclude-checks", NOT_CHECKED]
    command += ["--seed", "1", "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--max-time", SECONDS, "-n", EXAMPLES]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "test cases" in done.stdout.lower(), done.stdout + done.stderr
    assert "= FAILURES =" not in done.stdout, done.stdout[-8_000:]
    _, trace, what = stack.output.partition("Traceback")
    assert not trace, what[:4_000]
