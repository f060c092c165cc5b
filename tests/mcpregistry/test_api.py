"""One error shape, strict JSON and optional slashes, whatever the address."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

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
