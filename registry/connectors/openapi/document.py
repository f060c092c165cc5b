"""What a parsed OpenAPI document says, read in one way whatever its version."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from registry.connectors.openapi import swagger
from registry.connectors.openapi.parsing import not_openapi, strings

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
MAX_HOPS = 20  # from a reference to what it means
MAX_QUOTED = 120


class Unusable(Exception):
    """Something of the document that cannot be used. The message is the end of a sentence: “GET /pets has …”."""


class BadReference(Unusable):
    """A `$ref` that leads nowhere, or out of the document."""


@dataclass(frozen=True, slots=True)
class Declared:
    """An operation as the document declares it. `parameters` are resolved, the path's own inherited."""

    method: str
    path: str
    operation: dict[str, Any]
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None
    servers: Any


class Document:
    def __init__(self, root: dict[str, Any]) -> None:
        """Raises ConnectorError when it is no OpenAPI document."""
        self.root = root
        self.version = _version(root)
        self.is_swagger = "swagger" in root
        self.info = mapping(root.get("info"))
        components = mapping(root.get("components"))
        schemes = root.get("securityDefinitions") if self.is_swagger else components.get("securitySchemes")
        self.models = mapping(root.get("definitions") if self.is_swagger else components.get("schemas"))
        self.schemes = {name: self._scheme(raw) for name, raw in mapping(schemes).items()}

    def target(self, reference: str) -> str:
        """The pointer at the end of a chain of references. Raises BadReference."""
        pointer, hops = reference, 0
        while True:
            found = self._at(pointer)
            following = found.get("$ref") if isinstance(found, dict) else None
            if not isinstance(following, str):
                return pointer
            pointer, hops = following, hops + 1
            if hops > MAX_HOPS:
                raise BadReference(f"a reference that leads back to itself ({reference[:MAX_QUOTED]})")

    def value_of(self, reference: str) -> Any:
        """Raises BadReference."""
        return self._at(self.target(reference))

    def resolved(self, node: Any) -> dict[str, Any]:
        """An object, or the one that its `$ref` names. Raises BadReference."""
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            node = self.value_of(node["$ref"])
        return mapping(node)

    def _at(self, pointer: str) -> Any:
        if not pointer.startswith("#"):
            raise BadReference(f"a reference to another document ({pointer[:MAX_QUOTED]}), which is not fetched")
        found: Any = self.root
        for token in unquote(pointer[1:]).split("/")[1:]:
            found = _child(found, token.replace("~1", "/").replace("~0", "~"))
        if found is None or not pointer.startswith("#/"):
            raise BadReference(f"a reference to what the document does not have ({pointer[:MAX_QUOTED]})")
        return found

    def declared(self, problems: list[str]) -> Iterator[Declared]:
        """Every operation that can be read; of the others a sentence each is added to `problems`."""
        for path, raw in mapping(self.root.get("paths")).items():
            if not path.startswith("/"):
                continue
            try:
                item = self._item(raw)
            except BadReference as error:
                problems.append(f"{path[:MAX_QUOTED]} has {error} and was left out.")
                continue
            yield from self._operations(path, item, problems)

    def _item(self, raw: Any) -> dict[str, Any]:
        """A path item; fields beside its `$ref` come first."""
        return {**self.resolved(raw), **{name: value for name, value in mapping(raw).items() if name != "$ref"}}

    def _operations(self, path: str, item: dict[str, Any], problems: list[str]) -> Iterator[Declared]:
        for method in METHODS:
            if not isinstance(item.get(method), dict):
                continue
            try:
                yield self._declared(method, path, item)
            except BadReference as error:
                problems.append(f"{method.upper()} {path[:MAX_QUOTED]} has {error} and was left out.")

    def _declared(self, method: str, path: str, item: dict[str, Any]) -> Declared:
        operation = self.resolved(item[method])
        parameters = self._parameters(item, operation)
        if self.is_swagger:
            consumes = list(strings(operation.get("consumes", self.root.get("consumes"))))
            parameters, body = swagger.split(parameters, consumes)
        else:
            body = self.resolved(operation["requestBody"]) if "requestBody" in operation else None
        servers = operation.get("servers") or item.get("servers")
        return Declared(method, path, operation, parameters, body, servers)

    def _parameters(self, item: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
        """The operation's own word counts more than the path's."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for raw in [*items(item.get("parameters")), *items(operation.get("parameters"))]:
            parameter = self.resolved(raw)
            name, place = parameter.get("name"), parameter.get("in")
            if isinstance(name, str) and name and isinstance(place, str):
                found[name, place] = parameter
        return list(found.values())

    def base_url(self, declared: Declared | None, document_url: str) -> str:
        """Where an operation is served, without a slash at the end: the first server that has an http(s) address."""
        servers = items(declared.servers) if declared else []
        if self.is_swagger:
            return swagger.base_url(self.root, mapping(declared.operation) if declared else {}, document_url)
        for server in [*servers, *items(self.root.get("servers")), {"url": "/"}]:
            if url := _web_address(document_url, _filled(mapping(server))):
                return url
        return document_url.rstrip("/")

    def answer_schema(self, operation: dict[str, Any]) -> Any:
        """The schema of the first successful answer that is JSON; None where there is none. Raises BadReference."""
        responses = mapping(operation.get("responses"))
        good = sorted(code for code in responses if code[:1] == "2") + [
            code for code in ("default",) if code in responses
        ]
        for code in good:
            response = self.resolved(responses[code])
            if self.is_swagger:
                return response.get("schema")
            for media_type, content in mapping(response.get("content")).items():
                if "json" in media_type.lower():
                    return mapping(content).get("schema")
        return None

    def _scheme(self, raw: Any) -> dict[str, Any]:
        try:
            scheme = self.resolved(raw)
        except BadReference:
            return {}
        return swagger.scheme(scheme) if self.is_swagger else scheme


def _version(root: dict[str, Any]) -> str:
    said = root.get("swagger", root.get("openapi"))
    if said is None:
        raise not_openapi("This is no OpenAPI document: it has neither a field `openapi` nor `swagger`.")
    version = str(said)
    if not version.startswith(("2.", "3.")) or version.startswith("2.") != ("swagger" in root):
        raise not_openapi(f"Version {version[:20]!r} of OpenAPI is not supported: 3.1, 3.0 and Swagger 2.0 are.")
    return version[:20]


def _child(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token)
    if isinstance(node, list) and token.isdecimal() and len(token) < 9 and int(token) < len(node):
        return node[int(token)]
    return None


def _web_address(document_url: str, said: str) -> str:
    """Without a slash or a query at the end; empty for what is no http(s) address."""
    try:
        url = urljoin(document_url, said)
        is_web = urlsplit(url).scheme in {"http", "https"} and bool(urlsplit(url).hostname)
    except ValueError:
        return ""
    return url.partition("?")[0].partition("#")[0].rstrip("/") if is_web else ""


def _filled(server: dict[str, Any]) -> str:
    """A server's address with each variable's default in place."""
    url = server.get("url")
    url = url if isinstance(url, str) else ""
    for name, raw in mapping(server.get("variables")).items():
        variable = mapping(raw)
        value = variable.get("default", next(strings(variable.get("enum")), ""))
        url = url.replace(f"{{{name}}}", str(value))
    return url.strip()


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
