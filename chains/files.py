"""The files of results: in the storage, or, while that does not answer, held in the database until it does."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from chains.models import HeldFile, Result, Run

logger = logging.getLogger(__name__)
MAX_HELD_BYTES = 20_000_000  # of one file
MAX_ALL_HELD_BYTES = 500_000_000
AT_ONCE = 20
TAKES = timedelta(minutes=5)  # whoever moves a file has done it by then, or is dead
FAILURES = (OSError, BotoCoreError, ClientError, Boto3Error)


class StorageDown(Exception):
    """The file storage did not take or give a file; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class File:
    """Too large or too binary for a row. `part` is "text" or "json" where a result can be made whole from it."""

    name: str
    mime_type: str
    content: bytes
    part: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that lies in the storage under `key`, or is `held` until it can; its row is written with the journal's."""

    id: uuid.UUID
    key: str
    name: str
    mime_type: str
    size_bytes: int
    part: str
    held: bytes | None = None

    def as_json(self) -> dict[str, Any]:
        listed = {"id": str(self.id), "name": self.name, "mime_type": self.mime_type, "size_bytes": self.size_bytes}
        return listed | ({"part": self.part} if self.part else {})


def store(run: Run, file: File) -> Stored:
    """Put a file into the storage (network or disk: outside any transaction), or take it to be held."""
    key = f"{run.owner_id}/{run.pk}/{file.name}"
    held = None
    try:
        key = _save(key, file.content)
    except StorageDown:
        held = file.content
    return Stored(uuid.uuid4(), key, file.name, file.mime_type, len(file.content), file.part, held)


def _save(key: str, content: bytes) -> str:
    try:
        return str(default_storage.save(key, ContentFile(content)))
    except FAILURES as error:
        logger.warning("%s could not be stored: %s", key, error)
        raise StorageDown("The file storage does not answer.") from error


def check_room(files: Sequence[Stored]) -> None:
    """Raises StorageDown where the files to be held, at least one, are more than the database should."""
    sizes = [file.size_bytes for file in files if file.held is not None]
    together = HeldFile.objects.aggregate(bytes=Sum("result__size_bytes"))["bytes"] or 0
    if max(sizes) > MAX_HELD_BYTES or together + sum(sizes) > MAX_ALL_HELD_BYTES:
        raise StorageDown(f"{sum(sizes):,} bytes could not be put into the file storage.")


def keep_files(run: Run, step: str, files: Sequence[Stored]) -> None:
    Result.objects.bulk_create(
        Result(
            id=file.id,
            owner_id=run.owner_id,
            run=run,
            step=step,
            kind=Result.Kind.FILE,
            title=file.name,
            file=file.key,
            mime_type=file.mime_type,
            size_bytes=file.size_bytes,
        )
        for file in files
    )
    HeldFile.objects.bulk_create(
        HeldFile(result_id=file.id, content=file.held) for file in files if file.held is not None
    )


def opened(result: Result) -> IO[bytes]:
    """The content, to be read and closed. Raises FileNotFoundError, or StorageDown when it cannot be had now."""
    if held := HeldFile.objects.filter(result=result).first():
        return ContentFile(bytes(held.content), name=result.title)
    try:
        return result.file.open("rb")  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise
    except FAILURES as error:
        raise StorageDown("The file storage does not answer.") from error


def read_file(result_id: str) -> bytes:
    """Raises StorageDown."""
    with opened(Result.objects.get(pk=result_id)) as stored:
        return stored.read()


def move_held() -> int:
    """Put what is held into the storage; the number of files that are there now. Stops where it does not answer."""
    moved = 0
    try:
        for held in HeldFile.objects.filter(_free()).select_related("result").order_by("held_at")[:AT_ONCE]:
            moved += _move(held)
    except StorageDown:
        logger.info("The file storage does not answer yet; %d files were moved to it.", moved)
    return moved


def _free() -> Q:
    return Q(moving_at=None) | Q(moving_at__lt=timezone.now() - TAKES)


def _move(held: HeldFile) -> bool:
    if not HeldFile.objects.filter(_free(), pk=held.pk).update(moving_at=timezone.now()):
        return False
    try:
        key = _save(str(held.result.file), bytes(held.content))
    except StorageDown:
        HeldFile.objects.filter(pk=held.pk).update(moving_at=None)
        raise
    with transaction.atomic():
        Result.objects.filter(pk=held.pk).update(file=key)
        HeldFile.objects.filter(pk=held.pk).delete()
    return True
