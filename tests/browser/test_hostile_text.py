"""Script in every text a server may give, and every page that shows one: nothing runs, and nothing is even tried.

The fixture `page` fails on any error in the console: what the script would write, and what the browser says where the
Content-Security-Policy has to stop something.
"""

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


def planted(site: Stack, model: Toy, server: str) -> list[str]:
    """Everything that can hold a server's text, made by the API; the pages that show it."""
    runs = [executed(site, server, tool) for tool in ("say", "fail")]
    steps = [{"id": "s1", "server": server, "tool": "say", "arguments": {"text": SCRIPT}}]
    wanted = {"name": SCRIPT[:100], "description": SCRIPT, "plan": {"version": 1, "steps": steps}}
    status, template = site.call("POST", "/chain/templates", wanted, site.token)
    assert status == 201, template
    of_server = [f"/servers/{server}", f"/servers?q={server}", "/servers", "/servers?q=pwned"]
    of_template = [f"/templates/{template['id']}", f"/templates/{template['id']}/edit", "/templates"]
    of_runs = [f"/runs/{run}" for run in runs] + ["/runs", f"/runs/compare?a={runs[0]}&b={runs[1]}", "/results"]
    conversation = f"/?conversation={asked(site, model, server)}"
    return [*of_server, *of_template, *of_runs, conversation, "/results?q=pwned", "/account", "/sources"]


ADMIN = [
    *(f"/admin/registry/{name}/" for name in ("server", "tool", "healthcheck", "connection", "definition")),
    *(f"/admin/chains/{name}/" for name in ("run", "toolrun", "runevent", "result", "template")),
    *(f"/admin/chat/{name}/" for name in ("conversation", "message")),
]


def test_no_text_of_a_server_becomes_a_part_of_a_page(
    page: Page, site: Stack, model: Toy, hostile: Toy, connected: Callable[[str, Toy], str]
) -> None:
    server = connected("Hostile", hostile)
    site.call("PATCH", f"/registry/{server}", {"description": SCRIPT, "title": SCRIPT[:100]}, site.token)
    showing = 0
    for path in planted(site, model, server):
        page.goto(path)
        page.wait_for_load_state("load")
        showing += "pwned" in page.content()
        assert page.locator("img[src='x'], iframe, main style, main script, [hx-trigger='load'] b").count() == 0, path
        assert page.locator("a[href^='javascript:']").count() == 0, path
    assert showing > 10


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
        assert page.locator("img[src='x'], iframe").count() == 0, path


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
