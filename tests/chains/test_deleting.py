"""What is deleted while somebody adds to it."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.deletion import Collector

from chains.models import Run, Template
from chains.services import Conflict, start_run
from registry.deleting import delete_whole
from registry.models import Server
from tests.chains.conftest import plan, somebody_waits_for_a_lock, step, until

pytestmark = pytest.mark.django_db(transaction=True)
PLAN = plan(step("s1", "text.upper", text="a"))


def test_a_run_that_is_started_while_its_template_is_deleted_is_refused(
    alice: User, text: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template.objects.create(owner=alice, name="Words", plan=PLAN)

    def start() -> None:
        try:
            start_run(user=alice, plan=None, template=template)
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
        with pytest.raises(Conflict, match="deleted in this moment"):
            starting[0].result(10)
    assert not Template.objects.exists() and not Run.objects.exists()
