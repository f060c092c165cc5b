"""Script in every text a server may give, and every page that shows one: nothing runs, and nothing is even tried.

The fixture `page` fails on any error in the console: what the script would write, and what the browser says where the
Content-Security-Policy has to stop something.
"""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.servers.payload import SCRIPT
from tests.stack import Stack
from tests.toys import Toy, running_toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PATIENCE_S = 60


@pytest.fixture
def hostile() -> Iterator[Toy]:
    server = running_toy("hostile")
    yield server
    server.stop()


def executed(site: Stack, server: str, tool: str) -> str:
    """A run of one step that is over; its id."""
    steps = [{"id": "s1", "server": server, "tool": tool, "arguments": {"text": SCRIPT}}]
    plan = {"version": 1, "steps": steps, "outputs": {"said": {"$ref": "s1#/text"}}}
    status, run = site.call("POST", "/chain/execute", {"plan": plan}, site.token)
    assert status == 202, run
    deadline = time.monotonic() + PATIENCE_S
    while True:
        _, told = site.call("GET", f"/chain/runs/{run['run_id']}", token=site.token)
        if told["finished_at"]:
            return str(run["run_id"])
        assert time.monotonic() < deadline, told
        time.sleep(0.2)


def asked(site: Stack, model: Toy, server: str) -> str:
    """A conversation whose question, plan and answer hold the script; its id."""
    steps = [{"id": "s1", "server": server, "tool": "say", "arguments": {"text": SCRIPT}}]
    model.script([{"json": {"steps": steps}}, {"text": SCRIPT}])
    status, told = site.call("POST", "/chat", {"user_msg": f"Say {SCRIPT}"}, site.token)
    assert status == 202, told
    return str(told["conversation_id"])


PLACES = """
() => [...document.querySelectorAll("[href], [src], [action], [formaction], [data]")].flatMap((element) =>
  ["href", "src", "action", "formaction", "data"]
    .filter((name) => element.hasAttribute(name))
    .map((name) => new URL(element.getAttribute(name), location.origin))
    .filter((url) => !["http:", "https:", "mailto:"].includes(url.protocol))
    .map((url) => url.href))
"""
PARTS = (
    "img[src='x'], iframe, object, base, main style, main script, main link, meta[http-equiv], math, b[hx-get], mglyph"
)


@pytest.fixture
def confined(page: Page, site: Stack) -> Iterator[Page]:
    """A page that asks nobody but us for anything, and no question of its user."""
    strayed: list[str] = []
    page.on("request", lambda asked: strayed.append(asked.url) if not asked.url.startswith(site.base) else None)
    page.on("dialog", lambda dialog: strayed.append(dialog.message))
    yield page
    assert strayed == []


def looked_at(page: Page, path: str) -> bool:
    """Nothing on the page is more than text; does it show any of it?"""
    page.goto(path)
    page.wait_for_load_state("load")
    assert page.locator(PARTS).count() == 0, path
    assert page.evaluate(PLACES) == [], path
    return "pwned" in page.content()


def planted(site: Stack, model: Toy, server: str) -> list[str]:
    """Everything that can hold a server's text, made by the API; the pages that show it."""
    runs = [executed(site, server, tool) for tool in ("say", "fail")]
    steps = [{"id": "s1", "server": server, "tool": "say", "arguments": {"text": SCRIPT}}]
    wanted = {"name": SCRIPT[:100], "description": SCRIPT, "plan": {"version": 1, "steps": steps}}
    status, template = site.call("POST", "/chain/templates", wanted, site.token)
    assert status == 201, template
    of_server = [f"/servers/{server}", f"/servers?q={server}", "/servers", "/servers?q=pwned"]
    of_template = [f"/templates/{template['id']}{part}" for part in ("", "/edit", "/versions/1")] + ["/templates"]
    of_runs = [f"/runs/{run}" for run in runs] + ["/runs", f"/runs/compare?a={runs[0]}&b={runs[1]}", "/results"]
    conversation = f"/?conversation={asked(site, model, server)}"
    return [
        *of_server,
        *of_template,
        *of_runs,
        conversation,
        "/results?q=pwned",
        "/account",
        "/sources",
        "/conversations?q=pwned",
    ]


ADMIN = [
    *(f"/admin/registry/{name}/" for name in ("server", "tool", "healthcheck", "connection", "definition")),
    *(f"/admin/chains/{name}/" for name in ("run", "toolrun", "runevent", "result", "template")),
    *(f"/admin/chat/{name}/" for name in ("conversation", "message")),
    "/admin/mcpregistry/auditentry/",
]


def test_no_text_of_a_server_becomes_a_part_of_a_page(
    confined: Page, site: Stack, model: Toy, hostile: Toy, connected: Callable[[str, Toy], str]
) -> None:
    server = connected("Hostile", hostile)
    site.call("PATCH", f"/registry/{server}", {"description": SCRIPT, "title": f"\u202e{SCRIPT}"[:100]}, site.token)
    showing = [path for path in planted(site, model, server) if looked_at(confined, path)]
    assert len(showing) > 12, showing
    confined.goto(f"/servers/{server}")
    assert confined.locator("h1 bdi").evaluate("element => getComputedStyle(element).unicodeBidi") == "isolate"
    hostile.post("/change")
    assert site.call("POST", f"/registry/{server}/healthcheck", {}, site.token)[1]["tools"]["changed"]
    for path in (f"/servers/{server}", f"/servers/{server}?changed=", "/templates"):
        assert looked_at(confined, path)
    confined.goto(f"/servers/{server}")
    expect(confined.get_by_role("button", name="Accept all")).to_be_visible()


def test_what_is_pasted_is_shown_as_text(confined: Page) -> None:
    confined.goto("/servers/new")
    told = {"mcpServers": {SCRIPT[:200]: {"url": "https://fine.example/mcp", "headers": {"X-Key": SCRIPT}}}}
    confined.get_by_label("A link, a command, or a configuration").fill(json.dumps(told))
    confined.get_by_role("button", name="Look at it").click()
    expect(confined.get_by_text("Understood", exact=True)).to_be_visible()
    assert confined.locator(PARTS).count() == 0
    assert "pwned" in confined.content()


def test_the_admin_shows_what_servers_said_as_text(
    page: Page, site: Stack, hostile: Toy, connected: Callable[[str, Toy], str]
) -> None:
    executed(site, connected("Hostile", hostile), "say")
    for path in ADMIN:
        page.goto(path)
        row = page.locator("#result_list tbody th a").first
        if row.count():
            row.click()
            expect(page.locator("#content")).to_be_visible()
        assert page.locator("#content").locator(PARTS).count() == 0, path


def test_a_tool_that_is_tried_answers_in_text(
    page: Page, site: Stack, hostile: Toy, connected: Callable[[str, Toy], str]
) -> None:
    server = connected("Hostile", hostile)
    page.goto(f"/servers/{server}")
    page.goto(str(page.locator(".try a").first.get_attribute("href")))
    page.get_by_role("button", name="Call it").first.click()
    expect(page.get_by_role("status", name="What came back")).to_contain_text("pwned")


def test_a_script_that_got_into_a_page_would_not_run(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/servers")
    page.evaluate(
        """() => {
          window.stopped = [];
          document.addEventListener("securitypolicyviolation", (event) => {
            window.stopped.push(event.effectiveDirective);
          });
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<b style='color:red' onclick='window.ran = true'></b>");
          document.querySelector("b:last-child").click();
        }"""
    )
    page.wait_for_function("window.stopped.length >= 3")
    assert page.evaluate("window.ran") is None
