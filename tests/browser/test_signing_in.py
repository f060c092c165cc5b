"""Signing in to a server: away to its authorisation server and back, with a real browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack
from tests.toys import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.thorough]


def test_a_server_that_asks_for_a_sign_in_gets_one(page: Page, site: Stack, toy_oauth: Toy) -> None:
    status, server = site.call("POST", "/registry", {"name": "The cave", "url": toy_oauth.url}, site.token)
    assert status == 201, server
    page.goto(f"/servers/{server['slug']}")
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#found")).to_contain_text("Sign in at 127.0.0.1")
    page.locator("#sign-in").get_by_role("button", name="Sign in at 127.0.0.1").click()
    expect(page.get_by_role("heading", name="Let MCP Registry use the cave?")).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    expect(page.locator("#sign-in")).to_contain_text("You are signed in at 127.0.0.1")
    expect(page.locator("#found")).to_contain_text("Works")
    expect(page.locator("#tools")).to_contain_text("secret")
    page.locator("#authorise").get_by_role("button", name="Save").click()
    expect(page.get_by_text("✓ authorised")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#sign-in").get_by_role("button", name="Sign out").click()
    expect(page.locator("#sign-in")).to_contain_text("lets in whoever signs in at")
