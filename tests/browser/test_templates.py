"""Templates from the sidebar and by keyboard."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack
from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORDS = {"type": "string", "default": "by default", "description": "What is shouted"}
TIMES = {"type": "integer", "default": 2}


def test_a_saved_template_with_inputs_runs_in_two_clicks(
    page: Page, site: Stack, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    text = {"$format": "{input#/words} {input#/times}"}
    shout = {"id": "s1", "server": connected("Shouter", text_tools), "tool": "upper", "arguments": {"text": text}}
    inputs = {"type": "object", "properties": {"words": WORDS, "times": TIMES}, "required": ["words"]}
    plan = {"version": 1, "inputs": inputs, "steps": [shout]}
    status, answer = site.call("POST", "/chain/templates", {"name": "Shout it", "plan": plan}, site.token)
    assert status == 201, answer
    page.goto("/")
    page.get_by_role("region", name="Saved templates").get_by_role("link", name="Run Shout it").click()
    expect(page.get_by_label("words")).to_have_value("by default")
    page.get_by_role("button", name="Execute chain").click()
    expect(page.locator('[data-step="s1"] .output')).to_have_text("BY DEFAULT 2")


def test_a_plan_is_made_and_saved_without_a_mouse(
    page: Page, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    server = connected("Keys", text_tools)
    page.goto("/templates/new")
    page.get_by_label("Name", exact=True).first.fill("By keyboard")
    page.get_by_label("Name", exact=True).first.blur()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Find a tool you have authorised")).to_be_focused()
    page.keyboard.type("upper", delay=20)
    page.get_by_role("button", name=f"Add upper of {server}").press("Enter")
    expect(page.get_by_role("combobox", name="text: kind")).to_be_focused()
    value = page.locator("#edit-0").get_by_role("textbox", name="text: value")
    value.press_sequentially("quietly")
    expect(page.locator("#verdict")).to_have_text("1 problem keeps it from running")
    value.press("Tab")
    expect(page.locator("#verdict")).to_have_text("It can run")
    value.press("Control+Enter")
    expect(page.get_by_role("heading", name="By keyboard")).to_be_visible()
