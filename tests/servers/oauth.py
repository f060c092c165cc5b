"""A toy MCP server that lets in whoever signed in at its authorisation server, which runs here too, under /as.

It is strict about PKCE, one use of a code and of a rotated refresh token, the redirect address and the resource.
`POST /control` changes how it behaves until the next one (see DEFAULTS), `GET /seen` tells what it was asked.
"""

import base64
import hashlib
import html
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from serving import arguments, serve_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

DEFAULTS: dict[str, Any] = {
    "life_s": 3600,  # of an access token
    "challenge": None,  # WWW-Authenticate instead of the usual one
    "resource": {},  # fields of the protected resource's metadata instead of the usual ones; None: left out
    "server": {},  # the same of the authorisation server's
    "padding": 0,  # bytes more of metadata
    "iss": "",  # in the answer, instead of the issuer; None: left out
    "refusal": None,  # of every token request: [status, {body}]
    "scope": "read",  # what a token must have to be let in
    "redirect_metadata": None,  # where the metadata's address leads to
}
settings = dict(DEFAULTS)
seen: dict[str, Any] = {}
clients: dict[str, dict[str, Any]] = {}
codes: dict[str, dict[str, Any]] = {}
access: dict[str, dict[str, Any]] = {}
refresh: dict[str, dict[str, Any]] = {}
place = {"base": ""}
server = MCPServer("toy-oauth", version="1.0.0", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
def secret() -> str:
    """Tell what only the signed-in may know."""
    return "the cave is open"


def issuer() -> str:
    return f"{place['base']}/as"


def resource() -> str:
    return f"{place['base']}/mcp"


async def control(request: Request) -> Response:
    settings.clear()
    settings.update(DEFAULTS | await request.json())
    for known in (codes, access, refresh, clients):
        known.clear()
    seen.clear()
    seen.update(authorize=[], token=[], register=[], revoke=[], authorization=[], theft=0)
    return JSONResponse({})


async def tweak(request: Request) -> Response:
    """Change how it behaves and forget nothing."""
    settings.update(await request.json())
    return JSONResponse({})


async def told(request: Request) -> Response:
    return JSONResponse(seen | {"access": sorted(access), "refresh": sorted(refresh)})


async def grant(request: Request) -> Response:
    """Tokens for a client, as if somebody had pressed the button."""
    asked = await request.json()
    return granted(asked["client"], asked["scope"], family=secrets.token_hex(4))


async def expire(request: Request) -> Response:
    """Of every access token: the server takes none of those it gave out."""
    access.clear()
    return JSONResponse({})


def with_changes(usual: dict[str, Any], changes: dict[str, Any]) -> Response:
    changed = {name: value for name, value in (usual | changes).items() if value is not None}
    return JSONResponse(changed | ({"padding": "x" * settings["padding"]} if settings["padding"] else {}))


async def resource_metadata(request: Request) -> Response:
    if settings["redirect_metadata"]:
        return RedirectResponse(settings["redirect_metadata"])
    usual = {"resource": resource(), "authorization_servers": [issuer()], "scopes_supported": ["read", "write"]}
    return with_changes(usual, settings["resource"])


async def server_metadata(request: Request) -> Response:
    usual = {
        "issuer": issuer(),
        "authorization_endpoint": f"{issuer()}/authorize",
        "token_endpoint": f"{issuer()}/token",
        "registration_endpoint": f"{issuer()}/register",
        "revocation_endpoint": f"{issuer()}/revoke",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "authorization_response_iss_parameter_supported": True,
    }
    return with_changes(usual, settings["server"])


async def register(request: Request) -> Response:
    asked = await request.json()
    seen["register"].append(asked)
    made = asked | {"client_id": secrets.token_urlsafe(8), "client_secret": f"cs-{secrets.token_urlsafe(16)}"}
    clients[made["client_id"]] = made
    return JSONResponse(made, status_code=201)


PAGE = """<!doctype html><title>Toy sign-in</title><h1>Let {client} use the cave?</h1>
<form method="post" action="{action}"><button>Allow</button></form>"""


async def authorize(request: Request) -> Response:
    """A page with a button; the button's POST sends the person back."""
    asked = dict(request.query_params)
    client = clients.get(asked.get("client_id", ""))
    if client is None or asked.get("redirect_uri") not in client["redirect_uris"]:
        return HTMLResponse("Unknown client or redirect address.", status_code=400)
    if request.method == "GET":
        action = f"authorize?{urlencode(asked)}"
        return HTMLResponse(PAGE.format(client=html.escape(client["client_name"]), action=html.escape(action)))
    seen["authorize"].append(asked)
    answer = {"state": asked["state"]}
    if settings["iss"] is not None:
        answer["iss"] = settings["iss"] or issuer()
    if asked.get("code_challenge_method") != "S256" or asked.get("resource") != resource():
        answer |= {"error": "invalid_request", "error_description": "no PKCE, or another resource"}
    else:
        answer["code"] = secrets.token_urlsafe(16)
        codes[answer["code"]] = asked
    return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", status_code=302)


def client_of(request: Request, form: dict[str, str]) -> str | None:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind != "Basic":
        known = clients.get(form.get("client_id", ""))
        return form["client_id"] if known and known.get("token_endpoint_auth_method") == "none" else None
    name, _, given = base64.b64decode(value).decode().partition(":")
    known = clients.get(unquote(name))
    return unquote(name) if known and known["client_secret"] == unquote(given) else None


async def token(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    seen["token"].append(form)
    if settings["refusal"]:
        return JSONResponse(settings["refusal"][1], status_code=settings["refusal"][0])
    client = client_of(request, form)
    if client is None:
        return refused("invalid_client", 401)
    if form.get("resource") != resource():
        return refused("invalid_target")
    return by_code(client, form) if form["grant_type"] == "authorization_code" else by_refresh_token(client, form)


def by_code(client: str, form: dict[str, str]) -> Response:
    asked = codes.pop(form["code"], None)
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if asked is None or asked["client_id"] != client or asked["code_challenge"] != proof:
        return refused("invalid_grant")
    if asked["redirect_uri"] != form["redirect_uri"]:
        return refused("invalid_grant")
    return granted(client, asked.get("scope", "read"), family=secrets.token_hex(4))


def by_refresh_token(client: str, form: dict[str, str]) -> Response:
    """Each works once; who brings a spent one is taken for a thief, and nobody of the family is let in again."""
    known = refresh.get(form["refresh_token"])
    if known is None or known["client"] != client:
        return refused("invalid_grant")
    if known["spent"]:
        seen["theft"] += 1
        for tokens in (refresh, access):
            for name in [name for name, each in tokens.items() if each["family"] == known["family"]]:
                del tokens[name]
        return refused("invalid_grant")
    known["spent"] = True
    return granted(client, known["scope"], family=known["family"])


def granted(client: str, scope: str, family: str) -> Response:
    made = {"client": client, "scope": scope, "family": family, "spent": False}
    names = f"at-{secrets.token_urlsafe(16)}", f"rt-{secrets.token_urlsafe(16)}"
    access[names[0]] = made | {"until": time.time() + settings["life_s"]}
    refresh[names[1]] = made
    told = {"access_token": names[0], "token_type": "Bearer", "expires_in": settings["life_s"]}
    return JSONResponse(told | {"refresh_token": names[1], "scope": scope})


def refused(code: str, status: int = 400) -> Response:
    return JSONResponse({"error": code, "error_description": f"toy says {code}"}, status_code=status)


async def revoke(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    if client_of(request, form) is None:
        return refused("invalid_client", 401)
    seen["revoke"].append(form["token_type_hint"])
    access.pop(form["token"], None)
    refresh.pop(form["token"], None)
    return Response()


def behind_sign_in(app: ASGIApp) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        sent = dict(scope["headers"]).get(b"authorization", b"").decode()
        seen["authorization"].append(sent)
        known = access.get(sent.removeprefix("Bearer "))
        where = f'resource_metadata="{place["base"]}/.well-known/oauth-protected-resource/mcp"'
        if known is None or known["until"] < time.time():
            usual = f'Bearer error="invalid_token", scope="read", {where}'
            return await refusal(401, settings["challenge"] or usual)(scope, receive, send)
        if settings["scope"] not in known["scope"].split():
            wanted = f'Bearer error="insufficient_scope", scope="{settings["scope"]}", {where}'
            return await refusal(403, wanted)(scope, receive, send)
        return await app(scope, receive, send)

    return guarded


def refusal(status: int, challenge: str) -> Response:
    return JSONResponse({"error": "no"}, status_code=status, headers={"WWW-Authenticate": challenge})


if __name__ == "__main__":
    options = arguments().parse_args()
    inner = server.streamable_http_app(host=options.host)
    routes = [
        Route("/control", control, methods=["POST"]),
        Route("/tweak", tweak, methods=["POST"]),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
        Route("/seen", told),
        Route("/grant", grant, methods=["POST"]),
        Route("/expire", expire, methods=["POST"]),
        Route("/.well-known/oauth-protected-resource/mcp", resource_metadata),
        Route("/.well-known/oauth-authorization-server/as", server_metadata),
        Route("/as/register", register, methods=["POST"]),
        Route("/as/authorize", authorize, methods=["GET", "POST"]),
        Route("/as/token", token, methods=["POST"]),
        Route("/as/revoke", revoke, methods=["POST"]),
        Mount("/", behind_sign_in(inner)),
    ]
    app = Starlette(routes=routes, lifespan=lambda _: inner.router.lifespan_context(inner))
    serve_app(app, options, "/mcp", on_address=lambda base: place.update(base=base))
