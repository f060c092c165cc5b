"""What is deleted while somebody adds to it."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.db.models.deletion import Collector

from chains.models import Run, Template
from registry.deleting import delete_whole
from tests.chains.conftest import plan, somebody_waits_for_a_lock, step, until

pytestmark = pytest.mark.django_db(transaction=True)
PLAN = plan(step("s1", "text.upper", text="a"))


def test_what_is_added_while_a_row_is_deleted_goes_or_is_refused_with_it(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template.objects.create(owner=alice, name="Words", plan=PLAN)

    def start() -> None:
        try:
            Run.objects.create(owner=alice, template=template, plan=PLAN)
        finally:
            connection.close()

    def delete(collector: Collector) -> Any:
        """When Django knows what belongs to the row, somebody adds to it."""
        starting.append(pool.submit(start))
        until(lambda: starting[0].done() or somebody_waits_for_a_lock())
        return deleted(collector)

    starting: list[Future[None]] = []
    deleted = Collector.delete
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Collector, "delete", delete)
        delete_whole(template)
        with pytest.raises(IntegrityError):
            starting[0].result(10)
    assert not Template.objects.exists() and not Run.objects.exists()
