"""Passkeys in a real browser, with an authenticator that Chromium plays."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.thorough]
PASSWORD = "correct horse battery"
MAKE_USER = f"from django.contrib.auth.models import User; User.objects.create_user('holder', password={PASSWORD!r})"
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def visitor(browser: Browser, site: Stack) -> Iterator[Page]:
    """Signed in nowhere, at the name of this machine: passkeys know no numbers. Nothing may fail in silence."""
    context = browser.new_context(base_url=site.base.replace("127.0.0.1", "localhost"))
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert problems == []


def with_device(page: Page) -> None:
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})


def sign_in(page: Page) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill("holder")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Sign out").last.click()


def test_a_passkey_is_added_and_signs_in_alone_and_as_second_factor(visitor: Page, site: Stack) -> None:
    site.manage("shell", "-v", "0", "-c", MAKE_USER)
    with_device(visitor)
    sign_in(visitor)
    visitor.goto("/account")
    visitor.get_by_role("link", name="Set up").click()
    visitor.get_by_role("link", name="Add one").click()
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Go on").click()
    visitor.locator("#id_name").fill("This laptop")
    visitor.get_by_role("button", name="Add it").click()
    expect(visitor.get_by_role("heading", name="Recovery codes")).to_be_visible()
    sign_out(visitor)
    visitor.get_by_role("button", name="Sign in with a passkey").click()
    expect(visitor.get_by_role("heading", name="What should happen?")).to_be_visible()
    sign_out(visitor)
    sign_in(visitor)
    expect(visitor.get_by_role("heading", name="One more step")).to_be_visible()
    visitor.get_by_role("button", name="Use a passkey or security key").click()
    expect(visitor.get_by_role("heading", name="What should happen?")).to_be_visible()
    visitor.goto("/accounts/2fa/webauthn/")
    expect(visitor.get_by_text("This laptop")).to_be_visible()


def test_where_passkeys_cannot_work_the_page_says_why_and_what_does(visitor: Page, site: Stack) -> None:
    with_device(visitor)
    visitor.goto(f"{site.base}/accounts/login/")
    expect(visitor.get_by_role("alert")).to_contain_text("Passkeys need a name")
    visitor.get_by_role("link", name="http://localhost").click()
    expect(visitor.get_by_role("button", name="Sign in with a passkey")).to_be_enabled()
    visitor.get_by_role("button", name="Sign in with a passkey").click()
    expect(visitor.get_by_role("alert")).to_contain_text("Nothing was done")
