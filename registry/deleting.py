"""Deleting a row with what belongs to it."""

from django.db import transaction
from django.db.models import Model


def delete_whole(row: Model) -> None:
    """The row is locked first: else somebody adds to it, and what Django deletes before it is not all there is."""
    with transaction.atomic():
        list(type(row)._base_manager.select_for_update().filter(pk=row.pk).values_list("pk"))
        row.delete()
