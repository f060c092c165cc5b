"""What is deleted while somebody adds to it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from chains.models import Run, Template
from registry.deleting import delete_whole
from tests.chains.conftest import plan, somebody_waits_for_a_lock, step, until

pytestmark = pytest.mark.django_db(transaction=True)
PLAN = plan(step("s1", "text.upper", text="a"))


def test_a_template_can_be_deleted_while_a_run_of_it_is_started(alice: User) -> None:
    template = Template.objects.create(owner=alice, name="Words", plan=PLAN)

    def delete() -> None:
        delete_whole(template)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            run = Run.objects.create(owner=alice, template=template, plan=PLAN)
            deleting = pool.submit(delete)
            until(somebody_waits_for_a_lock)
        deleting.result(10)
    run.refresh_from_db()
    assert run.template is None and not Template.objects.exists()
