"""Results: what stays in a row, what becomes a file, and who may have it."""

import base64
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from chains import artifacts, files
from chains.models import Result, Run
from registry.connectors import CallResult


def result(*content: dict[str, Any], structured: Any = None) -> dict[str, Any]:
    return artifacts.result_of(CallResult(list(content), structured, False))


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    ("said", "expected"),
    [('{"a": 1}', {"a": 1}), ("[1, 2.5]", [1, 2.5]), ("12", 12), ("true", True), ("hello", None), ("NaN", None)],
)
def test_text_that_is_json_is_also_given_as_json(said: str, expected: Any) -> None:
    assert result(text(said)) == {
        "text": said,
        "json": expected,
        "content": [text(said)],
        "files": [],
        "is_error": False,
    }


def test_structured_content_goes_before_text() -> None:
    both = result(text("1"), text("2"), structured={"n": 3})
    assert (both["text"], both["json"]) == ("1\n2", {"n": 3})


def test_what_postgres_cannot_keep_is_replaced() -> None:
    strange = result(text("a\x00b\ud800"), structured={"x\x00": [float("nan"), float("inf"), 1.5]})
    assert strange["text"] == "a\ufffdb?"
    assert strange["json"] == {"x\ufffd": [None, None, 1.5]}


def test_text_nested_beyond_reason_is_only_text() -> None:
    assert result(text("[" * 100_000))["json"] is None


@pytest.mark.parametrize("structured", [None, {"rows": ["x" * 100] * 500}])
def test_a_large_result_is_made_whole_from_its_files(structured: Any) -> None:
    whole = result(text(json.dumps({"k": "v" * 50_000})), structured=structured)
    row, files = artifacts.split(whole, "s1")
    stored = {file.name: file.content for file in files}
    row["files"] = [{"id": file.name, "part": file.part} for file in files]
    assert len(json.dumps(row)) < 10_000
    again = artifacts.whole(row, lambda name: stored[name])
    assert (again["text"], again["json"]) == (whole["text"], whole["json"])


def test_a_small_result_stays_as_it_is() -> None:
    small = result(text("x" * 15_000))
    assert artifacts.split(small, "s1") == (small, [])


def test_binary_content_becomes_a_file() -> None:
    image = {"type": "image", "mimeType": "image/png", "data": base64.b64encode(b"pixels").decode()}
    blob = {"type": "resource", "resource": {"uri": "a:b", "blob": "not base64"}}
    row, files = artifacts.split(result(image, blob), "s1")
    assert [(file.name, file.mime_type) for file in files] == [
        ("s1-1.png", "image/png"),
        ("s1-2.bin", "application/octet-stream"),
    ]
    assert files[0].content == b"pixels"
    assert row["content"][0] == {"type": "image", "mimeType": "image/png", "file": "s1-1.png"}
    assert "blob" not in row["content"][1]["resource"]


def test_many_blocks_do_not_fill_the_row() -> None:
    row, _ = artifacts.split(result(*[text("x" * 1_000)] * 2_000), "s1")
    assert len(json.dumps(row)) < 100_000


@pytest.fixture
def kept(alice: User) -> Result:
    run = Run.objects.create(owner=alice)
    page = files.File("page é.html", "text/html", b"<script>alert(1)</script>" * 10_000)
    files.keep_files(run, "s1", [files.store(run, page)])
    return Result.objects.get()


def test_a_file_is_downloaded_and_never_shown(api: APIClient, kept: Result) -> None:
    response = api.get(f"/results/{kept.pk}/file")
    assert b"".join(response) == b"<script>alert(1)</script>" * 10_000
    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page%20%C3%A9.html"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]


def test_another_user_has_no_such_file(bob_api: APIClient, kept: Result) -> None:
    assert bob_api.get(f"/results/{kept.pk}/file").status_code == 404
    assert bob_api.get("/results").json()["count"] == 0


def test_a_file_that_is_gone_from_the_storage_is_not_found(api: APIClient, kept: Result) -> None:
    kept.file.storage.delete(kept.file.name)
    assert api.get(f"/results/{kept.pk}/file").status_code == 404


def test_results_are_found_by_their_words(api: APIClient, alice: User, kept: Result) -> None:
    Result.objects.create(
        owner=alice, kind=Result.Kind.OUTPUT, title="Weather", summary="It rains in Oslo", data={"mm": 3}
    )
    found = api.get("/results", {"q": "oslo weather"}).json()
    assert (found["count"], found["results"][0]["data"], found["results"][0]["file_url"]) == (1, {"mm": 3}, None)
    assert api.get("/results", {"q": "page"}).json()["results"][0]["file_url"] == f"/results/{kept.pk}/file"
    assert api.get("/results", {"q": "nothing like it"}).json()["results"] == []
    assert api.get("/results?q=%00").status_code == 400  # no database holds that sign
