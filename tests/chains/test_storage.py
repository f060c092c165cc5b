"""Large results in a bucket, over S3's real protocol; and what happens when the storage is away."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from chains import files
from chains.models import HeldFile, Result, Run
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import plan, statuses, step
from tests.conftest import WorkerByHand

pytestmark = pytest.mark.django_db(transaction=True)
LONG = "word " * 10_000
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
MOTO = """
import threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server with the bucket “results”."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen([sys.executable, "-c", MOTO], env=os.environ, **quiet)  # type: ignore[call-overload]
    url = process.stdout.readline().strip()
    boto3.client("s3", endpoint_url=url, **KEYS).create_bucket(Bucket="results")
    yield url
    process.kill()
    process.wait()


def bucket(url: str) -> dict[str, Any]:
    names = {"access_key": "test", "secret_key": "test", "region_name": "us-east-1", "file_overwrite": False}
    options = {"bucket_name": "results", "endpoint_url": url, **names}
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}


def test_a_large_result_lies_in_the_bucket_and_is_read_from_it(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand, settings: Any, s3: str
) -> None:
    settings.STORAGES = settings.STORAGES | {"default": bucket(s3)}
    second = step("s2", "text.count_words", text={"$ref": "s1#/text"})
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text=LONG), second))
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded", "s2": "succeeded"}
    assert run.outputs and run.outputs["s2"]["json"]["words"] == 10_000
    kept = Result.objects.get(kind=Result.Kind.FILE)
    stored = boto3.client("s3", endpoint_url=s3, **KEYS).get_object(Bucket="results", Key=kept.file.name)
    assert stored["Body"].read().decode() == LONG.upper()
    assert b"".join(api.get(f"/results/{kept.pk}/file")).decode() == LONG.upper()


def away(tmp_path: Path, kind: str) -> dict[str, Any]:
    """A storage that does not answer."""
    if kind == "bucket":
        return bucket("http://127.0.0.1:9")
    (tmp_path / "file").touch()
    location = {"location": tmp_path / "file" / "no folder", "base_url": None}
    return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": location}


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_nothing_is_lost_while_the_storage_is_away(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand, settings: Any, s3: str, tmp_path: Path, kind: str
) -> None:
    settings.STORAGES = settings.STORAGES | {"default": away(tmp_path, kind)}
    second = step("s2", "text.count_words", text={"$ref": "s1#/text"})
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text=LONG), second))
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded", "s2": "succeeded"}
    kept = Result.objects.get(kind=Result.Kind.FILE)
    assert b"".join(api.get(f"/results/{kept.pk}/file")).decode() == LONG.upper()
    assert files.move_held() == 0
    settings.STORAGES = settings.STORAGES | {"default": bucket(s3)}
    assert files.move_held() == 1
    assert not HeldFile.objects.exists()
    kept.refresh_from_db()
    stored = boto3.client("s3", endpoint_url=s3, **KEYS).get_object(Bucket="results", Key=kept.file.name)
    assert stored["Body"].read().decode() == LONG.upper()


def test_more_than_can_be_held_fails_the_step_and_says_so(
    alice: User, text: Server, worker: WorkerByHand, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_ALL_HELD_BYTES", 1_000)
    settings.STORAGES = settings.STORAGES | {"default": away(tmp_path, "folder")}
    run = start_run(user=alice, plan=plan(step("s0", "text.upper", text="a"), step("s1", "text.upper", text=LONG)))
    worker.run("runs")
    assert statuses(run) == {"s0": "succeeded", "s1": "failed"}
    assert (run.status, run.error and run.error["code"]) == (Run.Status.FAILED, "storage_down")
    kept = run.current_steps()[1].result
    assert kept and kept["text"].startswith("WORD WORD")


def test_a_file_in_a_storage_that_is_away_is_asked_for_again_later(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand, settings: Any, s3: str
) -> None:
    settings.STORAGES = settings.STORAGES | {"default": bucket(s3)}
    start_run(user=alice, plan=plan(step("s1", "text.upper", text=LONG)))
    worker.run("runs")
    settings.STORAGES = settings.STORAGES | {"default": bucket("http://127.0.0.1:9")}
    kept = Result.objects.get(kind=Result.Kind.FILE, step="s1")
    answer = api.get(f"/results/{kept.pk}/file")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_down")
