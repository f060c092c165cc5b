"""What becomes of a document: its tools, their schemas, what it asks for, and what is refused."""

import copy
from contextlib import suppress
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.connectors import ConnectorError
from registry.connectors.definitions import schema_hash
from registry.connectors.openapi import parsing
from registry.connectors.openapi.reading import read
from registry.connectors.openapi.schemas import size
from registry.connectors.openapi.tools import MAX_INPUT_CHARACTERS
from tests.registry.openapi_documents import document, fetched, get, introspected, post, tool_of

PET = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
IN_QUERY = {"name": "q", "in": "query", "schema": {"type": "string"}}


async def names_of(paths: dict[str, Any]) -> list[str]:
    return [tool.name for tool in (await introspected(document(paths))).tools]


class TestNames:
    async def test_are_operation_ids_cleaned_to_what_every_model_takes(self):
        paths = {"/a": get(operationId="Pets.list all/v2"), "/b": get(operationId="x" * 100)}
        assert await names_of(paths) == ["Pets_list_all_v2", "x" * 64]

    async def test_are_made_of_method_and_path_where_there_is_none(self):
        assert await names_of({"/pets/{id}/toys": {"get": {}, "delete": {}}, "/": {"get": {}}}) == [
            "get_pets_id_toys", "delete_pets_id_toys", "get",
        ]  # fmt: skip

    async def test_are_numbered_where_two_are_alike(self):
        long = "y" * 70
        paths = {"/a": get(), "/b": get(), "/c": get(operationId=long), "/d": get(operationId=long)}
        assert await names_of(paths) == ["it", "it_2", "y" * 64, "y" * 62 + "_2"]


class TestDescriptions:
    async def test_title_and_description_are_the_operations(self):
        tool = await tool_of(document({"/a": get(summary="List pets", description="All of them.")}))
        assert (tool.title, tool.description) == ("List pets", "All of them.")

    async def test_a_deprecated_operation_stays_and_says_so(self):
        tool = await tool_of(document({"/a": get(summary="Old", deprecated=True)}))
        assert tool.description == "Deprecated. Old"
        assert tool.annotations["deprecated"] is True

    async def test_hints_follow_the_method(self):
        found = await introspected(
            document({"/a": {method: {} for method in ("get", "head", "put", "delete", "post")}})
        )
        hints = {tool.name.partition("_")[0]: dict(tool.annotations) for tool in found.tools}
        assert {each.pop("request") for each in hints.values()} >= {"GET https://pets.example/a"}
        assert hints == {
            "get": {"readOnlyHint": True},
            "head": {"readOnlyHint": True},
            "put": {"idempotentHint": True},
            "delete": {"idempotentHint": True, "destructiveHint": True},
            "post": {},
        }

    async def test_another_place_to_call_is_another_definition(self):
        one, other = [await tool_of(document({"/a": get()}, servers=[{"url": url}])) for url in ("/v1", "/v2")]
        assert schema_hash(one) != schema_hash(other)


class TestParameters:
    async def test_of_the_path_are_inherited_and_those_of_the_operation_win(self):
        item = {
            "parameters": [IN_QUERY, {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            **get(parameters=[{**IN_QUERY, "required": True, "description": "What to look for."}]),
        }
        schema = (await tool_of(document({"/pets/{id}": item}))).input_schema
        assert schema["properties"]["q"] == {"type": "string", "description": "What to look for."}
        assert sorted(schema["required"]) == ["id", "q"]

    async def test_keep_enums_defaults_and_descriptions(self):
        described = {"type": "string", "enum": ["a", "b"], "default": "a", "example": "b", "description": "Which."}
        tool = await tool_of(document({"/a": get(parameters=[{**IN_QUERY, "schema": described}])}))
        assert tool.input_schema["properties"]["q"] == {
            "type": "string", "enum": ["a", "b"], "default": "a", "examples": ["b"], "description": "Which.",
        }  # fmt: skip

    async def test_of_one_name_in_two_places_are_both_there(self):
        parameters = [IN_QUERY, {**IN_QUERY, "in": "header"}]
        tool = await tool_of(document({"/a": get(parameters=parameters)}))
        assert list(tool.input_schema["properties"]) == ["q", "header_q"]

    async def test_that_the_document_forgot_are_read_from_the_path(self):
        tool = await tool_of(document({"/pets/{id}": get()}))
        assert tool.input_schema["required"] == ["id"]

    async def test_headers_that_are_not_the_callers_are_not_asked_for(self):
        parameters = [{**IN_QUERY, "in": "header", "name": name} for name in ("Accept", "Host", "Authorization", "X-A")]
        tool = await tool_of(document({"/a": get(parameters=parameters)}))
        assert list(tool.input_schema["properties"]) == ["X-A"]


class TestBodies:
    async def test_of_plain_objects_become_arguments(self):
        tool = await tool_of(document({"/a": post(PET)}))
        assert tool.input_schema["properties"] == PET["properties"]
        assert tool.input_schema["required"] == ["name"]

    async def test_put_together_by_all_of_do_too(self):
        parts = [PET, {"type": "object", "properties": {"tag": {"type": "string"}}, "required": ["tag"]}]
        tool = await tool_of(document({"/a": post({"allOf": parts})}))
        assert sorted(tool.input_schema["properties"]) == ["age", "name", "tag"]
        assert sorted(tool.input_schema["required"]) == ["name", "tag"]

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "array", "items": PET},
            {"oneOf": [PET, {"type": "string"}]},
            PET | {"additionalProperties": {"type": "string"}},
            {"type": "object", "properties": {"q": {"type": "string"}}},
        ],
    )
    async def test_of_other_kinds_and_those_that_collide_are_one_argument(self, schema):
        tool = await tool_of(document({"/a": post(schema, parameters=[IN_QUERY])}))
        assert list(tool.input_schema["properties"]) == ["q", "body"]
        assert tool.input_schema["required"] == ["body"]

    async def test_do_not_ask_for_what_only_the_service_sets(self):
        schema = PET | {"properties": PET["properties"] | {"name": {"readOnly": True}}}
        tool = await tool_of(document({"/a": post(schema)}))
        assert list(tool.input_schema["properties"]) == ["age"]
        assert "required" not in tool.input_schema


class TestReferences:
    async def test_reach_parameters_bodies_path_items_and_escaped_names(self):
        components = {
            "parameters": {"a/b~c": {**IN_QUERY, "schema": {"$ref": "#/components/schemas/Kind%20of"}}},
            "schemas": {"Kind of": {"type": "string", "enum": ["x"]}},
            "pathItems": {"one": get(parameters=[{"$ref": "#/components/parameters/a~1b~0c"}])},
        }
        tool = await tool_of(document({"/a": {"$ref": "#/components/pathItems/one"}}, components=components))
        assert tool.input_schema["properties"] == {"q": {"type": "string", "enum": ["x"]}}

    async def test_of_a_recursive_schema_stay_recursive(self):
        node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
        tool = await tool_of(
            document({"/a": post({"$ref": "#/components/schemas/Node"})}, components={"schemas": {"Node": node}})
        )
        validator = Draft202012Validator(tool.input_schema)
        assert validator.is_valid({"next": {"next": {"next": {}}}})
        assert not validator.is_valid({"next": {"next": {"next": 7}}})

    async def test_in_a_circle_take_anything(self):
        schemas = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
        found = await introspected(
            document(
                {"/a": get(parameters=[{**IN_QUERY, "schema": {"$ref": "#/components/schemas/A"}}])},
                components={"schemas": schemas},
            )
        )
        assert found.tools[0].input_schema["properties"] == {"q": {}}
        assert "leads back to itself" in found.problems[0]

    async def test_to_what_is_not_there_take_anything_and_are_told(self):
        found = await introspected(document({"/a": post({"type": "array", "items": {"$ref": "#/nowhere"}})}))
        assert found.tools[0].input_schema["properties"]["body"] == {"type": "array", "items": {}}
        assert "#/nowhere" in found.problems[0]

    @pytest.mark.parametrize("reference", ["https://evil.example/x.json", "x.yaml#/a", "file:///etc/passwd"])
    async def test_out_of_the_document_lose_the_operation_and_no_other(self, reference):
        paths = {"/a": post({"properties": {"deep": {"$ref": reference}}}), "/b": get(operationId="good")}
        found = await introspected(document(paths))
        assert [tool.name for tool in found.tools] == ["good"]
        assert reference in found.problems[0] and "not fetched" in found.problems[0]


class TestSchemas:
    async def test_of_3_0_are_said_in_todays_words(self):
        schema = {"type": "integer", "nullable": True, "minimum": 0, "exclusiveMinimum": True, "x-own": 1, "xml": {}}
        tool = await tool_of(document({"/a": get(parameters=[{**IN_QUERY, "schema": schema}])}, openapi="3.0.3"))
        assert tool.input_schema["properties"]["q"] == {"type": ["integer", "null"], "exclusiveMinimum": 0}

    async def test_that_are_too_large_are_cut_and_still_hold(self):
        wide = {f"field{n}": {"type": "string", "description": "words " * 50} for n in range(100)}
        schemas = {
            f"S{n}": {"type": "object", "properties": wide | {"next": {"$ref": f"#/components/schemas/S{n + 1}"}}}
            for n in range(20)
        }
        tool = await tool_of(
            document({"/a": post({"$ref": "#/components/schemas/S0"})}, components={"schemas": schemas})
        )
        assert size(tool.input_schema) < MAX_INPUT_CHARACTERS * 1.1
        Draft202012Validator.check_schema(tool.input_schema)
        assert Draft202012Validator(tool.input_schema).is_valid({"next": {"field1": "x", "next": {}}})

    async def test_of_the_answer_are_kept_when_it_is_an_object(self):
        answer = {"200": {"content": {"application/json": {"schema": PET}}}}
        listed = {"200": {"content": {"application/json": {"schema": {"type": "array"}}}}}
        paths = {"/a": get(responses=answer), "/b": get(operationId="b", responses=listed)}
        found = await introspected(document(paths))
        assert found.tools[0].output_schema == PET
        assert found.tools[1].output_schema is None


class TestServers:
    @pytest.mark.parametrize(
        ("fields", "base"),
        [
            ({}, "https://pets.example"),
            ({"servers": [{"url": "v2"}]}, "https://pets.example/api/v2"),
            ({"servers": [{"url": "ws://x"}, {"url": "http://b.example/"}]}, "http://b.example"),
            (
                {"servers": [{"url": "https://{a}.example", "variables": {"a": {"default": "eu"}}}]},
                "https://eu.example",
            ),
        ],
    )
    async def test_are_the_documents(self, fields, base):
        _, service = await read(fetched(document({"/a": get()}, **fields)))
        assert service.operations["it"].base_url == base

    async def test_nearest_to_the_operation_wins(self):
        item = get(servers=[{"url": "https://own.example"}]) | {
            "servers": [{"url": "https://path.example"}],
            "post": {},
        }
        _, service = await read(fetched(document({"/a": item}, servers=[{"url": "https://all.example"}])))
        assert service.operations["it"].base_url == "https://own.example"
        assert service.operations["post_a"].base_url == "https://path.example"

    async def test_of_swagger_are_host_and_base_path(self):
        swagger = {
            "swagger": "2.0",
            "host": "b.example",
            "basePath": "/v1",
            "schemes": ["http", "https"],
            "paths": {"/a": get()},
        }
        _, service = await read(fetched(swagger))
        assert service.operations["it"].base_url == "https://b.example/v1"


class TestSecurity:
    async def test_asks_for_what_most_operations_take(self):
        schemes = {
            "token": {"type": "oauth2", "flows": {}},
            "key": {"type": "apiKey", "in": "query", "name": "api_key", "description": "From the portal."},
        }
        paths = {"/a": get(), "/b": get(), "/c": get(security=[{"token": []}])}
        found = await introspected(document(paths, security=[{"key": []}], components={"securitySchemes": schemes}))
        assert found.auth_type == "api_key"
        assert [(entry["name"], entry["in"], entry["secret"]) for entry in found.env_schema] == [
            ("api_key", "query", True), ("Authorization", "header", True),
        ]  # fmt: skip
        assert "From the portal." in found.env_schema[0]["description"]

    @pytest.mark.parametrize(
        ("scheme", "auth_type"),
        [
            ({"type": "http", "scheme": "Bearer"}, "bearer"),
            ({"type": "http", "scheme": "basic"}, "basic"),
            ({"type": "openIdConnect"}, "oauth2"),
            ({"type": "mutualTLS"}, None),
        ],
    )
    async def test_kinds_are_told_apart(self, scheme, auth_type):
        found = await introspected(document({"/a": get()}, components={"securitySchemes": {"it": scheme}}))
        assert found.auth_type == auth_type

    async def test_models_are_the_documents_own(self):
        found = await introspected(document({"/a": get()}, components={"schemas": {"A": PET, "B": PET}}))
        assert found.model_count == 2


class TestYaml:
    async def test_reads_what_json_would_say(self):
        text = b"""
openapi: 3.0.0
paths:
  /a:
    get: &it
      operationId: no
      description: 2024-01-01
      responses: {200: {}}
    post: *it
"""
        found = await introspected(text)
        assert [(tool.name, tool.description) for tool in found.tools] == [("no", "2024-01-01"), ("no_2", "2024-01-01")]

    def test_merges_and_keeps_each_own_word(self):
        text = b"base: &base {a: 1, b: 2}\nall:\n  <<: *base\n  b: 3\n"
        assert parsing.parsed(text)["all"] == {"a": 1, "b": 3}

    def test_runs_nothing(self):
        assert parsing.parsed(b"a: !!python/object/apply:os.system [true]") == {"a": [True]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<html><body>Our API</body></html>", "a web page"),
        (b"\x89PNG\xff", "binary data"),
        (b'{"openapi": "3.0.0", ', "not valid JSON"),
        (b"openapi: [3.0.0", "nor valid YAML"),
        (b'["openapi"]', "not an object"),
        ({"name": "x"}, "neither a field `openapi` nor `swagger`"),
        ({"openapi": "4.0.0"}, "'4.0.0' of OpenAPI is not supported"),
        ({"swagger": "1.2"}, "'1.2' of OpenAPI is not supported"),
        (document({}), "no operation that can be called"),
        (b'{"openapi": "3.0.0", "x": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", "nested deeper"),
        (b"openapi: 3.0.0\nx: " + b"[" * 3_000 + b"]" * 3_000, "nested deeper"),
        (b"openapi: 3.0.0\nx: &x [*x]", "alias that contains itself"),
        (b"openapi: 3.0.0\n? [a]\n: b", "as a key"),
    ],
)
async def test_what_is_no_document_is_refused_in_words(content, words):
    with pytest.raises(ConnectorError) as raised:
        await introspected(content)
    assert raised.value.code == "not_openapi"
    assert words in raised.value.message


async def test_an_alias_bomb_is_not_unfolded():
    lines = ["openapi: 3.0.0", "a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(ConnectorError, match="aliases unfolded"):
        await introspected("\n".join(lines).encode())


async def test_every_odd_value_in_a_document_is_survived():
    """Each part of a sound document replaced by a value of a wrong type, one after the other."""
    sound = document(
        {
            "/a/{id}": {
                "parameters": [IN_QUERY],
                "post": post(PET)["post"] | {"responses": {"200": {}}, "security": [{}]},
            }
        },
        servers=[{"url": "/", "variables": {"a": {"default": "b"}}}],
        components={"schemas": {"A": PET}, "securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": "k"}}},
    )
    places = list(_places(sound))
    assert len(places) > 50
    for place in places:
        for odd in (None, 7, "odd", [], ["odd", 7], {}, {"$ref": 7}, {"$ref": "#/paths"}):
            with suppress(ConnectorError):
                await read(fetched(_with(sound, place, odd)))


def _places(node: Any, path: tuple[Any, ...] = ()) -> Any:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


def _with(root: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(root)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return changed


async def test_an_operation_of_a_hundred_thousand_fields_is_left_out_and_no_other():
    wide = {"type": "object", "properties": {f"field{n}": {"type": "string"} for n in range(100_000)}}
    found = await introspected(
        document({"/a": post(wide), "/b": post({"type": "array", "items": wide}, operationId="b")})
    )
    assert [tool.name for tool in found.tools] == ["b"]
    assert size(found.tools[0].input_schema) < MAX_INPUT_CHARACTERS
    assert found.problems == ["POST /a has more fields than can be described and was left out."]


async def test_texts_that_cannot_be_stored_are_cleaned():
    tool = await tool_of(document({"/a": get(summary="a\x00b\ud800c")}))
    assert tool.title == "abc"


async def test_a_value_that_looks_like_a_reference_is_a_value():
    wide = {f"field{n}": {"type": "object", "default": {"$ref": "#/$defs/x"}} for n in range(2_000)}
    tool = await tool_of(document({"/a": post({"type": "array", "items": {"type": "object", "properties": wide}})}))
    assert size(tool.input_schema) < MAX_INPUT_CHARACTERS
    Draft202012Validator.check_schema(tool.input_schema)
