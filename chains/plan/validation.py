"""May this user run this plan, and would its tools accept it? Asked before anything runs."""

import difflib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q

from chains.models import ToolRun
from chains.plan import schemas
from chains.plan.format import Plan, Step, read
from chains.plan.pointers import dangling, is_seen
from chains.plan.problems import WARNING, Problem, pointer_to
from chains.plan.references import MARKERS, Reference, marker_of, scan, tokens_of
from chains.plan.schemas import Unknown
from registry.models import Connection, Policy, Server, Tool

MAX_NAMES = 10_000  # looked at for “did you mean”
_PART_TYPES = {"text": "string", "content": "array", "files": "array", "is_error": "boolean"}


@dataclass(frozen=True)
class Toolbox:
    """What the user has of what a plan names: servers by slug and id, tools by server and name, connections."""

    servers: Mapping[str, Server]
    tools: Mapping[tuple[Any, str], Tool]
    connections: Mapping[Any, Connection]
    user: User

    @classmethod
    def of(cls, steps: Sequence[Step], user: User) -> "Toolbox":
        """Three queries, however many steps."""
        wanted = {step.server for step in steps}
        slugs = Q(slug__in=wanted) | Q(former_slugs__overlap=list(wanted))
        named = slugs | Q(pk__in=[name for name in wanted if _is_uuid(name)])
        servers = list(Server.objects.visible_to(user).filter(named))
        names = {step.tool for step in steps}
        tools = Tool.objects.present().filter(server__in=servers, name__in=names).with_acceptance_of(user)
        tools = tools.select_related("server")
        connections = Connection.objects.valid().filter(user=user, server__in=servers)
        return cls(
            {str(key): server for server in servers for key in (*server.former_slugs, server.slug, server.pk)},
            {(tool.server_id, tool.name): tool for tool in tools},
            {connection.server_id: connection for connection in connections},
            user,
        )

    def tool(self, step: Step) -> Tool | None:
        server = self.servers.get(step.server)
        return self.tools.get((server.pk, step.tool)) if server else None

    def change(self, tool: Tool) -> Tool.Change:
        """What the user has not accepted about a tool of this toolbox."""
        return tool.change_for(self.connections.get(tool.server_id))

    def names(self, server: Server) -> list[str]:
        """Of the server's tools: asked for only on the way to a refusal, once for all servers."""
        return [name for owner, name in self._all_names if owner == server.pk]

    def seen(self, tool: Tool) -> list[Any]:
        """What the tool gave this user lately, as JSON: asked for once, for a tool that declares no output."""
        return [value for owner, name, value in self._all_seen if (owner, name) == (tool.server_id, tool.name)]

    @cached_property
    def _all_seen(self) -> list[tuple[Any, str, Any]]:
        undeclared = [tool for tool in self.tools.values() if tool.output_schema is None]
        return ToolRun.objects.results_seen(self.user, undeclared)

    @cached_property
    def _all_names(self) -> list[tuple[Any, str]]:
        servers = set(self.servers.values())
        return list(Tool.objects.present().filter(server__in=servers).values_list("server_id", "name")[:MAX_NAMES])


def _is_uuid(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True


def validate(
    plan: Plan, *, user: User, tool_hashes: Mapping[str, str] | None = None, toolbox: Toolbox | None = None
) -> list[Problem]:
    """Everything that is wrong or doubtful about a plan that reads well.

    `tool_hashes`: its tools' definitions when it was saved. `toolbox`: what the user has, where that is loaded already.
    """
    toolbox = toolbox or Toolbox.of(plan.steps, user)
    problems = [problem for step in plan.steps for problem in _step_problems(plan, step, toolbox, tool_hashes or {})]
    pointers = _pointer_problems(plan, toolbox)
    return [*problems, *_order_problems(plan), *pointers, *_input_schema_problems(plan), *_output_problems(plan)]


def check(
    data: Any, *, user: User, tool_hashes: Mapping[str, str] | None = None, toolbox: Toolbox | None = None
) -> tuple[Plan | None, list[Problem]]:
    """`read` and `validate` in one: the plan, and all problems of form and substance together."""
    plan, problems = read(data)
    if plan is not None:
        problems = [*problems, *validate(plan, user=user, tool_hashes=tool_hashes, toolbox=toolbox)]
    return plan, problems


def _step_problems(plan: Plan, step: Step, toolbox: Toolbox, hashes: Mapping[str, str]) -> Iterator[Problem]:
    server, tool = toolbox.servers.get(step.server), toolbox.tool(step)
    if server is None:
        yield Problem(f"{step.path}/server", "unknown_server", f"There is no server “{step.server}” that you can see.")
        return
    if tool is None:
        yield _unknown_tool(step, toolbox.names(server))
        return
    yield from _permission_problems(step, tool, toolbox.connections.get(server.pk))
    yield from _definition_problems(step, tool, toolbox.change(tool), hashes)
    yield from _argument_problems(plan, step, tool, toolbox)


def _unknown_tool(step: Step, names: Sequence[str]) -> Problem:
    near = difflib.get_close_matches(step.tool, names, n=1)
    hint = f"; did you mean “{near[0]}”?" if near else "." if names else "; test its connection to load its tools."
    return Problem(f"{step.path}/tool", "unknown_tool", f"“{step.server}” has no tool “{step.tool[:100]}”{hint}")


def _permission_problems(step: Step, tool: Tool, connection: Connection | None) -> Iterator[Problem]:
    path, name = f"{step.path}/tool", f"{tool.server.slug}.{tool.name}"
    if connection is None or not connection.allows(tool.name):
        yield Problem(path, "not_authorised", f"You have not authorised {name}; do so on the server's page.")
    elif not tool.enabled:
        yield Problem(path, "disabled_tool", f"{name} is switched off by whoever looks after the registry.")
    elif Policy.NEVER in (connection.policy_for(tool), step.approval):
        yield Problem(path, "forbidden_by_policy", f"The approval policy for {name} is “never”.")


CHANGES = {
    Tool.Change.NEW: "is new since you authorised the server; look at it on the server's page and accept it.",
    Tool.Change.CHANGED: "changed after you accepted it; look at the change on the server's page and accept it.",
    Tool.Change.HELD: "is held back by whoever looks after the registry, as it is defined now.",
}


def _definition_problems(step: Step, tool: Tool, change: Tool.Change, hashes: Mapping[str, str]) -> Iterator[Problem]:
    path, name = f"{step.path}/tool", f"{tool.server.slug}/{tool.name}"
    saved = hashes.get(name)
    if change:
        yield Problem(path, "changed_tool", f"{name} {CHANGES[change]}")
    elif saved is not None and saved != tool.schema_hash:
        message = f"{name} changed since this template was saved; look at it and save the template again."
        yield Problem(path, "changed_tool", message)


def _argument_problems(plan: Plan, step: Step, tool: Tool, toolbox: Toolbox) -> list[Problem]:
    path = f"{step.path}/arguments"
    problems = [
        problem
        for item in scan(step.arguments, path)
        if isinstance(item, Reference) and (problem := _input_problem(plan, item))
    ]
    arguments = _with_unknowns(plan, step.arguments, path, toolbox)
    return problems + schemas.problems_of(arguments, tool.input_schema, path)


def _input_problem(plan: Plan, reference: Reference) -> Problem | None:
    if reference.step is not None:
        return None
    declared = plan.inputs.get("properties")
    tokens = tokens_of(reference.pointer)
    if not tokens or (isinstance(declared, dict) and tokens[0] in declared):
        return None
    message = f"The plan's inputs declare no “{tokens[0]}”; declare it under /inputs/properties."
    return Problem(reference.path, "unknown_input", message)


def _with_unknowns(plan: Plan, value: Any, path: str, toolbox: Toolbox) -> Any:
    """`value` as it will be, with an Unknown wherever that is known only when the plan runs."""
    if marker_of(value) == "$format":
        return Unknown("$format", frozenset({"string"}))
    if marker_of(value) in MARKERS:
        found = [item for item in scan(value, path) if isinstance(item, Reference)]
        return _unknown(plan, found[0], toolbox) if found else Unknown("a reference")
    if isinstance(value, dict):
        return {key: _with_unknowns(plan, item, path + pointer_to(key), toolbox) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_unknowns(plan, item, path + pointer_to(i), toolbox) for i, item in enumerate(value)]
    return value


def _unknown(plan: Plan, reference: Reference, toolbox: Toolbox) -> Unknown:
    tokens = tokens_of(reference.pointer)
    if reference.step is None:
        return Unknown(reference.name, _types_at(plan.inputs, tokens))
    if not tokens:
        return Unknown(reference.name, frozenset({"object"}))
    if tokens[0] in _PART_TYPES and len(tokens) == 1:
        return Unknown(reference.name, frozenset({_PART_TYPES[tokens[0]]}))
    step = next((step for step in plan.steps if step.id == reference.step), None)
    tool = toolbox.tool(step) if step else None
    schema = tool.output_schema if tool and tokens[0] == "json" else None
    return Unknown(reference.name, _types_at(schema, tokens[1:]))


def _types_at(schema: Any, tokens: Sequence[str]) -> frozenset[str] | None:
    """The types a schema declares, plainly, for what a pointer reaches; None where it does not say."""
    for token in tokens:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(token) if isinstance(properties, dict) else None
    declared = schema.get("type") if isinstance(schema, dict) else None
    names = [declared] if isinstance(declared, str) else declared
    if not isinstance(names, list) or not names or not all(name in schemas.TYPES for name in names):
        return None
    return frozenset(names)


def _input_schema_problems(plan: Plan) -> Iterator[Problem]:
    if plan.inputs.get("type", "object") != "object":
        yield Problem("/inputs/type", "wrong_type", "The plan's inputs are an object; list them under properties.")
    properties = plan.inputs.get("properties", {})
    if not isinstance(properties, dict) or not all(isinstance(item, dict | bool) for item in properties.values()):
        yield Problem("/inputs/properties", "wrong_type", "Properties are an object of JSON Schemas.")


def _order_problems(plan: Plan) -> Iterator[Problem]:
    """A step is written after what it refers to, or says in `needs` that it waits for it."""
    places = {step.id: step.index for step in plan.steps}
    for step in plan.steps:
        written = plan.data["steps"][step.index].get("needs", [])
        for reference in _references(step.arguments, f"{step.path}/arguments"):
            if places.get(reference.step or "", -1) > step.index and reference.step not in written:
                message = f"“{reference.name}” is of a later step; put that step first, or name it in needs."
                yield Problem(reference.path, "later_step", message)


def _references(value: Any, path: str) -> list[Reference]:
    return [item for item in scan(value, path) if isinstance(item, Reference)]


def _pointer_problems(plan: Plan, toolbox: Toolbox) -> Iterator[Problem]:
    """Does each pointer into a step's JSON lead anywhere, by what the tool declares or has given before?"""
    producers = {step.id: tool for step in plan.steps if (tool := toolbox.tool(step))}
    places = [*((step.arguments, f"{step.path}/arguments") for step in plan.steps), (plan.outputs or {}, "/outputs")]
    for reference in [found for value, path in places for found in _references(value, path)]:
        tool, tokens = producers.get(reference.step or ""), tokens_of(reference.pointer)
        if (
            tool is not None
            and tokens[:1] == ["json"]
            and (problem := _pointer_problem(reference, tokens[1:], tool, toolbox))
        ):
            yield problem


def _pointer_problem(reference: Reference, tokens: Sequence[str], tool: Tool, toolbox: Toolbox) -> Problem | None:
    name = f"{tool.server.slug}.{tool.name}"
    if tool.output_schema is not None:
        lost = dangling(tool.output_schema, tokens)
        message = f"“{reference.name}” leads nowhere: what {name} says it returns has no “{(lost or '')[:100]}” there."
        return Problem(reference.path, "dangling_reference", message) if lost is not None else None
    seen = toolbox.seen(tool) if tokens else []
    if not seen or is_seen(seen, tokens):
        return None
    message = f"“{reference.name}” led nowhere in what {name} returned lately."
    return Problem(reference.path, "unseen_reference", message, WARNING)


def _output_problems(plan: Plan) -> list[Problem]:
    references = _references(plan.outputs or {}, "/outputs")
    return [problem for reference in references if (problem := _input_problem(plan, reference))]


def input_problems(plan: Plan, inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with what a run is given; paths are pointers into the inputs."""
    return schemas.problems_of(dict(inputs), plan.inputs, "")


def missing_inputs(plan: Plan, inputs: Mapping[str, Any]) -> list[Problem]:
    """Inputs that are optional by the schema, but that a step or an output refers to and nobody gave."""
    required = plan.inputs.get("required", [])
    wanted = {
        tokens[0]: item
        for value in [*(step.arguments for step in plan.steps), plan.outputs or {}]
        for item in scan(value, "")
        if isinstance(item, Reference) and item.step is None and (tokens := tokens_of(item.pointer))
    }
    return [
        Problem(pointer_to(name), "missing_input", f"“{name}” is used by the plan and was not given.")
        for name in wanted
        if name not in inputs and name not in required
    ]


def with_defaults(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, with the declared default of each that was not given."""
    properties = plan.inputs.get("properties", {})
    defaults = {
        name: schema["default"]
        for name, schema in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(schema, dict) and "default" in schema
    }
    return {**defaults, **inputs}
