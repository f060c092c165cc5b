"""What a person does when they sign in to the toy of tests/servers/oauth.py."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2


def allow(authorization_url: str) -> dict[str, str]:
    """Press the button there; what their browser is sent back with."""
    answer = httpx2.post(authorization_url, follow_redirects=False, trust_env=False)
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def started(api: Any, server: Any) -> dict[str, Any]:
    response = api.post(f"/registry/{server.slug}/oauth/start")
    assert response.status_code == 200, response.content
    return response.json()


def finished(api: Any, server: Any, answer: dict[str, str]) -> Any:
    return api.post(f"/registry/{server.slug}/oauth/finish", answer)


def sign_in(api: Any, server: Any) -> dict[str, Any]:
    """All of it, over the API; the connection that came of it."""
    response = finished(api, server, allow(started(api, server)["authorization_url"]))
    assert response.status_code == 200, response.content
    return response.json()


def register_client(toy: Any) -> dict[str, Any]:
    return toy.post("/as/register", {"redirect_uris": ["http://testserver/cb"], "client_name": "Us"})


def tokens_given(toy: Any, client: dict[str, Any]) -> dict[str, str]:
    """As if somebody had signed in as this client before."""
    told = toy.post("/grant", {"client": client["client_id"], "scope": "read"})
    return {"access": told["access_token"], "refresh": told["refresh_token"]}
