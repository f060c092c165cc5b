"""A real browser before the real product: `manage.py up`, a scripted language model, toy MCP servers.

Playwright keeps an event loop in the test's thread while it runs, in which Django refuses to touch its database. So
the browser lives as long as this folder's tests and no longer.
"""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000
PLANTED_KEY = "sk-planted-provider-5d1f77"  # of the language model; looked for in everything the product says
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = CHROMIUM if shutil.which(CHROMIUM) else None  # else the one Playwright brings, where it is installed
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def model() -> Iterator[Toy]:
    server = running_toy("llm")
    yield server
    server.stop()


@pytest.fixture(scope="package")
def site(model: Toy) -> Iterator[Stack]:
    """The product with a language model, and searching by words only: loading what embeds takes longest of all."""
    told = {"LLM_PROVIDER": "openai", "OPENAI_API_KEY": PLANTED_KEY, "OPENAI_BASE_URL": model.url}
    with running_stack(**told, LOG_LEVEL="INFO", EMBEDDING_MODEL="off") as running:
        yield running


@pytest.fixture(scope="package")
def session(site: Stack, browser: Browser) -> Any:
    """Cookies of somebody who signed in by the one-time link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.sign_in_link)
    expect(page.get_by_role("heading", name="What should happen?")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Browser, session: Any, site: Stack) -> Iterator[BrowserContext]:
    context = browser.new_context(storage_state=session, base_url=site.base)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may fail in silence."""
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    assert problems == []


@pytest.fixture
def watched(page: Page) -> Callable[[], list[str]]:
    """Every state every card has shown, in order, over reloads too: `["now:running", "now:succeeded", …]`."""
    page.add_init_script(
        """
        const seen = () => JSON.parse(sessionStorage.getItem("seen") ?? "[]");
        const look = () => {
          for (const card of document.querySelectorAll("[data-step]")) {
            const state = `${card.dataset.step}:${card.dataset.state}`;
            const states = seen();
            if (!states.includes(state)) sessionStorage.setItem("seen", JSON.stringify([...states, state]));
          }
        };
        new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
        """
    )
    return lambda: page.evaluate("JSON.parse(sessionStorage.getItem('seen') ?? '[]')")


@pytest.fixture
def text_tools() -> Iterator[Toy]:
    """At an address of its own for each test, so that nobody has added it yet."""
    server = running_toy("text")
    yield server
    server.stop()


@pytest.fixture
def connected(site: Stack) -> Iterator[Callable[[str, Toy], str]]:
    """Add a toy server by the API, test and authorise it; its slug. It goes with the test: the next toy may get its
    port, and a search would find its tools again."""
    added = []

    def connect(name: str, toy: Toy) -> str:
        status, server = site.call("POST", "/registry", {"name": name, "url": toy.url}, site.token)
        assert status == 201, server
        added.append(server["id"])
        site.call("POST", f"/registry/{server['id']}/healthcheck", {}, site.token)
        wanted = {"tools": "all", "approval": {"default": "auto"}}
        status, answer = site.call("PUT", f"/registry/{server['id']}/connection", wanted, site.token)
        assert status == 200, answer
        return str(server["slug"])

    yield connect
    for server_id in added:
        status, answer = site.call("DELETE", f"/registry/{server_id}", None, site.token)
        assert status in (204, 404), answer  # or the test deleted it
