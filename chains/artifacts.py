"""What a call brought back: small results stay in the journal's row, large and binary ones become files.

A row keeps a preview of a large text; `whole` gives the full result back to the steps that refer to it.
"""

import base64
import binascii
import json
import logging
import math
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chains.files import File, Stored, keep_files
from chains.models import Result, Run
from registry.connectors.base import CallResult

logger = logging.getLogger(__name__)
INLINE_BYTES = 16_000
PREVIEW_CHARS = 2_000
MAX_DEPTH = 100
MAX_ITEMS = 50  # of a list that is cut
SUMMARY_CHARS = 500


def storable(value: Any, depth: int = 0) -> Any:
    """A server's JSON as Postgres can keep it: no NUL, no lone surrogate, no NaN, a bounded depth."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {storable(str(name)): storable(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    return value


def result_of(called: CallResult) -> dict[str, Any]:
    """A step's result, whole: `{"text", "json", "content", "files", "is_error"}`."""
    content = storable(called.content)
    text = "\n".join(part for block in content if (part := _text_of(block)) is not None)
    structured = storable(called.structured)
    return {
        "text": text,
        "json": parsed(text) if structured is None else structured,
        "content": content,
        "files": [],
        "is_error": called.is_error,
    }


def _text_of(block: Mapping[str, Any]) -> str | None:
    if block.get("type") == "text":
        return str(block.get("text", ""))
    resource = block.get("resource")
    return str(resource["text"]) if isinstance(resource, dict) and "text" in resource else None


def parsed(text: str) -> Any:
    """The JSON value a text is, or None."""
    try:
        return storable(json.loads(text, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def split(result: dict[str, Any], step: str) -> tuple[dict[str, Any], list[File]]:
    """The result as its row keeps it, and the files that hold the rest."""
    files: list[File] = []
    content = [_lightened(block, f"{step}-{index + 1}", files) for index, block in enumerate(result["content"])]
    row = {**result, "content": content}
    large_text = len(result["text"].encode()) > INLINE_BYTES
    derived = result["json"] is not None and large_text and parsed(result["text"]) == result["json"]
    if large_text:
        mime_type, ending = ("application/json", "json") if derived else ("text/plain", "txt")
        files.append(File(f"{step}.{ending}", mime_type, result["text"].encode(), "text"))
        row |= {"text": preview(result["text"])}
    if large_text or _size(content) > INLINE_BYTES:
        row |= {"content": _cut(content)}
    if derived:
        row["json"] = None
    elif _size(result["json"]) > INLINE_BYTES:
        files.append(File(f"{step}-data.json", "application/json", json.dumps(result["json"]).encode(), "json"))
        row["json"] = None
    return (row | {"truncated": True} if any(file.part for file in files) else row), files


def preview(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARS else text[:PREVIEW_CHARS] + "…"


def shown(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the journal keeps them: long texts of large ones are cut."""
    return arguments if _size(arguments) <= INLINE_BYTES else _cut(arguments)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= PREVIEW_CHARS else f"{preview(value)} ({len(value):,} characters)"
    if isinstance(value, dict):
        return {name: _cut(item) for name, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list):
        return [_cut(item) for item in value[:MAX_ITEMS]]
    return value


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _lightened(block: dict[str, Any], name: str, files: list[File]) -> dict[str, Any]:
    """The block with binary data moved into a file, of which it keeps the name."""
    resource = block.get("resource")
    if isinstance(block.get("data"), str):
        rest = {key: item for key, item in block.items() if key != "data"}
        return rest | {"file": _binary(block["data"], name, rest.get("mimeType"), files)}
    if isinstance(resource, dict) and isinstance(resource.get("blob"), str):
        rest = {key: item for key, item in resource.items() if key != "blob"}
        return {**block, "resource": rest | {"file": _binary(resource["blob"], name, rest.get("mimeType"), files)}}
    return block


def _binary(data: str, name: str, mime_type: Any, files: list[File]) -> str:
    try:
        content = base64.b64decode(data)
    except (binascii.Error, ValueError):
        content = data.encode()
    kind = mime_type if isinstance(mime_type, str) and len(mime_type) < 200 else "application/octet-stream"
    files.append(File(name + (mimetypes.guess_extension(kind) or ".bin"), kind, content))
    return files[-1].name


def whole(row_result: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """The full result of a row that keeps a part of it; `read` gives the content of a file by its result's id."""
    if not row_result.get("truncated"):
        return row_result
    full = {name: item for name, item in row_result.items() if name != "truncated"}
    for file in row_result["files"]:
        if file.get("part") == "text":
            full["text"] = read(file["id"]).decode()
            full["json"] = parsed(full["text"]) if full["json"] is None else full["json"]
    for file in row_result["files"]:
        if file.get("part") == "json":
            full["json"] = json.loads(read(file["id"]))
    return full


def large_outputs(outputs: Mapping[str, Any]) -> dict[str, File]:
    """Of the outputs those too large for a row, as files."""
    return {
        name: File(f"{_file_name(name)}.json", "application/json", json.dumps(value, ensure_ascii=False).encode())
        if not isinstance(value, str)
        else File(f"{_file_name(name)}.txt", "text/plain", value.encode())
        for name, value in outputs.items()
        if _size(value) > INLINE_BYTES
    }


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in name)[:80] or "output"


def keep_outputs(run: Run, outputs: Mapping[str, Any], files: Sequence[Stored]) -> None:
    """What the run was for stays, even when its journal is pruned."""
    keep_files(run, "", files)
    text = json.dumps(outputs, ensure_ascii=False)
    title = run.template.name if run.template else f"Outputs of {', '.join(outputs) or 'a run'}"
    Result.objects.create(
        owner_id=run.owner_id,
        run=run,
        kind=Result.Kind.OUTPUT,
        title=title[:255],
        summary=text[:SUMMARY_CHARS],
        data=dict(outputs),
        size_bytes=len(text.encode()),
    )
