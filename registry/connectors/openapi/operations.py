"""What a call has to know of a document: plain data that can be kept without the document itself."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Parameter:
    """`argument` is its name in the tool's input schema; `place` is path, query, header or cookie. A parameter with a
    `content_type` is sent as JSON, whatever its style."""

    argument: str
    name: str
    place: str
    style: str
    explode: bool
    required: bool = False
    content_type: str = ""
    allow_reserved: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a form. An empty style: lists are repeated, objects are JSON."""

    style: str = ""
    explode: bool = True
    content_type: str = ""
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """Either all of it is the argument `whole`, or `properties` maps arguments to properties of the object that is
    sent. `fields` says how a form's fields are written."""

    content_type: str
    whole: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`security` lists alternatives, each the names of the schemes it takes together; None: nothing is said.
    `definition` is the schema_hash of the tool that this is."""

    method: str
    base_url: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    security: tuple[tuple[str, ...], ...] | None = None
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Scheme:
    """`kind` is bearer, basic, api_key or oauth2. `credential` is the name a user gives the secret under; it is sent
    as `name` in `place` (header, query, cookie)."""

    kind: str
    place: str
    name: str
    credential: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A whole document, as far as calls need it. `operations` by the names of their tools."""

    operations: dict[str, Operation]
    schemes: dict[str, Scheme]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Self:
        """What `as_json` made."""
        operations = {name: _operation(each) for name, each in data["operations"].items()}
        return cls(operations, {name: Scheme(**each) for name, each in data["schemes"].items()})


def _operation(data: dict[str, Any]) -> Operation:
    security = data["security"]
    return Operation(
        method=data["method"],
        base_url=data["base_url"],
        path=data["path"],
        parameters=tuple(Parameter(**each) for each in data["parameters"]),
        body=_body(data["body"]) if data["body"] else None,
        security=None if security is None else tuple(tuple(names) for names in security),
        definition=data["definition"],
    )


def _body(data: dict[str, Any]) -> Body:
    return Body(**data | {"fields": {name: Field(**each) for name, each in data["fields"].items()}})


def sent_by(operation: Operation, schemes: Mapping[str, Scheme]) -> Iterator[str]:
    """One line for each thing that a call may send, and where: what a person reads when it changed."""
    for each in operation.parameters:
        how = each.content_type or f"{each.style}{' exploded' if each.explode else ''}"
        yield f"{each.place} {_from(each.name, each.argument)} ({how}{', unescaped' if each.allow_reserved else ''})"
    if body := operation.body:
        yield f"body {body.content_type}{f' = {body.whole}' if body.whole else ''}"
        yield from (f"body {_from(name, argument)}{_how(body, name)}" for argument, name in body.properties.items())
    alternatives = [tuple(schemes)] if operation.security is None else operation.security
    for names in alternatives:
        if known := [schemes[name] for name in names if name in schemes]:
            yield "credentials " + " and ".join(f"{_from(one.name, one.credential)} ({one.place})" for one in known)


def _from(name: str, argument: str) -> str:
    return name if name == argument else f"{name} = {argument}"


def _how(body: Body, name: str) -> str:
    part = body.fields.get(name)
    if part is None:
        return ""
    said = [part.content_type, part.style, "exploded" if part.explode else "", "file" if part.is_file else ""]
    return f" ({', '.join(one for one in said if one)})"
