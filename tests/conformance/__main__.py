"""Run the suite: `python -m tests.conformance [REVISION …]`. The only thing fetched is the suite, and a Node.js if
there is none that is new enough, once, into .conformance/.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".conformance"
SUITE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"
NODE = 22
ENTRY = FOLDER / "node_modules" / SUITE / "dist" / "index.js"
REVISIONS = ("2026-07-28", "2025-11-25")
SCENARIO_MS = 120_000
RUN_S = 600


def node() -> str | None:
    """A Node.js that is new enough: the machine's own, or the one that came along."""
    own = str(FOLDER / "node_modules" / "node" / "bin" / "node")
    return next((path for path in (shutil.which("node"), own) if path and _major(path) >= NODE), None)


def _major(path: str) -> int:
    if not Path(path).exists():
        return 0
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return int(told.strip().lstrip("v").partition(".")[0] or 0)


def why_not() -> str:
    """Why the suite cannot run as things are; empty when it can."""
    if not ENTRY.exists():
        return "The conformance suite is not installed: `make conformance` does."
    return "" if node() else f"Node.js {NODE} is needed: `make conformance` fetches one."


def install() -> None:
    """With npm, unless it is there already."""
    if not why_not():
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is needed to fetch the conformance suite: install Node.js, any version.")
    FOLDER.mkdir(exist_ok=True)
    packages = [f"{SUITE}@{VERSION}"] + ([] if node() else [f"node@{NODE}"])
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), *packages], check=True)


@contextmanager
def warmed() -> Iterator[str]:
    """Where the loaded product listens."""
    with tempfile.TemporaryDirectory(prefix="mcpr-warm-") as folder:
        place = str(Path(folder) / "socket")
        command = [sys.executable, "-m", "tests.conformance.warm", place]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                process.stdout.readline()
                yield place
            finally:
                process.terminate()


def run(revision: str, *arguments: str) -> tuple[int, str]:
    """The suite's exit status for a revision, and all it says."""
    runner = node()
    assert runner is not None
    patience = ["--timeout", str(SCENARIO_MS)]
    client = f"{sys.executable} -S {ROOT / 'tests' / 'conformance_client.py'}"
    with warmed() as place:
        done = subprocess.run(
            [runner, str(ENTRY), "client", "--command", client, "--requirements", revision, *patience, *arguments],
            cwd=FOLDER,
            env=os.environ | {"CONFORMANCE_SOCKET": place, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
    return done.returncode, done.stdout + done.stderr


def main(revisions: list[str]) -> int:
    install()
    worst = 0
    for revision in revisions or REVISIONS:
        status, said = run(revision)
        print(said)
        worst = max(worst, status)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
