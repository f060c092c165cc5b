"""Rows that come by COPY are those that `bulk_create` and `bulk_update` would have written."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from registry.copying import copy_in, copy_over
from registry.models import SearchDocument, Server, SourceRecord, Tool
from tests.registry.test_search import make_server

pytestmark = pytest.mark.django_db

ODD = ["\\N", "\\.", "tab\there", 'quote" and \\ and {brace},', "line\nbreak\r", "", " ", "ä😀\u2028", "NULL"]


def columns_of(row: Any) -> dict[str, Any]:
    stored = type(row).objects.defer(None).get(pk=row.pk)
    return {field.attname: getattr(stored, field.attname) for field in stored._meta.concrete_fields}


def a_record(server: Server, number: int, text: str) -> SourceRecord:
    data = {"text": text, "none": None, "list": [1.5]}
    return SourceRecord(server=server, source="test", external_id=f"{number}", identity=[text, "b"], data=data)


def test_every_value_comes_as_it_is() -> None:
    server = make_server("io.example/clock")
    copied = [a_record(server, number, text) for number, text in enumerate(ODD)]
    copy_in(copied)
    for number, (row, text) in enumerate(zip(copied, ODD, strict=True)):
        stored = columns_of(row)
        row.delete()
        [other] = SourceRecord.objects.bulk_create([a_record(server, number, text)])
        created = columns_of(other)
        for name in ("id", "fetched_at", "seen_at"):
            del stored[name], created[name]
        assert stored == created
        assert stored["data"]["text"] == stored["identity"][0] == text


def test_rows_get_keys_and_can_be_saved() -> None:
    server = make_server("io.example/hours")
    tools = [Tool(server=server, name=name, description=text) for name, text in (("one", "first"), ("two", "second"))]
    copy_in(tools)
    assert len({tool.pk for tool in tools}) == 2
    tools[0].description = "changed"
    tools[0].save()
    assert list(Tool.objects.order_by("pk").values_list("pk", "description")) == [
        (tools[0].pk, "changed"),
        (tools[1].pk, "second"),
    ]


def test_a_key_that_a_row_has_stays_and_triggers_see_each_row() -> None:
    server = Server(name="io.example/clock", slug="clock", source="test", search_text="time of day")
    wanted = server.pk
    copy_in([server])
    assert Server.objects.get(slug="clock").pk == wanted
    assert SearchDocument.objects.get(server=server).words


def test_rows_are_changed_in_these_columns_alone() -> None:
    server, other = make_server("io.example/clock"), make_server("io.example/other")
    records = [a_record(server, number, "old") for number in range(len(ODD))]
    copy_in(records)
    gone = records.pop()
    SourceRecord.objects.filter(pk=gone.pk).delete()
    for record, text in zip(records, ODD, strict=False):
        record.data, record.identity, record.server, record.version = {"text": text}, [text], other, "not told"
    with connection.cursor() as cursor:
        copy_over([*records, gone], ["data", "identity", "server"])
        cursor.execute("SELECT to_regclass('coming')")
        assert cursor.fetchone() == (None,)
    stored = SourceRecord.objects.order_by("pk")
    assert [(one.data, one.identity, one.server_id, one.version) for one in stored] == [
        ({"text": text}, [text], other.pk, "") for text in ODD[:-1]
    ]


def test_a_change_that_cannot_be_is_undone_whole() -> None:
    servers = [make_server("io.example/clock"), make_server("io.example/other")]
    for server in servers:
        server.slug = "one"
    with pytest.raises(IntegrityError), transaction.atomic():
        copy_over(servers, ["slug"])
    assert sorted(Server.objects.values_list("slug", flat=True)) == ["clock", "other"]
    copy_over(servers[:1], ["slug"])


def test_what_is_there_already_is_refused_as_django_refuses_it() -> None:
    make_server("io.example/clock")
    with pytest.raises(IntegrityError), transaction.atomic():
        copy_in([Server(name="other", slug="clock", source="test")])
    assert Server.objects.count() == 1


def test_nothing_is_no_row(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        copy_in([])
        copy_over([], ["slug"])
