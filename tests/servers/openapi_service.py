"""A service described by OpenAPI that says what it received: one address for each parameter style and body kind.

/openapi.json (3.1) · /openapi.yaml (3.0) · /swagger.json (2.0) · /private.json asks for a token
/wrong/html · /wrong/json · /wrong/remote · /wrong/moved · /wrong/bomb · /wrong/deep · /wrong/huge · /wrong/gone
Every other address echoes: {"method", "path", "query", "headers", "cookies", "body" or "parts", "content_type"}.
/answers/{kind} answers with text, binary, nothing, an error, too much, or never. POST /version changes the document.
"""

import asyncio
import base64
import copy
import json
from typing import Any

import yaml
from serving import arguments, serve_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

TOKEN = "sesame"
STYLES: list[tuple[str, str, bool]] = [
    ("path", "simple", False), ("path", "simple", True), ("path", "label", False), ("path", "label", True),
    ("path", "matrix", False), ("path", "matrix", True), ("query", "form", False), ("query", "form", True),
    ("query", "spaceDelimited", False), ("query", "pipeDelimited", False), ("query", "deepObject", True),
    ("header", "simple", False), ("header", "simple", True), ("cookie", "form", False), ("cookie", "form", True),
]  # fmt: skip
served: dict[str, Any] = {"version": 1, "documents": 0, "calls": 0}


def operation(name: str, **fields: Any) -> dict[str, Any]:
    return {"operationId": name, "responses": {"200": {"description": "What arrived."}}} | fields


def parameter(name: str, place: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "in": place} | fields


def style_paths() -> dict[str, Any]:
    paths = {}
    for place, style, explode in STYLES:
        name = f"{place}_{style}" + ("_explode" if explode else "")
        color = parameter("color", place, required=True, style=style, explode=explode, schema={})
        path = f"/echo/{name}/{{color}}" if place == "path" else f"/echo/{name}"
        paths[path] = {"get": operation(name, parameters=[color])}
    return paths


def body_paths() -> dict[str, Any]:
    pet = {"$ref": "#/components/schemas/Pet"}
    upload = {
        "type": "object",
        "properties": {
            "note": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "meta": {"type": "object"},
            "file": {"type": "string", "format": "binary"},
            "more": {"type": "array", "items": {"type": "string", "format": "binary"}},
        },
    }
    kinds: dict[str, tuple[str, Any]] = {
        "json_flat": ("application/json", pet),
        "json_list": ("application/json", {"type": "array", "items": pet}),
        "json_merge": ("application/merge-patch+json", {"type": "object", "additionalProperties": True}),
        "form": ("application/x-www-form-urlencoded", upload),
        "multipart": ("multipart/form-data", upload),
        "text": ("text/plain", {"type": "string"}),
        "binary": ("application/octet-stream", {"type": "string", "format": "binary"}),
    }
    return {
        f"/echo/body/{name}": {
            "post": operation(name, requestBody={"required": True, "content": {media_type: {"schema": schema}}})
        }
        for name, (media_type, schema) in kinds.items()
    }


def security_paths() -> dict[str, Any]:
    ways: dict[str, Any] = {
        "with_bearer": [{"bearer": []}],
        "with_basic": [{"basic": []}],
        "with_header": [{"key_header": []}],
        "with_query": [{"key_query": []}],
        "with_cookie": [{"key_cookie": []}],
        "with_either": [{"key_header": [], "key_query": []}, {"bearer": []}],
        "with_nothing": [],
    }
    return {f"/echo/{name}": {"get": operation(name, security=ways[name])} for name in ways}


def odd_paths() -> dict[str, Any]:
    tree = {"$ref": "#/components/schemas/Tree"}
    shared = [parameter("id", "path", required=True, description="Which one.", schema={"type": "integer"})]
    lang = {"$ref": "#/components/parameters/lang"}
    answered = {"200": {"description": "It.", "content": {"application/json": {"schema": tree}}}}
    collision = {"type": "object", "properties": {"id": {"type": "string"}}}
    elsewhere = {"url": "{where}/v2", "variables": {"where": {"default": "/other"}}}
    return {
        "/echo/items/{id}": {
            "parameters": shared,
            "get": operation("get item!", summary="Read an item.", responses=answered, parameters=[lang]),
            "put": operation("put", requestBody={"content": {"application/json": {"schema": collision}}}),
            "delete": {"deprecated": True, "description": "Away with it.", "responses": {}},
        },
        "/echo/tree": {"post": operation("plant", requestBody={"$ref": "#/components/requestBodies/tree"})},
        "/echo/elsewhere": {"servers": [elsewhere], "get": {}},
        "/echo/remote": {"get": operation("remote", parameters=[{"$ref": "https://evil.example/p.json"}])},
        "/answers/{kind}": {"get": operation("answer", parameters=[{"name": "kind", "in": "path", "schema": {}}])},
        "/echo/linked": {"$ref": "#/components/pathItems/linked"},
        "/echo/content": {
            "get": operation("content", parameters=[parameter("filter", "query", content={"application/json": {}})])
        },
    }


COMPONENTS: dict[str, Any] = {
    "schemas": {
        "Pet": {
            "type": "object",
            "required": ["name", "id"],
            "properties": {
                "id": {"type": "integer", "readOnly": True},
                "name": {"type": "string", "description": "What it hears on."},
                "kind": {"type": "string", "enum": ["cat", "dog"], "default": "cat"},
                "owner": {"$ref": "#/components/schemas/Tree"},
            },
        },
        "Tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
        },
    },
    "parameters": {
        "lang": {"name": "lang", "in": "query", "schema": {"type": "string", "enum": ["de", "en"], "default": "en"}}
    },
    "requestBodies": {
        "tree": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}}
    },
    "pathItems": {"linked": {"get": operation("linked")}},
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
        "key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Ask the keeper."},
        "key_query": {"type": "apiKey", "in": "query", "name": "key"},
        "key_cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
    },
}


def document() -> dict[str, Any]:
    paths = style_paths() | body_paths() | security_paths() | odd_paths()
    info = {"title": "Toy service", "description": "It echoes.", "version": str(served["version"])}
    said = {"openapi": "3.1.0", "info": info, "servers": [{"url": "/"}], "paths": paths, "components": COMPONENTS}
    return changed(copy.deepcopy(said))


def changed(said: dict[str, Any]) -> dict[str, Any]:
    """The document in its version: 2 renames an operation, each of the others changes one thing of what is sent."""
    item = said["paths"]["/echo/items/{id}"]
    match served["version"]:
        case 2:
            item["get"]["operationId"] = "moved"
        case "server":
            said["servers"] = [{"url": "/elsewhere"}]
        case "path":
            said["paths"]["/echo/others/{id}"] = said["paths"].pop("/echo/items/{id}")
        case "method":
            item["patch"] = item.pop("get")
        case "place":
            said["components"]["parameters"]["lang"]["in"] = "header"
        case "credentials":
            said["components"]["securitySchemes"]["key_header"] |= {"in": "query", "name": "k"}
    return said


def swagger(request: Request) -> dict[str, Any]:
    names = ["a", "b"]
    lists = {
        f"/echo/{kind}": {
            "get": operation(
                kind,
                parameters=[parameter("color", "query", type="array", items={"type": "string"}, collectionFormat=kind)],
            )
        }
        for kind in ("csv", "ssv", "tsv", "pipes", "multi")
    }
    form = [
        {"name": "note", "in": "formData", "type": "string", "required": True},
        {"name": "file", "in": "formData", "type": "file"},
    ]
    body = [{"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}]
    return {
        "swagger": "2.0",
        "info": {"title": "Toy service", "version": "2"},
        "host": request.url.netloc,
        "basePath": "/echo",
        "schemes": ["http"],
        "securityDefinitions": {"simple": {"type": "basic"}},
        "security": [{"simple": []}],
        "definitions": {"Pet": {"type": "object", "properties": {"name": {"type": "string", "enum": names}}}},
        "paths": {path.removeprefix("/echo"): item for path, item in lists.items()}
        | {
            "/form": {"post": operation("form", parameters=form)},
            "/plain": {"post": operation("plain", parameters=form[:1])},
            "/pet": {"post": operation("pet", parameters=body, consumes=["application/json"])},
        },
    }


async def as_json(request: Request) -> Response:
    served["documents"] += 1
    return JSONResponse(document())


async def as_yaml(request: Request) -> Response:
    text = yaml.safe_dump(document() | {"openapi": "3.0.3"}, sort_keys=False)
    return PlainTextResponse(text, media_type="application/yaml")


async def as_swagger(request: Request) -> Response:
    return JSONResponse(swagger(request))


async def private(request: Request) -> Response:
    is_known = request.headers.get("authorization") == f"Bearer {TOKEN}"
    return JSONResponse(document()) if is_known else PlainTextResponse("who?", status_code=401)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REMOTE = {"openapi": "3.0.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "other.yaml#/p"}]}}}}
WRONG: dict[str, Any] = {
    "html": Response("<!doctype html><html>Our API</html>", media_type="text/html"),
    "json": JSONResponse({"name": "not a description"}),
    "old": JSONResponse({"swagger": "1.2", "paths": {}}),
    "remote": JSONResponse(REMOTE),
    "bomb": PlainTextResponse("openapi: 3.0.0\n" + BOMB),
    "deep": PlainTextResponse('{"openapi": "3.0.0", "x": ' + "[" * 3_000 + "]" * 3_000 + "}"),
    "deepyaml": PlainTextResponse("openapi: 3.0.0\nx: " + "[" * 3_000 + "]" * 3_000),
    "cut": PlainTextResponse('{"openapi": "3.0.0", "paths": {'),
    "hooks": JSONResponse({"openapi": "3.1.0", "info": {}, "webhooks": {"new": {"post": {}}}}),
    "moved": RedirectResponse("http://127.0.0.2:9/openapi.json"),
    "gone": PlainTextResponse("no", status_code=404),
    "broken": PlainTextResponse("no", status_code=500),
    "binary": Response(b"\xff\xfe\x00\x01", media_type="application/octet-stream"),
    "empty": Response(b""),
}


async def wrong(request: Request) -> Response:
    kind = request.path_params["kind"]
    return Response(b"a" * 20_000_001) if kind == "huge" else WRONG[kind]


async def answers(request: Request) -> Response:
    match request.path_params["kind"]:
        case "text":
            return PlainTextResponse("just words")
        case "binary":
            return Response(b"\x89PNG\x00", media_type="image/png")
        case "nothing":
            return Response(status_code=204)
        case "list":
            return JSONResponse([1, None, {"a": "b"}])
        case "error":
            return JSONResponse({"detail": "x" * 10_000}, status_code=422)
        case "locked":
            return JSONResponse({"detail": "who are you"}, status_code=401)
        case "huge":
            return Response(b"a" * 11_000_000, media_type="text/plain")
        case "away":
            return RedirectResponse("http://127.0.0.2:9/", status_code=302)
        case "near":
            return RedirectResponse("/echo/near", status_code=302)
        case _:
            await asyncio.sleep(60)
            return Response()


async def echo(request: Request) -> Response:
    served["calls"] += 1
    received: dict[str, Any] = {
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "headers": dict(request.headers),
        "content_type": request.headers.get("content-type", ""),
    }
    if received["content_type"].startswith("multipart/"):
        received["parts"] = [await part_of(name, value) for name, value in (await request.form()).multi_items()]
    else:
        received["body"] = (await request.body()).decode("utf-8", "backslashreplace")
    return JSONResponse(received)


async def part_of(name: str, value: Any) -> list[Any]:
    """[name, filename, content type, content]; base64 where it is no text."""
    if isinstance(value, str):
        return [name, None, None, value]
    content = await value.read()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = base64.b64encode(content).decode()
    return [name, value.filename, value.content_type, text]


async def change(request: Request) -> Response:
    served["version"] = json.loads(await request.body())
    return JSONResponse(served)


async def count(request: Request) -> Response:
    return JSONResponse(served)


app = Starlette(
    routes=[
        Route("/openapi.json", as_json),
        Route("/openapi.yaml", as_yaml),
        Route("/swagger.json", as_swagger),
        Route("/private.json", private),
        Route("/wrong/{kind}", wrong),
        Route("/answers/{kind}", answers),
        Route("/version", change, methods=["POST"]),
        Route("/served", count),
        Route("/{path:path}", echo, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    ]
)

if __name__ == "__main__":
    serve_app(app, arguments().parse_args(), "/openapi.json")
