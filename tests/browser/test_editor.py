"""A plan made by clicking, and run."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack
from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_plan_of_two_steps_is_built_by_clicking_and_runs(
    page: Page, site: Stack, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    server = connected("Letters", text_tools)
    page.goto("/templates")
    page.get_by_role("link", name="New template").click()
    page.get_by_label("Name", exact=True).first.fill("Shout and count")
    add(page, "upper", server)
    first = page.locator("#edit-0")
    first.get_by_role("textbox", name="text: value").fill("two words")
    add(page, "count_words", server)
    second = page.locator("#edit-1")
    second.get_by_role("combobox", name="text: kind").select_option("step s1#/text")
    expect(page.locator('#drawn [data-step="s2"]')).to_have_attribute("data-needs", "s1")
    assert '"$ref": "s1#/text"' in page.locator("#plan-text").input_value()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="Shout and count")).to_be_visible()
    page.get_by_role("button", name="Execute chain").click()
    expect(page.locator('[data-step="s1"] .output')).to_have_text("TWO WORDS")
    expect(page.locator('[data-step="s2"]')).to_have_attribute("data-state", "succeeded")


def add(page: Page, tool: str, server: str) -> None:
    page.get_by_role("searchbox", name="Find a tool you have authorised").press_sequentially(tool, delay=20)
    page.get_by_role("button", name=f"Add {tool} of {server}").click()
    expect(page.get_by_role("heading", name=f"{tool} {server}")).to_be_visible()
