"""Operations of a document as tools, and what a call of each has to know.

The properties of a JSON or form body that is a plain object become arguments of the tool beside its parameters: search
reads their names, a form has a field for each, and models fill flat arguments more reliably than nested ones. A body
of any other kind, and one whose properties are called like a parameter, is one argument `body`.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from registry.connectors.base import ToolDefinition
from registry.connectors.definitions import schema_hash
from registry.connectors.openapi.bodies import declared_body
from registry.connectors.openapi.document import Declared, Document, Unusable, mapping
from registry.connectors.openapi.operations import Body, Operation, Parameter, Scheme, sent_by
from registry.connectors.openapi.parsing import not_openapi
from registry.connectors.openapi.schemas import IN, OUT, Schemas, size
from registry.connectors.openapi.security import schemes_of, security_of

MAX_TOOLS = 5_000
MAX_SECONDS = 45.0
MAX_TOTAL_CHARACTERS = 40_000_000  # of all schemas together
MAX_INPUT_CHARACTERS = 60_000
MAX_OUTPUT_CHARACTERS = 20_000
MAX_NAME, MAX_TITLE, MAX_DESCRIPTION = 64, 512, 10_000
PLACES = {"path", "query", "header", "cookie"}
# The first three OpenAPI itself ignores as header parameters; the others are the HTTP client's.
OURS = {
    "accept", "content-type", "authorization", "host", "content-length", "transfer-encoding", "connection", "cookie",
    "upgrade", "te", "trailer", "expect", "keep-alive", "accept-encoding", "proxy-authorization",
}  # fmt: skip
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
READING = {"get", "head", "options", "trace", "query"}
TEMPLATED = re.compile(r"\{([^{}]+)\}")


class ToolMaker:
    def __init__(self, document: Document, document_url: str) -> None:
        self.document = document
        self.document_url = document_url
        self.inputs = Schemas(document, IN)
        self.outputs = Schemas(document, OUT)
        self.problems: list[str] = []
        self.names: set[str] = set()
        self.counts: Counter[str] = Counter()  # of names that are alike
        self.total = 0
        self.schemes = schemes_of(document)

    def all(self) -> Iterator[tuple[ToolDefinition, Operation]]:
        """Sentences about what is left out are in `told` when this has ended."""
        deadline = time.monotonic() + MAX_SECONDS
        for declared in self.document.declared(self.problems):
            if time.monotonic() > deadline:
                raise not_openapi(f"The document takes longer than {MAX_SECONDS:.0f} s to read.")
            if len(self.names) >= MAX_TOOLS or self.total > MAX_TOTAL_CHARACTERS:
                self.problems.append(f"The document is too large: {len(self.names)} operations were taken.")
                return
            try:
                yield self._made(declared)
            except Unusable as error:
                where = f"{declared.method.upper()} {declared.path[:120]}"
                self.problems.append(f"{where} has {error} and was left out.")

    @property
    def told(self) -> list[str]:
        return list(dict.fromkeys([*self.problems, *self.inputs.problems, *self.outputs.problems]))

    def _made(self, declared: Declared) -> tuple[ToolDefinition, Operation]:
        schema, parameters, body = self._input(declared)
        output = self._output(declared.operation)
        self.total += size(schema) + size(output)
        base_url = self.document.base_url(declared, self.document_url)
        operation = Operation(
            method=declared.method.upper(),
            base_url=base_url,
            path=declared.path,
            parameters=parameters,
            body=body,
            security=security_of(self.document, declared.operation),
        )
        title, description = _texts(declared)
        name = self._name(declared)
        annotations = _annotations(declared, title, operation, self.schemes)
        tool = ToolDefinition(name, title, description, schema, output, annotations)
        return tool, replace(operation, definition=schema_hash(tool))

    def _input(self, declared: Declared) -> tuple[dict[str, Any], tuple[Parameter, ...], Body | None]:
        refs: set[str] = set()
        properties: dict[str, Any] = {}
        required: list[str] = []
        parameters = tuple(self._parameters(declared, properties, required, refs))
        body = None
        if declared.body is not None:
            made = declared_body(self.document, self.inputs, declared.body, set(properties), refs)
            if made is not None:
                body = made.body
                properties |= made.properties
                required += made.required
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            schema["required"] = required
        return self.inputs.closed(schema, refs, MAX_INPUT_CHARACTERS), parameters, body

    def _parameters(
        self, declared: Declared, properties: dict[str, Any], required: list[str], refs: set[str]
    ) -> Iterator[Parameter]:
        for raw in [*declared.parameters, *_undeclared(declared)]:
            place, name = raw["in"], raw["name"]
            if place not in PLACES or (place in {"header", "cookie"} and not _may_be_set(name)):
                continue
            argument = name if name not in properties else f"{place}_{name}"
            content_type, schema = _schema_of(raw)
            properties[argument] = self._property(raw, schema, refs)
            is_required = raw.get("required") is True or place == "path"
            if is_required:
                required.append(argument)
            style = raw.get("style") or ("form" if place in {"query", "cookie"} else "simple")
            explode = raw["explode"] if isinstance(raw.get("explode"), bool) else style in {"form", "deepObject"}
            is_reserved = raw.get("allowReserved") is True
            yield Parameter(argument, name, place, str(style), explode, is_required, content_type, is_reserved)

    def _property(self, raw: dict[str, Any], schema: Any, refs: set[str]) -> dict[str, Any]:
        """The schema of a parameter, with what is said beside it."""
        converted = self.inputs.inlined(schema, refs)
        if isinstance(raw.get("description"), str):
            converted["description"] = raw["description"]
        if raw.get("deprecated") is True:
            converted["deprecated"] = True
        if isinstance(raw.get("example"), str | int | float | bool):
            converted["examples"] = [raw["example"]]
        return converted

    def _output(self, operation: dict[str, Any]) -> dict[str, Any] | None:
        """The schema of a JSON answer that is an object; what cannot be used of it costs only this."""
        refs: set[str] = set()
        try:
            schema = self.outputs.inlined(self.document.answer_schema(operation), refs)
            is_object = schema.get("type") == "object" or ("properties" in schema and "type" not in schema)
            if not is_object:
                return None
            return self.outputs.closed(schema | {"type": "object"}, refs, MAX_OUTPUT_CHARACTERS)
        except Unusable as error:
            self.problems.append(f"The document has {error}: what is answered there is not described.")
            return None

    def _name(self, declared: Declared) -> str:
        """Of letters, digits, _ and -, at most 64 of them, each once."""
        said = declared.operation.get("operationId")
        wanted = _cleaned(said) if isinstance(said, str) else ""
        wanted = wanted or _cleaned(f"{declared.method}_{declared.path}") or declared.method
        name = wanted
        while name in self.names:
            self.counts[wanted] += 1
            ending = f"_{self.counts[wanted] + 1}"
            name = wanted[: MAX_NAME - len(ending)] + ending
        self.names.add(name)
        return name


def _cleaned(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_-")[:MAX_NAME]


def _may_be_set(name: str) -> bool:
    """May a header or a cookie of this name come from a caller?"""
    return HEADER_NAME.fullmatch(name) is not None and name.lower() not in OURS


def _undeclared(declared: Declared) -> Iterator[dict[str, Any]]:
    """Parts of the path that the document forgot to describe."""
    known = {each["name"] for each in declared.parameters if each["in"] == "path"}
    for name in dict.fromkeys(TEMPLATED.findall(declared.path)):
        if name not in known:
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _schema_of(parameter: dict[str, Any]) -> tuple[str, Any]:
    """The media type, where the parameter's value is a document of its own, and its schema."""
    for media_type, content in mapping(parameter.get("content")).items():
        return media_type, mapping(content).get("schema")
    return "", parameter.get("schema")


def _texts(declared: Declared) -> tuple[str, str]:
    """Title and description."""
    said = declared.operation
    summary = said["summary"].strip() if isinstance(said.get("summary"), str) else ""
    description = said["description"].strip() if isinstance(said.get("description"), str) else ""
    description = description or summary or f"{declared.method.upper()} {declared.path}"
    if said.get("deprecated") is True:
        description = f"Deprecated. {description}"
    return summary[:MAX_TITLE], description[:MAX_DESCRIPTION]


def _annotations(declared: Declared, title: str, operation: Operation, schemes: Mapping[str, Scheme]) -> dict[str, Any]:
    """What HTTP promises of the method. `request` is where a call goes and `sends` what it takes along: should that
    change, the tool has changed."""
    found: dict[str, Any] = {"title": title} if title else {}
    found["request"] = f"{operation.method} {operation.base_url}{operation.path}"
    if sent := list(sent_by(operation, schemes)):
        found["sends"] = sent
    if declared.method in READING:
        found["readOnlyHint"] = True
    if declared.method in {"put", "delete"}:
        found["idempotentHint"] = True
    if declared.method == "delete":
        found["destructiveHint"] = True
    if declared.operation.get("deprecated") is True:
        found["deprecated"] = True
    return found
