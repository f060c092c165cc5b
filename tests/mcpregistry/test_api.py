"""One error shape, strict JSON and optional slashes, whatever the address."""

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from registry.models import Server

pytestmark = pytest.mark.django_db


def error_of(response) -> dict:
    assert response["Content-Type"].startswith("application/json"), response.content[:200]
    return response.json()["error"]


def test_a_call_without_a_token_is_told_so_in_json(client: Client) -> None:
    response = client.get("/registry")
    assert response.status_code == 401
    assert error_of(response)["code"] == "not_authenticated"


def test_a_wrong_token_is_refused(client: Client) -> None:
    response = client.get("/registry", headers={"Authorization": "Token nonsense"})
    assert response.status_code == 401


def test_paths_work_with_and_without_a_trailing_slash(api: APIClient) -> None:
    assert api.get("/registry").json() == api.get("/registry/").json()


def test_an_unknown_address_under_the_api_is_a_json_404(api: APIClient) -> None:
    response = api.get("/registry/00000000-0000-0000-0000-000000000000/nowhere")
    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"


def test_a_program_that_goes_astray_gets_json_and_a_person_gets_a_page(api: APIClient, client: Client) -> None:
    assert error_of(api.get("/nowhere"))["code"] == "not_found"
    assert error_of(client.get("/nowhere", headers={"Accept": "application/json"}))["code"] == "not_found"
    assert client.get("/nowhere", headers={"Accept": "text/html,*/*"})["Content-Type"].startswith("text/html")


def test_a_wrong_method_is_a_json_405(api: APIClient) -> None:
    response = api.delete("/registry")
    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"name": "a\\u0000b", "url": "http://example.com"}',
        '{"name": "\\ud800", "url": "http://example.com"}',
        '{"name": NaN}',
        "[" * 3000 + "]" * 3000,
        '{"a":' * 150 + "1" + "}" * 150,
    ],
    ids=["broken", "nul", "surrogate", "nan", "very deep", "deep"],
)
def test_json_that_cannot_be_stored_is_a_400(api: APIClient, body: str) -> None:
    response = api.post("/registry", body, content_type="application/json")
    assert response.status_code == 400
    assert error_of(response)["message"]


def test_a_body_that_is_too_large_is_a_json_413(api: APIClient) -> None:
    response = api.post("/registry", '{"name": "' + "x" * 3_000_000 + '"}', content_type="application/json")
    assert response.status_code == 413
    assert error_of(response)["code"] == "too_large"


def test_a_session_without_a_csrf_token_may_not_write(alice) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    response = browser.post("/registry", {"name": "x", "url": "http://example.com"}, content_type="application/json")
    assert response.status_code == 403
    assert error_of(response)["code"] == "permission_denied"


def test_the_api_describes_itself(client: Client) -> None:
    response = client.get("/api/schema", headers={"Accept": "application/json"})
    document = response.json()
    assert document["openapi"].startswith("3.1")
    assert {"/registry", "/chain/execute", "/chat"} <= set(document["paths"])


class TestPages:
    """Of a list, by a cursor."""

    @pytest.mark.parametrize("sort", ["health", "tools", "newest", "name", "match&q=same"])
    def test_lead_through_2500_equal_rows(self, api: APIClient, sort: str) -> None:
        at = timezone.now()
        Server.objects.bulk_create(
            Server(slug=f"s{n}", name=f"same {n % 2}", source="test", visibility="public", created_at=at)
            for n in range(2500)
        )
        url, seen = f"/registry?sort={sort}&limit=200", []
        while url:
            page = api.get(url).json()
            assert page["count"] == 2500
            seen += [server["slug"] for server in page["results"]]
            url = page["next"]
        assert len(seen) == len(set(seen)) == 2500

    def test_go_on_where_they_were_while_rows_come_and_go(self, api: APIClient) -> None:
        for n in range(6):
            Server.objects.create(slug=f"s{n}", name=f"{n}", source="test", visibility="public")
        first = api.get("/registry?sort=name&limit=3").json()
        Server.objects.filter(name__in=["0", "2"]).delete()
        Server.objects.create(slug="new", name="1 more", source="test", visibility="public")
        assert [server["name"] for server in api.get(first["next"]).json()["results"]] == ["3", "4", "5"]

    @pytest.mark.parametrize(
        "cursor", ["nonsense", "cD0x", "%00", "bnVsbA", "W10", "WyItY3JlYXRlZF9hdCwtaWQiLCJ4IiwieSJd", "é", "x" * 5000]
    )
    def test_that_are_none_are_a_400_which_says_so(self, api: APIClient, cursor: str) -> None:
        response = api.get(f"/registry?cursor={cursor}")
        assert response.status_code == 400
        assert error_of(response)["fields"].keys() == {"cursor"}

    def test_of_another_order_are_refused(self, api: APIClient) -> None:
        for n in range(3):
            Server.objects.create(slug=f"s{n}", name=f"{n}", source="test", visibility="public")
        url = api.get("/registry?sort=name&limit=1").json()["next"]
        assert api.get(url.replace("sort=name", "sort=tools")).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/teams", {"name": 0}, "name"),
        ("/registry", {"name": 7, "url": "https://a.example/mcp"}, "name"),
        ("/registry", {"name": "a", "url": "https://a.example/mcp", "tags": [1]}, "tags"),
        ("/chat", {"user_msg": 5}, "user_msg"),
        ("/chat", {"user_msg": "a", "preview": "yes"}, "preview"),
        ("/chain/templates", {"name": True, "plan": {}}, "name"),
    ],
)
def test_what_could_be_written_as_a_text_or_a_flag_is_none(api, path, body, field):
    told = api.post(path, body)
    assert told.status_code == 400
    assert field in told.json()["error"]["fields"]
