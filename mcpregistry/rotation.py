"""All stored secrets again under the newest key, so that a former SECRET_KEY can be forgotten.

Whatever is stored in a binary column named `…_encrypted`, of whichever app, and what allauth keeps of second factors.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db import transaction
from django.db.models import BinaryField, Model

from registry.credentials import CredentialsLost, is_under_newest, rotated

SUFFIX = "_encrypted"
IN_AUTHENTICATORS = ("secret", "seed")  # keys of their JSON


@dataclass
class Rotation:
    rotated: int = 0
    current: int = 0
    lost: int = 0


def rotate_secrets() -> Rotation:
    """May run at any time and again: what is under the newest key is left alone, what a user writes meanwhile wins."""
    done = Rotation()
    for model, name in encrypted_columns():
        stored = model._default_manager.exclude(**{name: b""}).exclude(**{name: None})
        for pk, data in stored.values_list("pk", name).iterator():
            _count(done, bytes(data), partial(_replace, model, pk, name, bytes(data)))
    for pk in Authenticator.objects.values_list("pk", flat=True):
        _rotate_authenticator(done, pk)
    return done


def encrypted_columns() -> Iterator[tuple[type[Model], str]]:
    for model in apps.get_models():
        for column in model._meta.get_fields():
            if isinstance(column, BinaryField) and column.name.endswith(SUFFIX):
                yield model, column.name


def _count(done: Rotation, data: bytes, replace: Callable[[bytes], None]) -> None:
    if is_under_newest(data):
        done.current += 1
        return
    try:
        replace(rotated(data))
        done.rotated += 1
    except CredentialsLost:
        done.lost += 1


def _replace(model: type[Model], pk: Any, name: str, old: bytes, new: bytes) -> None:
    model._default_manager.filter(pk=pk, **{name: old}).update(**{name: new})


@transaction.atomic
def _rotate_authenticator(done: Rotation, pk: int) -> None:
    row = Authenticator.objects.select_for_update().filter(pk=pk).first()
    if row is None:
        return
    for key in IN_AUTHENTICATORS:
        if key in row.data:
            _count(done, row.data[key].encode(), partial(_write_down, row.data, key))
    row.save(update_fields=["data"])


def _write_down(data: dict[str, str], key: str, new: bytes) -> None:
    data[key] = new.decode()
