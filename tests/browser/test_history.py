"""A run that is over, played again."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack
from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def states(page: Page) -> list[str | None]:
    return [card.get_attribute("data-state") for card in page.locator("[data-step]").all()]


# Every state a card is in, however short: looking from outside misses some.
WATCH = """() => {
  window.seen = [];
  const look = () => document.querySelectorAll("[data-step]").forEach((card) => {
    const state = `${card.dataset.step} ${card.dataset.state}`;
    if (!window.seen.includes(state)) window.seen.push(state);
  });
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def ended_run(page: Page, site: Stack, server: str) -> None:
    steps = [
        {"id": "s1", "server": server, "tool": "upper", "arguments": {"text": "once"}},
        {"id": "s2", "server": server, "tool": "upper", "arguments": {"text": {"$format": "{s1#/text} more"}}},
    ]
    status, run = site.call("POST", "/chain/execute", {"plan": {"version": 1, "steps": steps}}, site.token)
    assert status == 202, run
    page.goto(f"/runs/{run['run_id']}")
    expect(page.locator("[data-live]")).to_have_attribute("data-finished", "true")


def test_a_run_that_is_over_happens_again_before_ones_eyes(
    page: Page, site: Stack, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    ended_run(page, site, connected("Again", text_tools))
    page.evaluate(WATCH)
    page.get_by_role("button", name="Replay").click()
    expect(page.locator('[data-step="s2"]')).to_have_attribute("data-state", "pending")
    expect(page.locator('[data-step="s2"] .output')).to_have_text("ONCE MORE")
    expect(page.locator("[data-run-badge]")).to_have_text("done")
    assert {f"{step} {state}" for step in ("s1", "s2") for state in ("pending", "running", "succeeded")} <= set(
        page.evaluate("window.seen")
    )
    page.get_by_role("slider", name="Where in the run").fill("0")
    assert states(page) == ["pending", "pending"]
    page.get_by_role("button", name="Close").click()
    assert states(page) == ["succeeded", "succeeded"]


def test_who_wants_no_motion_goes_through_a_run_step_by_step(
    page: Page, site: Stack, text_tools: Toy, connected: Callable[[str, Toy], str]
) -> None:
    page.emulate_media(reduced_motion="reduce")
    ended_run(page, site, connected("Calmly", text_tools))
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("button", name="Play", exact=False).first).to_be_visible()
    for expected in (["running", "pending"], ["succeeded", "pending"], ["succeeded", "running"]):
        page.get_by_role("button", name="Next").click()
        assert states(page) == expected
