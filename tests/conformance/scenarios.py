"""What the product does in each scenario. Played is only what people and the database do: somebody presses the button
of the authorisation server, and clients and tokens are kept in memory.
"""

import asyncio
import io
import json
import sys
import traceback
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

from registry.connectors import ConnectorError, Session, ToolDefinition
from registry.connectors.base import Target
from registry.connectors.mcp import connect
from registry.oauth import tokens as oauth
from registry.oauth.authorization import check_answer, sent_to
from registry.oauth.clients import BASIC, NONE, ClientIdentity, register
from registry.oauth.discovery import Challenge, Protection, discover, look
from registry.oauth.errors import SignInError
from registry.oauth.http import opened

ATTEMPTS = 3  # a person does not sign in for ever
CALL_S = 20.0
REDIRECT_URI = "http://localhost:3000/callback"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
VALUES = {"integer": 5, "number": 5.5, "string": "text", "boolean": True, "array": [], "object": {}}


@dataclass
class Kept:
    """What the database keeps. Clients by their issuer: another one gets none of them."""

    given: ClientIdentity | None
    clients: dict[str, ClientIdentity] = field(default_factory=dict)
    protection: Protection | None = None
    tokens: oauth.Tokens | None = None
    scopes: tuple[str, ...] = ()

    async def token(self, *, refused: str = "") -> str:
        if self.tokens is None or self.protection is None:
            return ""
        if refused == self.tokens.access and self.tokens.refresh:
            await self.renew(self.protection, self.tokens.refresh)
        return self.tokens.access

    async def renew(self, protection: Protection, refresh_token: str) -> None:
        client, endpoint = self.clients[protection.issuer], str(protection.metadata.token_endpoint)
        try:
            async with opened() as http:
                self.tokens = await oauth.refresh(
                    http, endpoint, client, refresh_token=refresh_token, resource=protection.resource
                )
        except SignInError as error:
            raise ConnectorError("needs_auth", error.message) from error

    async def wants_more(self, challenge: str) -> None:
        self.scopes = tuple(dict.fromkeys([*self.scopes, *Challenge.of(challenge).scopes]))


async def sign_in(url: str, kept: Kept, challenge: str) -> None:
    """As registry/sign_ins.py does it, in one go. Raises SignInError."""
    async with opened() as http:
        protection = await (discover(http, url, Challenge.of(challenge)) if challenge else look(url))
        client = await client_for(http, protection, kept)
        scopes = tuple(dict.fromkeys([*kept.scopes, *protection.scopes]))
        errand = sent_to(protection, client, REDIRECT_URI, scopes)
        answer = press_the_button(errand.url)
        if answer.get("state") != errand.state:
            raise SignInError("expired", "Another state came back.")
        check_answer(protection.metadata, iss=answer.get("iss"), error=answer.get("error", ""))
        kept.tokens = await oauth.exchange(
            http,
            str(protection.metadata.token_endpoint),
            client,
            code=answer["code"],
            verifier=errand.verifier,
            redirect_uri=REDIRECT_URI,
            resource=protection.resource,
        )
    kept.protection, kept.scopes = protection, tuple(kept.tokens.scopes) or scopes


async def client_for(http: Any, protection: Protection, kept: Kept) -> ClientIdentity:
    known = kept.given or kept.clients.get(protection.issuer)
    if known is None and protection.metadata.client_id_metadata_document_supported:
        known = ClientIdentity(DOCUMENT)
    client = known or await register(http, protection.metadata, REDIRECT_URI, protection.scopes)
    kept.clients[protection.issuer] = client
    return client


def press_the_button(url: str) -> dict[str, str]:
    answer = httpx2.get(url, follow_redirects=False, trust_env=False)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


async def defaults(question: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Somebody leaves the form as it is."""
    fields = schema.get("properties", {})
    return {name: each["default"] for name, each in fields.items() if "default" in each} or {
        name: VALUES.get(each.get("type", "string"), "text") for name, each in fields.items()
    }


async def use(session: Session, context: dict[str, Any]) -> None:
    """Call what the scenario names, else every tool once."""
    tools = (await session.introspect()).tools
    calls = context.get("toolCalls") or [{"name": each.name, "arguments": arguments_for(each, tools)} for each in tools]
    await asyncio.gather(*(session.call(each["name"], each["arguments"], timeout_s=CALL_S) for each in calls))


def arguments_for(tool: ToolDefinition, tools: list[ToolDefinition]) -> dict[str, Any]:
    """Something of each parameter's type; one who asks for a schema wants to see how another tool's arrived."""
    fields = tool.input_schema.get("properties", {})
    values = {name: VALUES.get(each.get("type"), "text") for name, each in fields.items()}
    others = [each.input_schema for each in tools if each is not tool]
    return values | ({"schema": others[0]} if "schema" in fields and others else {})


async def run(url: str, scenario: str, context: dict[str, Any]) -> None:
    """Raises ConnectorError or SignInError where a user would be told so."""
    kept = Kept(given_client(context))
    for _ in range(ATTEMPTS):
        bearer = kept if kept.tokens else None
        answers = None if scenario.startswith("auth/") else defaults
        try:
            async with connect(Target("streamable_http", url=url, bearer=bearer, answers=answers)) as session:
                return await use(session, context)
        except ConnectorError as error:
            if error.code != "needs_auth" or not scenario.startswith("auth/"):
                raise
            await sign_in(url, kept, error.challenge)
    raise ConnectorError("needs_auth", "The server lets in nobody.")


def given_client(context: dict[str, Any]) -> ClientIdentity | None:
    if "client_id" not in context:
        return None
    secret = context.get("client_secret", "")
    return ClientIdentity(context["client_id"], secret, BASIC if secret else NONE)


def perform(told: dict[str, str]) -> int:
    """The exit status the suite sees."""
    context = json.loads(told["MCP_CONFORMANCE_CONTEXT"] or "{}")
    try:
        asyncio.run(run(told["url"], told["MCP_CONFORMANCE_SCENARIO"], context))
    except (ConnectorError, SignInError) as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 1
    return 0


def performed(told: dict[str, str]) -> dict[str, Any]:
    """With all that was said meanwhile."""
    said = io.StringIO()
    with redirect_stderr(said):
        try:
            status = perform(told)
        except BaseException:  # noqa: BLE001 - the top of a process: the suite shows what it was
            traceback.print_exc()
            status = 2
    return {"status": status, "said": said.getvalue()}
