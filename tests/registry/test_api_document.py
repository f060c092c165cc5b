"""The API's document knows every call of the registry."""

import pytest

CALLS = {
    "/registry": {"get", "post"},
    "/registry/{server}": {"get", "patch", "delete"},
    "/registry/{server}/tools": {"get"},
    "/registry/{server}/tools/{tool}/call": {"post"},
    "/v0.1/servers": {"get"},
    "/registry/{server}/connection": {"get", "put", "delete"},
    "/registry/{server}/healthcheck": {"post"},
}


@pytest.mark.django_db
def test_every_call_of_the_registry_is_in_the_document(client):
    paths = client.get("/api/schema", headers={"Accept": "application/json"}).json()["paths"]
    for path, methods in CALLS.items():
        assert methods <= set(paths[path]), path
