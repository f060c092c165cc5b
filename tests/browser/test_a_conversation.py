"""A conversation as one leads it: ask, see the plan, change it, approve, reload, keep it, stop, ask otherwise."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORDS = "".join(f"w{number:03d} " for number in range(300))


def plan(server: str, tool: str, **arguments: object) -> dict[str, object]:
    return {"json": {"say": "", "steps": [{"id": "s1", "server": server, "tool": tool, "arguments": arguments}]}}


def ask(page: Page, words: str) -> None:
    page.get_by_label("Ask, or describe what should happen").fill(words)
    page.keyboard.press("Control+Enter")


@pytest.mark.alone
def test_a_plan_is_seen_changed_approved_watched_over_a_reload_and_kept(
    page: Page, model: Toy, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    fast = {"text": f"{WORDS}\n\n```\ncode\n```", "chunk_delay_s": 0.01, "chunk_characters": 5}
    model.script([plan(connected("Preview", text_tools), "upper", text="good news"), fast])
    page.goto("/")
    page.get_by_label("Preview plans").check()
    ask(page, "Shout good news")
    expect(page.locator('[data-step="s1"]')).to_have_attribute("data-state", "pending")
    page.get_by_text("Change the arguments").click()
    page.get_by_label("Arguments of s1, as JSON").fill('{"text": "better news"}')
    page.get_by_role("button", name="Approve and run").click()
    expect(page.locator('[data-step="s1"] .output')).to_have_text("BETTER NEWS")
    expect(page.locator(".text.streaming")).to_contain_text("w020")
    page.reload()
    expect(page.locator(".text.streaming")).to_contain_text("w120")
    seen = page.locator(".text.streaming").text_content() or ""
    assert WORDS.startswith(seen.strip()), seen
    expect(page.locator(".answer .text p").first).to_have_text(WORDS.strip())
    expect(page.get_by_role("button", name="Copy this code")).to_be_visible()
    page.get_by_role("link", name="Save as template").click()
    page.get_by_label("Name", exact=True).fill("Shout the news")
    page.get_by_role("checkbox", name="text").check()
    page.get_by_role("button", name="Save template").click()
    expect(page.get_by_role("heading", name="Shout the news")).to_be_visible()
    expect(page.get_by_label("text")).to_have_value("better news")


def test_a_question_is_stopped_and_asked_otherwise_and_both_stay(
    page: Page, model: Toy, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    slow = {"text": WORDS, "chunk_delay_s": 0.1, "chunk_characters": 5}
    model.script(
        [plan(connected("Stopping", text_tools), "upper", text="a"), slow, {"json": {"steps": []}}, {"text": "Hi."}]
    )
    page.goto("/")
    ask(page, "Capitals of a")
    expect(page.locator(".text.streaming")).to_contain_text("w003")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("[data-run-badge]")).to_have_text("stopped")
    expect(page.locator(".answer .text").first).to_contain_text("w003")
    page.get_by_label("Ask, or describe what should happen").press("ArrowUp")
    box = page.get_by_label("Another question")
    expect(box).to_be_focused()
    box.fill("Just say hi")
    box.press("Control+Enter")
    expect(page.locator(".answer .text")).to_have_text("Hi.")
    expect(page.locator(".branches")).to_contain_text("2 / 2")
    page.get_by_role("link", name="Version before").click()
    expect(page.locator(".said")).to_contain_text("Capitals of a")
    expect(page.locator(".branches")).to_contain_text("1 / 2")


def test_a_slash_offers_servers_and_works_by_keyboard(
    page: Page, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    server = connected("Slashed", text_tools)
    page.goto("/")
    box = page.get_by_label("Ask, or describe what should happen")
    box.press_sequentially("/slash")
    expect(page.get_by_role("option", name=server)).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(box).to_have_value(f"With {server}: ")
    expect(page.get_by_role("listbox")).to_be_hidden()
