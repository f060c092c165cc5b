"""The README's quick start is a program: it is run here as it stands."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.stack import SHARED_WITH_TESTS, Stack
from tests.toys import ROOT

QUICK_START = re.compile(r"<!-- quick-start.*?-->\n```bash\n(.*?)```", re.S)


def quick_start(base: str) -> str:
    found = QUICK_START.search((ROOT / "README.md").read_text())
    assert found, "README.md has no quick start"
    return found.group(1).replace("BASE=http://127.0.0.1:8000", f"BASE={base}")


@pytest.mark.timeout(240)
def test_the_quick_start_does_what_it_says(stack: Stack) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in SHARED_WITH_TESTS}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", quick_start(stack.base)],
        cwd=ROOT,
        env=inherited | {"DATA_DIR": str(stack.data_dir)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split("\n")[:3] == ["ok", "ok", "ok"]
    assert "event: RUN_FINISHED" in done.stdout
    note = Path(stack.data_dir, "files", "tokyo.txt").read_text()
    assert note.startswith("IT IS 20") and note.endswith("IN ASIA/TOKYO")
    _, templates = stack.call("GET", "/chain/templates", token=stack.token)
    assert "Tokyo time note" in [template["name"] for template in templates["results"]]
