"""300 recorded chains over 141 tools: none is refused, and each is caught in every way it can be broken."""

import copy
import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from chains.plan import Plan, Problem, Toolbox, check, parse
from registry.models import Server, Tool
from registry.services import authorise

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "plans"
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded chains (../shared/data/plans) are not here"),
]
Chain = dict[str, Any]
WHOLE = re.compile(r"\$(var\d+)((?:[.\[][^$]*)?)\$")
REFERENCE = re.compile(r"(var\d+)#/json([^\"}]*)")
PYTHON_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
OF_ANOTHER_TYPE: dict[str, Any] = {
    "string": 5,
    "integer": "five",
    "number": "five",
    "boolean": "yes",
    "array": {"0": 5},
    "object": [5],
}


def lines(name: str) -> list[Any]:
    with gzip.open(DATA / name, "rt") as file:
        return [json.loads(line) for line in file]


def chains() -> list[Chain]:
    return [translated(chain) for chain in lines("plans.jsonl.gz")]


def translated(chain: Chain) -> Chain:
    """A recorded chain in the plan format; its last step, `var_result`, is the outputs.

    The nth step is meant by `$varn`: a few chains give two steps one label and refer to the second so all the same.
    """
    labels: list[str] = []
    steps = []
    for number, call in enumerate(chain["plan"][:-1], 1):
        values = {name: value_of(value, labels) for name, value in call["arguments"].items()}
        steps.append({"id": f"var{number}", "server": chain["split"], "tool": call["tool"], "arguments": values})
        labels.append(f"var{number}")
    outputs = {name: value_of(value, labels) for name, value in chain["plan"][-1]["arguments"].items()}
    return {"version": 1, "steps": steps, "outputs": outputs}


def value_of(value: Any, labels: list[str]) -> Any:
    """`$var1.a[0]$` → `{"$ref": "var1#/json/a/0"}`"""
    if isinstance(value, list):
        return [value_of(item, labels) for item in value]
    if isinstance(value, dict):
        return {name: value_of(item, labels) for name, item in value.items()}
    if not isinstance(value, str) or any(match[1] not in labels for match in WHOLE.finditer(value)):
        return value
    if match := WHOLE.fullmatch(value):
        return {"$ref": reference(match)}
    text = WHOLE.sub(lambda match: f"{{{reference(match)}}}", value)
    return {"$format": text} if text != value else value


def reference(match: "re.Match[str]") -> str:
    pointer = re.sub(r"\[(\d+)\]", r"/\1", match[2]).replace(".", "/")
    return f"{match[1]}#/json{pointer}"


@pytest.fixture
def toolbox(alice: User) -> Toolbox:
    """Everything the chains call, as alice has it."""
    plans = [parse(chain) for chain in chains()]
    steps = [step for plan in plans for step in plan.steps]
    servers = {name: server_called(name, alice) for name in {step.server for step in steps}}
    described = {(tool["server"], tool["tool"]): tool for tool in lines("nestful.tools.jsonl.gz")}
    tools = {
        key: tool_of(servers[key[0]], key[1], described.get(key, {})) for key in {(s.server, s.tool) for s in steps}
    }
    for plan in plans:
        reconcile(plan, tools)
    Tool.objects.bulk_create(tools.values())
    for server in servers.values():
        authorise(user=alice, server=server, approval={"default": "auto"})
    return Toolbox.of(steps, alice)


def server_called(name: str, owner: User) -> Server:
    return Server.objects.create(
        slug=name, name=name, owner=owner, transport="streamable_http", url=f"http://127.0.0.1:9/{name}"
    )


def tool_of(server: Server, name: str, data: dict[str, Any]) -> Tool:
    """A tool the data do not describe takes and gives anything; of outputs the names are kept, not the types."""
    schema = lowered(data.get("inputSchema", {"type": "object"}))
    output = {"type": "object", "properties": names_only(data["outputs"])} if data.get("outputs") else None
    return Tool(server=server, name=name, input_schema=schema, output_schema=output, schema_hash=name, content_hash="")


def lowered(schema: Any) -> Any:
    """The data write some types with a capital."""
    if isinstance(schema, dict):
        return {k: v.lower() if k == "type" and isinstance(v, str) else lowered(v) for k, v in schema.items()}
    return schema


def names_only(properties: dict[str, Any]) -> dict[str, Any]:
    nested = {name: part.get("properties") for name, part in properties.items() if isinstance(part, dict)}
    return {
        name: {"properties": names_only(inner)} if isinstance(inner, dict) else {} for name, inner in nested.items()
    }


def reconcile(plan: Plan, tools: dict[tuple[str, str], Tool]) -> None:
    """A quarter of the chains contradict what the data say of their tools: where they do, the chains are right."""
    for step in plan.steps:
        schema = tools[step.server, step.tool].input_schema
        schema["required"] = [name for name in schema.get("required", []) if name in step.arguments]
        for name, value in step.arguments.items():
            part = schema.get("properties", {}).get(name, {})
            if not is_reference(value) and not fits(value, part):
                schema["properties"][name] = {}
    for label, *tokens in REFERENCE.findall(json.dumps(plan.data)):
        producer = plan.step(label)
        add_output(tools[producer.server, producer.tool], tokens[0].strip("/").split("/"))


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and "$ref" in value


def fits(value: Any, part: dict[str, Any]) -> bool:
    kind = PYTHON_TYPES.get(part.get("type", ""), object)
    plain = value["$format"] if isinstance(value, dict) and "$format" in value else value
    return isinstance(plain, kind) and (not isinstance(part.get("enum"), list) or plain in part["enum"])


def add_output(tool: Tool, names: list[str]) -> None:
    place: Any = tool.output_schema
    for name in names if place else []:
        properties = place.get("properties") if name and not name.isdigit() else None
        if not properties:
            return  # the data say nothing further
        place = properties.setdefault(name, {})


def problems(chain: Chain, toolbox: Toolbox) -> list[Problem]:
    return check(chain, user=toolbox.user, toolbox=toolbox)[1]


def test_no_recorded_chain_is_refused(toolbox: Toolbox) -> None:
    assert len(chains()) == 300
    assert [problem for chain in chains() for problem in problems(chain, toolbox)] == []


def unknown_tool(chain: Chain, toolbox: Toolbox) -> None:
    chain["steps"][-1]["tool"] += "_"


def unknown_step(chain: Chain, toolbox: Toolbox) -> None:
    chain["steps"][-1]["arguments"]["x"] = {"$ref": "nowhere#/json"}


def cycle(chain: Chain, toolbox: Toolbox) -> None:
    chain["steps"][0]["needs"] = [chain["steps"][-1]["id"]]
    chain["steps"][-1]["needs"] = [chain["steps"][0]["id"]]


def duplicate_id(chain: Chain, toolbox: Toolbox) -> None:
    chain["steps"].append(copy.deepcopy(chain["steps"][-1]))


def arguments_and_tools(chain: Chain, toolbox: Toolbox) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for step, parsed in zip(chain["steps"], parse(copy.deepcopy(chain)).steps, strict=True):
        tool = toolbox.tool(parsed)
        assert tool is not None
        yield step["arguments"], tool.input_schema


def missing_argument(chain: Chain, toolbox: Toolbox) -> None:
    found = (
        (args, schema["required"][0]) for args, schema in arguments_and_tools(chain, toolbox) if schema["required"]
    )
    arguments, name = next(found)
    del arguments[name]


def wrong_type(chain: Chain, toolbox: Toolbox) -> None:
    for arguments, schema in arguments_and_tools(chain, toolbox):
        for name, part in schema.get("properties", {}).items():
            if part.get("type") in PYTHON_TYPES:
                arguments[name] = OF_ANOTHER_TYPE[part["type"]]
                return
    raise StopIteration


def dangling_reference(chain: Chain, toolbox: Toolbox) -> None:
    parsed = parse(copy.deepcopy(chain))
    declared = (step.id for step in parsed.steps if (tool := toolbox.tool(step)) and tool.output_schema)
    chain["outputs"]["x"] = {"$ref": f"{next(declared)}#/json/no such thing"}


def later_step(chain: Chain, toolbox: Toolbox) -> None:
    chain["steps"].append({**copy.deepcopy(chain["steps"][0]), "id": "later"})
    chain["steps"][0]["arguments"]["x"] = {"$format": "{later#/text}"}


@pytest.mark.parametrize(
    ("mutate", "applicable"),
    [
        (unknown_tool, 300),
        (unknown_step, 300),
        (cycle, 300),
        (duplicate_id, 300),
        (missing_argument, 284),
        (wrong_type, 250),
        (dangling_reference, 300),
        (later_step, 300),
    ],
)
def test_every_broken_chain_is_caught(
    mutate: Callable[[Chain, Toolbox], None], applicable: int, toolbox: Toolbox
) -> None:
    """`applicable`: how many chains have something to break in this way, such as a required argument."""
    caught = []
    for chain in chains():
        with suppress(StopIteration):
            mutate(chain, toolbox)
            told = [problem.path for problem in problems(chain, toolbox) if problem.code == mutate.__name__]
            caught.append(bool(told) and all(path.startswith(("/steps/", "/outputs/")) for path in told))
    assert caught == [True] * applicable
