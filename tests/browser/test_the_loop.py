"""The loop a user lives in: find, connect, run, watch, look at what came of it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack
from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def card(page: Page, step: str, state: str) -> None:
    expect(page.locator(f'[data-step="{step}"]')).to_have_attribute("data-state", state)


def test_typing_in_add_new_mcp_asks_once_and_a_suggestion_leads_to_the_server(page: Page, site: Stack) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/registry?" in request.url else None)
    page.goto("/servers")
    page.get_by_role("link", name="Add new MCP").click()
    page.get_by_role("searchbox", name="Find a server in the catalogues").press_sequentially("time", delay=40)
    page.get_by_role("list", name="Suggestions").get_by_role("link", name="Time").first.click()
    expect(page.get_by_role("heading", name="Time", exact=True)).to_be_visible()
    assert len(asked) == 1, asked
    assert "q=time" in asked[0]


def test_a_server_added_by_its_address_is_tested_and_authorised(page: Page, text_tools: Toy) -> None:
    page.goto("/servers/new")
    page.get_by_label("Name").fill("Toy text")
    page.get_by_label("Address").fill(text_tools.url)
    page.get_by_role("button", name="Add server").click()
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#found")).to_contain_text("Works")
    expect(page.locator("#tools")).to_contain_text("count_words")
    page.get_by_role("button", name="Authorise").click()
    expect(page.get_by_text("✓ authorised")).to_be_visible()
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#found")).to_contain_text("just now")


def test_a_saved_plan_runs_before_ones_eyes_and_a_reload_loses_nothing(
    page: Page,
    site: Stack,
    text_tools: Toy,
    toy_files: Toy,
    connected: Callable[[str, Toy], str],
    watched: Callable[[], list[str]],
) -> None:
    text, files = connected("Slow text", text_tools), connected("Notes", toy_files)
    save_template(site, text, files)
    page.goto("/")
    with page.expect_request("**/chain/execute"):
        page.get_by_role("button", name="Run Note of the time").click()
    expect(page.get_by_role("heading", name="Note of the time")).to_be_visible()
    card(page, "wait", "running")
    expect(page.locator('[data-step="wait"] .output')).to_contain_text("step 2 of 10")
    page.reload()
    card(page, "now", "succeeded")
    expect(page.locator('[data-step="wait"] .output')).to_contain_text("step 2 of 10")
    card(page, "save", "succeeded")
    expect(page.locator("[data-run-badge]")).to_have_text("done")
    order = [state for state in watched() if state.endswith((":running", ":succeeded"))]
    assert order == [f"{step}:{state}" for step in ("now", "wait", "save") for state in ("running", "succeeded")]
    open_result(page, toy_files)


def save_template(site: Stack, text: str, files: str) -> None:
    plan = {
        "version": 1,
        "steps": [
            {"id": "now", "server": "time", "tool": "get_current_time", "arguments": {"timezone": "Asia/Tokyo"}},
            {"id": "wait", "server": text, "tool": "slow", "arguments": {"seconds": 4}, "needs": ["now"]},
            {
                "id": "save",
                "server": files,
                "tool": "write_file",
                "arguments": {"path": "note.txt", "content": {"$format": "{now#/json/timezone}: {wait#/text}"}},
            },
        ],
        "outputs": {"note": {"$format": "{now#/json/timezone}: {wait#/text}"}},
    }
    status, answer = site.call("POST", "/chain/templates", {"name": "Note of the time", "plan": plan}, site.token)
    assert status == 201, answer


def open_result(page: Page, toy_files: Toy) -> None:
    assert (toy_files.root / "note.txt").read_text() == "Asia/Tokyo: waited 4.0 s"
    expect(page.locator("[data-live]")).to_have_attribute("data-finished", "true")
    before = page.locator(".steps").inner_text()
    page.reload()
    expect(page.locator(".steps")).to_have_text(before, use_inner_text=True)
    page.get_by_role("link", name="Results", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="Note of the time").last).to_contain_text("waited 4.0 s")


def test_the_form_of_a_template_sends_its_inputs_with_their_types(
    page: Page, site: Stack, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    inputs = {"type": "object", "properties": {"seconds": {"type": "number"}}, "required": ["seconds"]}
    wait = {"id": "wait", "server": connected("Patience", text_tools), "tool": "slow"}
    plan = {"version": 1, "inputs": inputs, "steps": [wait | {"arguments": {"seconds": {"$input": "/seconds"}}}]}
    site.call("POST", "/chain/templates", {"name": "Wait a little", "plan": plan}, site.token)
    page.goto("/templates")
    page.get_by_role("link", name="Run Wait a little: fill in its inputs").last.click()
    page.get_by_label("seconds").fill("0.5")
    first = executed(page)
    card(page, "wait", "succeeded")
    assert executed(page) != first
    card(page, "wait", "succeeded")
    expect(page.locator('[data-step="wait"] .output')).to_have_text("waited 0.5 s")


def executed(page: Page) -> str:
    """Press “Execute chain”; the address of the run that started."""
    before = page.url
    with page.expect_response("**/chain/execute") as answer:
        page.get_by_role("button", name="Execute chain").click()
    assert answer.value.status == 202
    page.wait_for_url(lambda url: "/runs/" in url and url != before)
    return page.url
