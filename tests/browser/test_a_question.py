"""A question in the workspace, planned and answered by a scripted model over the real wire protocol."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = {
    "steps": [
        {"id": "s1", "server": "", "tool": "upper", "arguments": {"text": "good news"}},
        {"id": "s2", "server": "", "tool": "slow", "arguments": {"seconds": 1}, "needs": ["s1"]},
    ]
}
ANSWER = (
    "It says **GOOD NEWS**. <img src=x onerror=alert(1)> And a long tail of words, so that it takes a while to write."
)


def script(model: Toy, server: str) -> None:
    steps = [{**step, "server": server} for step in PLAN["steps"]]
    model.script([{"json": {"steps": steps}}, {"text": ANSWER, "chunk_delay_s": 0.2, "chunk_characters": 4}])


def ask(page: Page, words: str) -> None:
    page.goto("/")
    page.get_by_label("Ask, or describe what should happen").fill(words)
    page.keyboard.press("Control+Enter")


def test_a_question_is_planned_run_and_answered_while_one_watches(
    page: Page, model: Toy, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    script(model, connected("Shouting", text_tools))
    ask(page, "Shout good news")
    expect(page.locator(".said")).to_contain_text("Shout good news")
    expect(page.locator('[data-step="s2"]')).to_have_attribute("data-state", "succeeded")
    expect(page.locator(".text.streaming")).to_contain_text("GOOD")
    page.reload()
    expect(page.locator(".answer")).to_contain_text("GOOD")
    expect(page.locator(".answer strong")).to_have_text("GOOD NEWS")
    expect(page.locator(".answer .text")).to_contain_text("takes a while to write.")
    assert page.locator(".answer img").count() == 0
    expect(page.get_by_role("button", name="Execute chain")).to_be_visible()


def test_an_answer_that_is_followed_without_a_websocket_is_the_same(
    page: Page, model: Toy, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    script(model, connected("Quiet", text_tools))
    page.add_init_script("delete window.WebSocket;")
    with page.expect_request("**/chat/*/stream?after=*"):
        ask(page, "Shout it again")
    expect(page.locator(".text.streaming")).to_contain_text("GOOD")
    expect(page.locator(".answer strong")).to_have_text("GOOD NEWS")
    expect(page.locator("[data-run-badge]")).to_have_text("done")


def test_a_request_that_fails_is_never_silent(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/")
    page.route("**/say", lambda route: route.abort())
    ask_box = page.get_by_label("Ask, or describe what should happen")
    ask_box.fill("Anybody there?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#toasts")).to_contain_text("cannot be reached")
    expect(ask_box).to_have_value("Anybody there?")
