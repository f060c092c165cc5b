"""The HTTP request that a call of a tool is."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2

from registry import outbound
from registry.connectors.openapi import styles
from registry.connectors.openapi.forms import BadArgument, Content, content_of
from registry.connectors.openapi.operations import Operation, Parameter, Service
from registry.connectors.openapi.security import placed

ACCEPT = "application/json, */*;q=0.5"
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def request_of(
    client: outbound.Client,
    service: Service,
    operation: Operation,
    arguments: Mapping[str, Any],
    credentials: Mapping[str, str],
) -> httpx2.Request:
    """Raises BadArgument."""
    _check(operation, arguments)
    given = [(each, arguments[each.argument]) for each in operation.parameters if _is_given(each, arguments)]
    secrets = placed(operation, service.schemes, credentials)
    content = _content(operation, arguments)
    return client.build_request(
        operation.method,
        _url(operation, given, secrets["query"]),
        headers=_headers(given, secrets, content),
        content=content.body,
        files=content.parts or None,
    )


def _check(operation: Operation, arguments: Mapping[str, Any]) -> None:
    body = operation.body
    known = {each.argument for each in operation.parameters}
    if body is not None:
        known |= {body.whole} if body.whole else body.properties.keys()
    if unknown := [name for name in arguments if name not in known]:
        raise BadArgument(f"There is no argument {unknown[0][:80]!r}.{_takes(known)}")
    needed = [each.argument for each in operation.parameters if each.required]
    if body is not None and body.required and body.whole:
        needed.append(body.whole)
    if missing := [name for name in needed if arguments.get(name) is None]:
        raise BadArgument(f"The argument {missing[0][:80]!r} is missing.")


def _takes(known: set[str]) -> str:
    return f" It takes {', '.join(sorted(known)[:20])}." if known else " It takes none."


def _is_given(parameter: Parameter, arguments: Mapping[str, Any]) -> bool:
    return arguments.get(parameter.argument) is not None


def _in(place: str, given: list[tuple[Parameter, Any]]) -> Iterator[tuple[Parameter, Any]]:
    """The parameters of one place; those that are documents of their own are JSON by now."""
    for parameter, value in given:
        if parameter.place == place:
            yield parameter, styles.plain(value) if parameter.content_type and value is not None else value


def _url(operation: Operation, given: list[tuple[Parameter, Any]], secrets: Mapping[str, str]) -> str:
    path, _, fixed = operation.path.partition("#")[0].partition("?")
    for parameter, value in _in("path", given):
        path = path.replace(f"{{{parameter.name}}}", styles.in_path(parameter, value))
    url = operation.base_url + path
    if any(unquote(part) in {".", ".."} for part in urlsplit(url).path.split("/")):
        raise BadArgument("An argument would lead to another path than the operation's.")
    parts = [fixed] if fixed else []
    parts += [part for parameter, value in _in("query", given) for part in styles.in_query(parameter, value)]
    parts += [f"{styles.encoded(name)}={styles.encoded(value)}" for name, value in secrets.items()]
    return f"{url}?{'&'.join(parts)}" if parts else url


def _headers(
    given: list[tuple[Parameter, Any]], secrets: Mapping[str, Mapping[str, str]], content: Content
) -> list[tuple[bytes, bytes]]:
    headers = {"accept": ACCEPT}
    if content.content_type:
        headers["content-type"] = content.content_type
    headers |= {each.name.lower(): styles.in_header(each, value) for each, value in _in("header", given)}
    headers |= {name.lower(): value for name, value in secrets["header"].items()}
    cookies = [part for each, value in _in("cookie", given) for part in styles.in_cookie(each, value)]
    cookies += [f"{name}={styles.encoded(value)}" for name, value in secrets["cookie"].items()]
    if cookies:
        headers["cookie"] = "; ".join(cookies)
    items = headers.items()
    for name, value in items:
        if CONTROL.search(value):
            raise BadArgument(f"The header {name} would hold a line break or a control character.")
    return [(name.encode("ascii", "replace"), value.strip().encode("utf-8", "replace")) for name, value in items]


def _content(operation: Operation, arguments: Mapping[str, Any]) -> Content:
    body = operation.body
    if body is None:
        return Content()
    if body.whole:
        value = arguments.get(body.whole)
        return content_of(body, value) if value is not None else Content()
    sent = {name: arguments[argument] for argument, name in body.properties.items() if argument in arguments}
    return content_of(body, sent) if sent or body.required else Content()
