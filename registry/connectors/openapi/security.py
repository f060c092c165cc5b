"""Security schemes: what a user is asked for, and where it is sent."""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from registry.connectors.openapi.document import Document, items, mapping
from registry.connectors.openapi.operations import Operation, Scheme
from registry.models import Server

MAX_DESCRIPTION = 500
# Names a credential may be stored under; others get one made of the scheme's.
CREDENTIAL_NAME = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]{0,99}")
NOT_CREDENTIALS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept"}
PLACES = {"header", "query", "cookie"}
ASKS = {
    Server.AuthType.BEARER: "The token.",
    Server.AuthType.OAUTH2: "An access token of this service.",
    Server.AuthType.BASIC: "Name and password as name:password.",
    Server.AuthType.API_KEY: "The key.",
}


def schemes_of(document: Document) -> dict[str, Scheme]:
    """Those we can send, by their names in the document."""
    found: dict[str, Scheme] = {}
    for name, raw in document.schemes.items():
        if scheme := _scheme(name, raw, found.values()):
            found[name] = scheme
    return found


def _scheme(name: str, raw: Mapping[str, Any], others: Iterable[Scheme]) -> Scheme | None:
    kind = _kind(raw)
    is_key = kind == Server.AuthType.API_KEY and raw.get("type") == "apiKey"
    place = str(raw.get("in")) if is_key else "header"
    sent_as = str(raw.get("name") or "") if is_key else "Authorization"
    if kind is None or place not in PLACES or not sent_as:
        return None
    way = (_is_token(kind), sent_as)
    taken = {scheme.credential for scheme in others if (_is_token(scheme.kind), scheme.name) != way}
    description = raw.get("description") if isinstance(raw.get("description"), str) else ""
    return Scheme(kind, place, sent_as, _credential(sent_as, name, taken), (description or "")[:MAX_DESCRIPTION])


def _is_token(kind: str) -> bool | str:
    """Both are written alike, so that one credential serves them."""
    return kind in {Server.AuthType.BEARER, Server.AuthType.OAUTH2} or kind


def _kind(raw: Mapping[str, Any]) -> str | None:
    match raw.get("type"):
        case "apiKey":
            return Server.AuthType.API_KEY.value
        case "oauth2" | "openIdConnect":
            return Server.AuthType.OAUTH2.value
        case "http":
            known = {"basic": Server.AuthType.BASIC, "bearer": Server.AuthType.BEARER}
            return known.get(str(raw.get("scheme", "")).lower(), Server.AuthType.API_KEY).value
    return None


def _credential(sent_as: str, scheme_name: str, taken: set[str]) -> str:
    is_fine = CREDENTIAL_NAME.fullmatch(sent_as) and sent_as.lower() not in NOT_CREDENTIALS
    if is_fine and sent_as not in taken:
        return sent_as
    return re.sub(r"[^A-Za-z0-9_-]+", "_", f"{scheme_name}_key" if not is_fine else scheme_name).lstrip("0123456789")[
        :100
    ]


def security_of(document: Document, operation: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | None:
    said = operation.get("security", document.root.get("security"))
    if not isinstance(said, list):
        return None
    return tuple(tuple(mapping(alternative)) for alternative in items(said))


def used(schemes: Mapping[str, Scheme], operations: Iterable[Operation]) -> list[Scheme]:
    """The schemes the operations ask for, those of most operations first; where none says, all of them."""
    counts: Counter[str] = Counter()
    for operation in operations:
        counts.update(
            list(dict.fromkeys(name for each in operation.security or () for name in each if name in schemes))
        )
    return [schemes[name] for name, _ in counts.most_common()] or list(schemes.values())


def env_schema(schemes: Iterable[Scheme]) -> list[dict[str, Any]]:
    """What the page asks a user for, in the shape of Server.env_schema."""
    entries: dict[str, dict[str, Any]] = {}
    for scheme in schemes:
        where = "" if scheme.place == "header" else f" Sent as {scheme.name} in the {scheme.place}."
        asked = " ".join(part for part in (ASKS[Server.AuthType(scheme.kind)] + where, scheme.description) if part)
        entry = {"name": scheme.credential, "description": asked, "required": False, "secret": True, "in": scheme.place}
        entries.setdefault(scheme.credential, entry)
    return list(entries.values())


def placed(
    operation: Operation, schemes: Mapping[str, Scheme], credentials: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """`{place: {name: value}}` of what this call sends: the first alternative the user has everything for, else the
    one they have most of; and whatever no scheme knows, as headers."""
    sent: dict[str, dict[str, str]] = {place: {} for place in PLACES}
    for scheme in _chosen(operation, schemes, credentials):
        if scheme.credential in credentials:
            sent[scheme.place][scheme.name] = _written(scheme.kind, credentials[scheme.credential])
    own = {scheme.credential for scheme in schemes.values()}
    for name, value in credentials.items():
        if name not in own:
            sent["header"][name] = _written(Server.AuthType.BEARER, value) if name.lower() == "authorization" else value
    return sent


def _chosen(operation: Operation, schemes: Mapping[str, Scheme], credentials: Mapping[str, str]) -> list[Scheme]:
    if operation.security is None:
        return list(schemes.values())
    alternatives = [[schemes[name] for name in names if name in schemes] for names in operation.security]

    def missing_then_given(alternative: list[Scheme]) -> tuple[bool, int, int]:
        given = sum(scheme.credential in credentials for scheme in alternative)
        return not given, len(alternative) - given, -given

    return min(alternatives, key=missing_then_given, default=[])


def _written(kind: str, value: str) -> str:
    value = value.strip()
    if kind in {Server.AuthType.BEARER, Server.AuthType.OAUTH2} and " " not in value:
        return f"Bearer {value}"
    if kind == Server.AuthType.BASIC and " " not in value.partition(":")[0]:
        pair = base64.b64encode(value.encode()).decode() if ":" in value else value
        return f"Basic {pair}"
    return value


def fetch_headers(credentials: Mapping[str, str]) -> dict[str, str]:
    """For a document that is itself behind a door."""
    return {name: _written(Server.AuthType.BEARER, value) if name.lower() == "authorization" else value
            for name, value in credentials.items()}  # fmt: skip
