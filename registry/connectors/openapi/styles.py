"""Parameters as they stand in a path, a query, a header or a cookie: the styles of OpenAPI, percent-encoded.

A value is any JSON; what lies deeper than a style can say is written as JSON.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from registry.connectors.openapi.operations import Parameter

RESERVED = ":/?#[]@!$&'()*+,;="
DELIMITERS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C", "tabDelimited": "%09"}
Encode = Callable[[str], str]


def plain(value: Any) -> str:
    """A value as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encoded(text: str) -> str:
    return quote(text, safe="")


def in_path(parameter: Parameter, value: Any) -> str:
    match parameter.style:
        case "label":
            return "." + _joined(value, "." if parameter.explode else ",", parameter.explode, encoded)
        case "matrix":
            return _matrix(parameter, value)
    return _joined(value, ",", parameter.explode, encoded)


def _matrix(parameter: Parameter, value: Any) -> str:
    name = encoded(parameter.name)
    if parameter.explode and isinstance(value, dict):
        return "".join(f";{encoded(key)}={encoded(plain(each))}" for key, each in value.items())
    if parameter.explode and isinstance(value, list):
        return "".join(f";{name}={encoded(plain(each))}" for each in value)
    text = _joined(value, ",", False, encoded)
    return f";{name}={text}" if text else f";{name}"


def _joined(value: Any, delimiter: str, explode: bool, encode: Encode) -> str:
    """`a,b`, `k,v,k,v` or, exploded, `k=v,k=v`."""
    if isinstance(value, list):
        return delimiter.join(encode(plain(each)) for each in value)
    if isinstance(value, dict):
        pair = "=" if explode else delimiter
        return delimiter.join(f"{encode(key)}{pair}{encode(plain(each))}" for key, each in value.items())
    return encode(plain(value))


def in_query(parameter: Parameter, value: Any) -> Iterator[str]:
    """The `name=value` parts."""
    encode: Encode = _reserved if parameter.allow_reserved else encoded
    yield from pairs(parameter.name, value, parameter.style, parameter.explode, encode)


def _reserved(text: str) -> str:
    return quote(text, safe=RESERVED.replace("#", "").replace("&", "").replace("+", ""))


def pairs(name: str, value: Any, style: str, explode: bool, encode: Encode = encoded) -> Iterator[str]:
    """The `name=value` parts of a query or a form."""
    if style == "deepObject" and isinstance(value, dict):
        yield from _deep(name, value, encode)
    elif explode and isinstance(value, dict):
        yield from (f"{encoded(key)}={encode(plain(each))}" for key, each in value.items())
    elif explode and isinstance(value, list):
        yield from (f"{encoded(name)}={encode(plain(each))}" for each in value)
    elif value not in ([], {}):
        yield f"{encoded(name)}={_joined(value, DELIMITERS.get(style, ','), False, encode)}"


def _deep(name: str, value: Mapping[str, Any], encode: Encode) -> Iterator[str]:
    for key, each in value.items():
        inner = f"{name}[{key}]"
        if isinstance(each, dict):
            yield from _deep(inner, each, encode)
        else:
            listed = each if isinstance(each, list) else [each]
            yield from (f"{encoded(inner)}={encode(plain(one))}" for one in listed)


def in_header(parameter: Parameter, value: Any) -> str:
    return _joined(value, ",", parameter.explode, lambda text: text)


def in_cookie(parameter: Parameter, value: Any) -> Iterator[str]:
    """The `name=value` parts; exploded ones become cookies of their own."""
    yield from pairs(parameter.name, value, "form", parameter.explode)
