"""What a fresh installation has to try out: real MCP servers, started by `uvx` or `npx`, and a template over them."""

import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from rq.job import Dependency, Job

from chains.models import Template
from chains.plan import PlanError
from chains.services import update_template
from registry import queues
from registry.commands import fingerprint
from registry.models import Health, Server
from registry.services import add_server, authorise, confirm_command

logger = logging.getLogger(__name__)

SOURCE = "demo"
TEMPLATE_NAME = "City time note"
REPOSITORY = "demo-repository"  # in DATA_DIR/files, where commands are started
HOMEPAGE = "https://github.com/modelcontextprotocol/servers"


@dataclass(frozen=True)
class DemoServer:
    """`slug` is also its name. Its command runs in DATA_DIR/files; without `needs` on PATH it is left out."""

    slug: str
    title: str
    description: str
    tags: Sequence[str]
    command: str
    args: Sequence[str]
    needs: Sequence[str] = ()

    def can_run(self) -> bool:
        return all(shutil.which(program) for program in self.needs)


SERVERS = [
    DemoServer(
        "time",
        "Time",
        "The current time in any time zone, and times converted from one zone to another.",
        ["time", "timezone"],
        "uvx",
        ["mcp-server-time@2026.10.19", "--local-timezone", "UTC"],
    ),
    DemoServer(
        "git",
        "Git",
        "Reads and changes a Git repository: status, log, diffs, branches, commits.",
        ["git", "development"],
        "uvx",
        ["mcp-server-git@2026.10.19", "--repository", REPOSITORY],
        needs=["git"],
    ),
    DemoServer(
        "fetch",
        "Fetch",
        "Fetches a web page and turns it into Markdown.",
        ["web", "fetch"],
        "uvx",
        ["mcp-server-fetch@2026.10.24"],
    ),
    DemoServer(
        "everything",
        "Everything",
        "One tool for each feature of the protocol: progress, structured output, images, errors.",
        ["testing", "protocol"],
        "npx",
        ["-y", "@modelcontextprotocol/server-everything@2026.8.31"],
        needs=["npx"],
    ),
    DemoServer(
        "filesystem",
        "Filesystem",
        "Reads and writes the files in this installation's own folder.",
        ["files"],
        "npx",
        ["-y", "@modelcontextprotocol/server-filesystem@2026.8.31", "."],
        needs=["npx"],
    ),
    DemoServer(
        "memory",
        "Memory",
        "Remembers people, things and how they relate, as a graph.",
        ["memory", "knowledge-graph"],
        "npx",
        ["-y", "@modelcontextprotocol/server-memory@2026.8.31"],
        needs=["npx"],
    ),
]

INPUTS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "title": "City", "default": "Tokyo"},
        "timezone": {"type": "string", "title": "Time zone", "default": "Asia/Tokyo"},
    },
    "required": ["city", "timezone"],
}
ASK_TIME = {
    "id": "s1",
    "server": "time",
    "tool": "get_current_time",
    "arguments": {"timezone": {"$input": "/timezone"}},
}
WRITE_NOTE = {
    "id": "s2",
    "server": "filesystem",
    "tool": "write_file",
    "arguments": {"path": "now.txt", "content": {"$format": "It is {s1#/json/datetime} in {input#/city}."}},
}
ASK_UTC = {"id": "s2", "server": "time", "tool": "get_current_time", "arguments": {"timezone": "UTC"}}


def register(owner: User) -> None:
    """Add what is not there yet, authorise it for `owner`, and have it probed. What was deleted stays deleted."""
    files = settings.DATA_DIR / "files"
    files.mkdir(parents=True, exist_ok=True)
    if settings.STDIO_SERVERS == "off":
        return
    make_repository(files / REPOSITORY)
    known = set(Server.objects.filter(source=SOURCE).values_list("slug", flat=True))
    for each in SERVERS:
        if each.slug not in known and each.can_run():
            add(each, owner)
    if not known:
        add_template(owner)
    probe_in_background(owner)


def add(demo: DemoServer, owner: User) -> None:
    server = add_server(
        owner=owner,
        name=demo.slug,
        title=demo.title,
        description=demo.description,
        tags=list(demo.tags),
        command=demo.command,
        args=list(demo.args),
        visibility=Server.Visibility.PUBLIC,
        homepage=HOMEPAGE,
        repository=HOMEPAGE,
    )
    server.source = SOURCE
    server.save(update_fields=["source"])
    confirm_command(user=owner, server=server, shown=fingerprint(server))
    authorise(user=owner, server=server)


def make_repository(folder: Path) -> None:
    """A small Git repository to look into."""
    if folder.exists() or not shutil.which("git"):
        return
    folder.mkdir()
    (folder / "README.md").write_text("# A demo repository\n\nFor trying out the git server.\n")
    author = ["-c", "user.name=MCP Registry", "-c", "user.email=demo@localhost"]
    for arguments in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "First page"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)  # nosec B607 # git as the operator's PATH has it


def demo_plan(*, with_files: bool) -> dict[str, Any]:
    if with_files:
        second, outputs = WRITE_NOTE, {"time": {"$ref": "s1#/json/datetime"}, "saved": {"$ref": "s2#/text"}}
    else:
        second, outputs = ASK_UTC, {"time": {"$ref": "s1#/json/datetime"}, "utc": {"$ref": "s2#/json/datetime"}}
    return {"version": 1, "inputs": INPUTS, "steps": [ASK_TIME, second], "outputs": outputs}


def add_template(owner: User) -> None:
    """Saved unchecked: its tools are known only once the servers have been probed (see `pin_template`)."""
    with_files = Server.objects.filter(source=SOURCE, slug="filesystem").exists()
    Template.objects.create(
        owner=owner,
        name=TEMPLATE_NAME,
        description="Asks the time of a city and keeps it in a note.",
        plan=demo_plan(with_files=with_files),
    )


def probe_in_background(owner: User) -> None:
    queue = queues.queue("probes")
    untested = Server.objects.filter(source=SOURCE, owner=owner).exclude(health=Health.OK)
    probes: list[Job] = [
        queue.enqueue("registry.jobs.probe_server", str(server.pk), owner.pk)
        for server in untested.exclude(status=Server.Status.DELETED)
    ]
    template = Template.objects.owned_by(owner).filter(name=TEMPLATE_NAME, tool_hashes={}).first()
    if template:
        after = Dependency(jobs=probes, allow_failure=True) if probes else None
        queue.enqueue("mcpregistry.demo.pin_template", str(template.pk), depends_on=after)


def pin_template(template_id: str) -> None:
    """A job: check the demo template against the tools as they are, so that a later change of one is noticed."""
    template = Template.objects.filter(pk=template_id, tool_hashes={}).first()
    if template is None:
        return
    try:
        update_template(template=template, plan=template.plan)
    except PlanError as error:
        logger.warning("The template %r cannot run yet: %s", template.name, error)
