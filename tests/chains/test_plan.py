"""The plan format: what is read, what is refused and where, and what references stand for."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from chains import plan as plans
from chains.plan.schemas import problems_of
from registry.models import Connection, Server, Tool
from registry.services import accept_tools, authorise
from tests.chains.conftest import computing_for, plan, step


def problems(data: Any) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in plans.read(data)[1]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, [("", "wrong_type")]),
        ({}, [("/version", "missing_field"), ("/steps", "missing_field")]),
        ({"version": 2, "steps": []}, [("/steps", "no_steps"), ("/version", "invalid_value")]),
        (plan(step("1", "a.b")), [("/steps/0/id", "bad_id")]),
        (plan(step("input", "a.b")), [("/steps/0/id", "bad_id")]),
        (plan(step("s1\n", "a.b")), [("/steps/0/id", "bad_id")]),
        (plan(step("s1", "a.b") | {"args": {}}), [("/steps/0/args", "unknown_field")]),
        (plan(*(step(f"s{n}", "a.b") for n in range(51))), [("/steps", "too_many_steps")]),
        (plan(step("s1", "a.b", text="x" * 256_000)), [("", "too_large")]),
        (plan(step("s1", "a.b"), step("s1", "a.b")), [("/steps/1/id", "duplicate_id")]),
        (plan(step("s1", "a.b", t={"$ref": "s9#/text"})), [("/steps/0/arguments/t", "unknown_step")]),
        (plan(step("s1", "a.b") | {"needs": ["s9"]}), [("/steps/0/needs/0", "unknown_step")]),
        (plan(step("s1", "a.b", t={"$ref": "s1"})), [("/steps/0/arguments/t", "bad_reference")]),
        (plan(step("s1", "a.b", t={"$ref": "s1#/text", "x": 1})), [("/steps/0/arguments/t", "bad_reference")]),
        (plan(step("s1", "a.b", t=[{"$input": "city"}])), [("/steps/0/arguments/t/0", "bad_reference")]),
        (plan(step("s1", "a.b", **{"a/b": {"$format": "{s0}"}})), [("/steps/0/arguments/a~1b", "bad_format")]),
        (plan(step("s1", "a.b"), outputs={"o": {"$ref": "s1#/answer"}}), [("/outputs/o", "bad_reference")]),
    ],
)
def test_a_malformed_plan_is_refused_at_the_place(data: Any, expected: list[tuple[str, str]]) -> None:
    assert sorted(problems(data)) == sorted(expected)


def test_every_problem_is_told_at_once() -> None:
    circle = [step("s1", "a.b", t={"$ref": "s2#/text"}), step("s2", "a.b", t={"$ref": "s1#/text"})]
    bad = plan(*circle, step("s3", "a.b"), step("s3", "a.b"))
    assert {code for _, code in problems(bad)} == {"duplicate_id", "cycle"}
    with pytest.raises(plans.PlanError) as refused:
        plans.parse(bad)
    assert len(refused.value.problems) == 2


def test_references_imply_needs_and_layers_follow() -> None:
    last = step("d", "a.b", x={"$format": "{b#/text}{c#/text}"}) | {"needs": ["a"]}
    parsed = plans.parse(plan(step("a", "a.b"), step("b", "a.b", x={"$ref": "a#/json"}), step("c", "a.b"), last))
    assert parsed.steps[3].needs == ("a", "b", "c")
    assert [[each.id for each in layer] for layer in plans.layers(parsed)] == [["a", "c"], ["b"], ["d"]]


RESULTS = {"s1": {"text": "hi", "json": {"n": 7, "list": [1, {"a/b~c": None}]}, "is_error": False}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"$ref": "s1#/json/n"}, 7),
        ({"$ref": "s1#/json/list/1/a~1b~0c"}, None),
        ({"$ref": "s1#/is_error"}, False),
        ({"$ref": "s1#"}, RESULTS["s1"]),
        ({"$input": ""}, {"city": "Oslo", "k": [2.5]}),
        ({"$input": "/k/0"}, 2.5),
        (
            {"$format": "{input#/city}: {s1#/json/n} {s1#/is_error} {input#/k}"},
            "Oslo: 7 false [2.5]",
        ),
        ({"$format": '{"a": "{s1#/text}"} {} {x'}, '{"a": "hi"} {} {x'),
        ([{"deep": {"$input": "/city"}}, "{s1#/text}"], [{"deep": "Oslo"}, "{s1#/text}"]),
    ],
)
def test_references_keep_their_types_and_formats_make_text(value: Any, expected: Any) -> None:
    resolved = plans.resolve(value, RESULTS, {"city": "Oslo", "k": [2.5]})
    assert (resolved, type(resolved)) == (expected, type(expected))


@pytest.mark.parametrize(
    "target", ["s1#/json/nothing", "s1#/json/list/2", "s1#/json/list/-", "s1#/json/list/01", "s1#/text/0", "s2#/text"]
)
def test_a_reference_to_nothing_says_what_there_is(target: str) -> None:
    with pytest.raises(plans.Unresolved, match=r"s1#|s2"):
        plans.resolve({"$ref": target}, RESULTS, {})


# Validation against tools


@pytest.fixture
def shop(alice: User) -> Server:
    server = Server.objects.create(slug="shop", url="http://shop.example", transport="streamable_http", owner=alice)
    query = {"properties": {"q": {"type": "string"}}, "required": ["q"]}
    add_tool(server, "find", query, output={"count": {"type": "integer"}})
    fields = {"n": {"type": "integer"}, "how": {"enum": ["fast", "slow"]}, "note": NULLABLE}
    add_tool(server, "order", {"properties": fields, "required": ["n"], "additionalProperties": False})
    authorise(user=alice, server=server)
    return server


NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def add_tool(server: Server, name: str, schema: Any, output: Any = None) -> Tool:
    return Tool.objects.create(
        server=server,
        name=name,
        input_schema={"type": "object", **schema} if isinstance(schema, dict) else schema,
        output_schema={"type": "object", "properties": output} if output else None,
        schema_hash=name,
        content_hash="",
    )


def found(user: User, *steps: Any, **fields: Any) -> list[tuple[str, str]]:
    _, problems = plans.check(plan(*steps, **fields), user=user)
    return [(problem.path.removeprefix("/steps/"), problem.code) for problem in problems]


ORDER = "0/arguments"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"n": 1}, []),
        ({"n": 1, "how": "fast", "note": None}, []),
        ({}, [(f"{ORDER}/n", "missing_argument")]),
        ({"n": "1"}, [(f"{ORDER}/n", "wrong_type")]),
        ({"n": True}, [(f"{ORDER}/n", "wrong_type")]),
        ({"n": 1, "note": 5}, [(f"{ORDER}/note", "wrong_type")]),
        ({"n": 1, "how": "soon"}, [(f"{ORDER}/how", "invalid_argument")]),
        ({"n": 1, "what": 2}, [(f"{ORDER}/what", "unknown_argument")]),
        ({"n": {"$format": "7"}}, [(f"{ORDER}/n", "wrong_type")]),
        ({"n": {"$input": "/n"}}, [(f"{ORDER}/n", "unknown_input")]),
    ],
)
def test_arguments_are_checked_against_the_tool(alice: User, shop: Server, arguments: Any, expected: Any) -> None:
    assert found(alice, step("s1", "shop.order", **arguments)) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("s1#/json/count", []),
        ("s1#/json/other", [("1/arguments/n", "dangling_reference")]),
        ("s1#/json", [("1/arguments/n", "wrong_type")]),
        ("s1#/text", [("1/arguments/n", "wrong_type")]),
        ("s1#/is_error", [("1/arguments/n", "wrong_type")]),
        ("s1#", [("1/arguments/n", "wrong_type")]),
    ],
)
def test_a_reference_is_checked_as_far_as_its_type_is_known(
    alice: User, shop: Server, reference: str, expected: Any
) -> None:
    steps = [step("s1", "shop.find", q="tea"), step("s2", "shop.order", n={"$ref": reference})]
    assert found(alice, *steps) == expected
    note = [("s1#/json/count", [("1/arguments/note", "wrong_type")]), ("s1#/text", [])]
    for target, told in note:
        assert found(alice, steps[0], step("s2", "shop.order", n=1, note={"$ref": target})) == told


def test_inputs_have_the_types_they_declare(alice: User, shop: Server) -> None:
    order = step("s1", "shop.order", n={"$input": "/n"})
    assert found(alice, order, inputs={"properties": {"n": {"type": "integer"}}}) == []
    assert found(alice, order, inputs={"properties": {"n": {"type": "string"}}}) == [("0/arguments/n", "wrong_type")]
    assert found(alice, order, inputs={"properties": {"n": 5}})[0] == ("/inputs/properties", "wrong_type")


def test_servers_and_tools_must_be_there_and_the_users(alice: User, bob: User, shop: Server) -> None:
    assert found(alice, step("s1", "shop.fnd", q="a")) == [("0/tool", "unknown_tool")]
    assert found(alice, step("s1", "shopp.find", q="a")) == [("0/server", "unknown_server")]
    assert found(bob, step("s1", "shop.find", q="a")) == [("0/server", "unknown_server")]
    assert found(alice, step("s1", "shop.find", q="a") | {"server": str(shop.pk)}) == []
    Connection.objects.update(all_tools=False, tools=["order"])
    assert found(alice, step("s1", "shop.find", q="a")) == [("0/tool", "not_authorised")]


def test_a_changed_a_disabled_and_a_forbidden_tool_do_not_run(alice: User, shop: Server) -> None:
    find = step("s1", "shop.find", q="a")
    shop.tools.update(quarantined=True)
    assert found(alice, find) == [("0/tool", "changed_tool")]
    shop.tools.update(quarantined=False, schema_hash="another definition")
    assert found(alice, find) == [("0/tool", "changed_tool")]
    accept_tools(user=alice, server=shop, seen={"find": "another definition"})
    assert found(alice, find) == []
    shop.tools.update(enabled=False)
    assert found(alice, find) == [("0/tool", "disabled_tool")]
    shop.tools.update(enabled=True)
    Connection.objects.update(approval_tools={"find": "never"})
    assert found(alice, find) == [("0/tool", "forbidden_by_policy")]
    Connection.objects.update(approval_tools={})
    assert found(alice, find | {"approval": "never"}) == [("0/tool", "forbidden_by_policy")]


def test_validation_costs_the_same_queries_however_many_steps(
    alice: User, shop: Server, django_assert_max_num_queries: Any
) -> None:
    steps = [step(f"s{n}", "shop.missing" if n % 2 else "shop.find", q="a") for n in range(50)]
    with django_assert_max_num_queries(4):
        assert len(found(alice, *steps)) == 25


# Schemas of strangers


@pytest.mark.parametrize(
    "schema",
    [
        None,
        "text",
        {"type": "objekt"},
        {"properties": []},
        {"properties": {"a": 7}},
        {"required": "a"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://evil.example/schema.json"},
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"enum": 5, "minimum": "x", "multipleOf": 0},
        {"properties": {"a": {"pattern": "(x+x+)+y", "$schema": "http://json-schema.org/draft-07/schema#"}}},
        {"patternProperties": {"(x+x+)+y": {"type": "null"}}, "additionalProperties": False},
        {"not": {"pattern": "^$"}},
    ],
)
def test_a_hostile_or_broken_schema_neither_raises_nor_refuses(schema: Any) -> None:
    with computing_for(1):
        assert problems_of({"a": "x" * 40}, schema, "") == []


def test_a_schema_that_unfolds_without_end_is_given_up() -> None:
    layers = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 4} for n in range(30)}
    schema = {"$ref": "#/$defs/l0", "$defs": {**layers, "l30": {"type": "string"}}}
    with computing_for(3):
        assert problems_of(5, schema, "") == []


def test_a_deep_schema_is_checked_as_far_as_is_sane() -> None:
    schema: Any = {"type": "string"}
    for _ in range(500):
        schema = {"properties": {"a": schema}}
    assert problems_of({"a": 1}, schema, "") == []
