"""Who may import whom: chat → chains → registry, and nobody the project package."""

import subprocess
import sys
from pathlib import Path

from tests.toys import ROOT


def test_imports_go_one_way() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout
