"""Every page works under the Content-Security-Policy: the fixture `page` fails on whatever the console reports."""

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.thorough]
OURS = [
    "/",
    "/servers",
    "/servers/new",
    "/servers/new?kind=command",
    "/servers/new?kind=openapi",
    "/sources",
    "/templates",
    "/templates/new",
    "/templates/import",
    "/runs",
    "/results",
    "/account",
    "/accounts/password/change/",
]
OF_OTHERS = [
    "/admin/",
    "/admin/auth/user/1/change/",
    "/admin/auth/user/1/password/",
    "/admin/chains/run/",
    "/admin/mcpregistry/auditentry/",
    "/admin/django-rq/",
    "/admin/django-rq/queues/0/",
    "/admin/django-rq/workers/0/",
    "/admin/django-rq/queues/0/finished/",
    "/admin/django-rq/queues/0/failed/",
]


def test_no_page_of_ours_needs_what_the_policy_forbids(page: Page) -> None:
    for path in OURS:
        response = page.goto(path)
        assert response and response.status == 200, path
        expect(page.locator("main")).to_be_visible()


def test_the_administration_and_the_queues_work_under_it(page: Page) -> None:
    for path in OF_OTHERS:
        response = page.goto(path)
        assert response and response.status == 200, path
    page.goto("/admin/registry/server/")
    page.get_by_role("link", name="Time", exact=False).first.click()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_visible()


def test_the_documentation_of_the_api_opens_under_it(page: Page, site: Stack) -> None:
    page.goto("/api/docs")
    call = page.locator(".opblock").filter(has_text="/chain/execute").first
    expect(call).to_be_visible()
    call.locator("button.opblock-summary-control").click()
    expect(call.get_by_text("Run a saved template or a plan.").first).to_be_visible()
