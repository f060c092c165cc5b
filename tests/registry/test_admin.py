"""Every table has an admin: a list that searches and filters without a query a row, and a page that hides secrets."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import django_rq
import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from chains.models import HeldFile, Result, Run, RunEvent, Schedule, SpentKey, Template, TemplateVersion, ToolRun
from chat.models import Conversation, Message
from registry.credentials import encrypt
from registry.models import (
    Acceptance,
    CatalogueSource,
    Connection,
    Definition,
    HealthCheck,
    ImportRun,
    Invitation,
    OAuthClient,
    OAuthGrant,
    Server,
    ServerProtection,
    SignIn,
    SourceRecord,
    Tool,
)
from registry.services.listing import remove_records, store_records
from registry.services.teams import create_team
from tests.registry.test_filters import listed
from tests.registry.test_search import make_server

pytestmark = pytest.mark.django_db

OURS = [model for label in ("registry", "chains", "chat") for model in apps.get_app_config(label).get_models()]


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def fill(number: int) -> None:
    """One row of every table, all of one person."""
    owner = User.objects.create_user(f"person-{number}")
    server = make_server(f"server-{number}", "About.", {"tool": "Does."}, env={"PASSWORD": "hunter2"}, owner=owner)
    server.transport, server.command = "stdio", "npx"
    server.save()
    HealthCheck.objects.create(server=server, health="ok")
    secret = encrypt({"Authorization": "hunter2"})
    connection = Connection.objects.create(user=owner, server=server, credentials_encrypted=secret)
    definition = Definition.objects.create(schema_hash=f"hash {number}")
    Acceptance.objects.create(connection=connection, name="say", definition=definition)
    sign_in(number, owner, server)
    Invitation.objects.create(team=create_team(user=owner, name=f"team {number}"), user=owner, invited_by=owner)
    SourceRecord.objects.create(server=server, source="test", external_id=str(number), content_hash="x")
    ImportRun.objects.create(source="test", counts={"created": 1})
    CatalogueSource.objects.create(name=f"source-{number}", api_key_encrypted=encrypt({"api_key": "hunter2"}))
    template = Template.objects.create(owner=owner, name="Template", plan={})
    former = {"plan": {}, "saved_at": timezone.now(), "saved_by": owner}
    TemplateVersion.objects.create(template=template, version=1, **former)
    Schedule.objects.create(template=template, at="07:30", next_at=timezone.now())
    conversation = Conversation.objects.create(owner=owner)
    run = Run.objects.create(owner=owner, template=template, conversation_id=conversation.pk)
    ToolRun.objects.create(run=run, step="s1", position=1, server=server, server_slug=server.slug, tool="tool")
    RunEvent.objects.create(run=run, seq=1, type="RUN_STARTED")
    result = Result.objects.create(owner=owner, run=run, kind="output", title="Result")
    HeldFile.objects.create(result=result, content=b"hunter2")
    SpentKey.objects.create(owner=owner, key=f"key-{number}", run_id=run.pk)
    Message.objects.create(conversation=conversation, role="user", content="private words", run=run)


def sign_in(number: int, user: User, server: Server) -> None:
    """What is kept of somebody who signed in to this server, and of one who is on the way."""
    issuer, secret = "https://auth.example", encrypt({"secret": "hunter2"})
    ServerProtection.objects.create(server=server, url="https://a.example/mcp", issuer=issuer)
    client = OAuthClient.objects.create(server=server, issuer=issuer, client_id="us", secret_encrypted=secret)
    away = {"client": client, "user": user, "server": server}
    SignIn.objects.create(**away, state_hash=f"hunter2 {number}", secrets_encrypted=secret)
    OAuthGrant.objects.create(**away, issuer=issuer, tokens_encrypted=secret)


def address(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_every_model_has_an_admin() -> None:
    assert [model for model in OURS if not admin.site.is_registered(model)] == []


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_a_list_costs_the_same_queries_for_one_row_and_for_four(
    model: type[Model], root: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    fill(0)
    with django_assert_max_num_queries(15) as few:
        assert root.get(address(model, "changelist")).status_code == 200
    for number in (1, 2, 3):
        fill(number)
    with django_assert_max_num_queries(len(few)):
        response = root.get(address(model, "changelist"))
    assert response.context["cl"].result_count == model._default_manager.count() >= 4


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_a_list_can_be_searched_for_anything(model: type[Model], root: Client) -> None:
    fill(0)
    for q in ("server", "'); --", "%", "00000000"):
        assert root.get(address(model, "changelist"), {"q": q}).status_code == 200, q


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_a_row_opens_and_shows_no_secret(model: type[Model], root: Client) -> None:
    fill(0)
    row = model._default_manager.order_by("pk").first()
    assert row is not None
    for page in (root.get(address(model, "change", row.pk)), root.get(address(model, "changelist"))):
        assert page.status_code == 200
        assert "hunter2" not in page.content.decode()


@pytest.mark.parametrize(
    "model",
    [Run, ToolRun, RunEvent, Connection, HealthCheck, ImportRun, Invitation, Message, OAuthGrant, SignIn, SourceRecord],
)
def test_records_cannot_be_made_or_changed(model: type[Model], root: Client) -> None:
    fill(0)
    assert root.get(address(model, "add")).status_code == 403
    assert (
        root.post(address(model, "change", model._default_manager.values_list("pk", flat=True)[0])).status_code == 403
    )


def test_lists_of_messages_show_no_text(root: Client) -> None:
    fill(0)
    assert "private words" not in root.get(address(Message, "changelist")).content.decode()


def test_a_server_edited_by_a_curator_is_found_by_its_new_words(root: Client) -> None:
    fill(0)
    server = Server.objects.get()
    Server.objects.update(embedding=[0.1] * 384)
    page = root.get(address(Server, "change", server.pk))
    data = {
        name: value
        for name, value in page.context["adminform"].form.initial.items()
        if name in page.context["adminform"].form.fields and value is not None
    }
    data |= {"description": "Talks to zebras", "tags": "animals", "args": "", "owner": str(server.owner_id)}
    response = root.post(address(Server, "change", server.pk), data)
    assert response.status_code == 302, response.context["errors"]
    changed = Server.objects.defer(None).get()
    assert "zebras" in changed.search_text
    assert changed.embedding is None
    assert changed.env == {"PASSWORD": "hunter2"}


def act(root: Client, model: type[Model], action: str, ids: Iterable[Any]) -> list[str]:
    """Use an action of the list on these rows; the log's words for each row it was used on."""
    before = LogEntry.objects.count()
    response = root.post(
        address(model, "changelist"), {"action": action, "_selected_action": [str(pk) for pk in ids]}, follow=True
    )
    assert response.status_code == 200
    entries = LogEntry.objects.order_by("pk")[before:]
    assert {entry.user.username for entry in entries} <= {"root"}
    return [entry.change_message for entry in entries]


def ids_of(model: type[Model]) -> list[Any]:
    return list(model._default_manager.values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [
        ("verify", "verified", True),
        ("unverify", "verified", False),
        ("deprecate", "status", "deprecated"),
        ("hide", "status", "deleted"),
    ],
)
def test_curators_act_on_many_servers_at_once(action: str, field: str, value: Any, root: Client) -> None:
    fill(0), fill(1)
    Server.objects.update(verified=action == "unverify", updated_at=timezone.now() - timedelta(days=1))
    assert len(act(root, Server, action, ids_of(Server))) == 2
    assert list(Server.objects.values_list(field, flat=True)) == [value, value]
    assert Server.objects.filter(updated_at__gte=timezone.now() - timedelta(hours=1)).count() == 2


@pytest.mark.parametrize("action", ["hide", "deprecate"])
def test_what_a_curator_decided_holds_until_it_is_taken_back(action: str, root: Client, api: APIClient) -> None:
    store_records(records=[listed("official")])
    act(root, Server, action, ids_of(Server))
    decided = Server.objects.get().status
    store_records(records=[replace(listed("official"), data={"name": "again"})])
    assert Server.objects.get().status == decided
    assert api.get("/registry").data["count"] == (0 if action == "hide" else 1)
    assert len(act(root, Server, "show", ids_of(Server))) == 1
    assert api.get("/registry").data["results"][0]["status"] == "active"
    assert "status" not in Server.objects.get().field_sources


def test_a_server_its_catalogues_took_down_is_not_shown_again(root: Client) -> None:
    store_records(records=[listed("official")])
    remove_records(rows=list(SourceRecord.objects.all()))
    act(root, Server, "show", ids_of(Server))
    assert Server.objects.get().status == "deleted"


def test_duplicates_are_merged_and_the_log_says_of_which(root: Client) -> None:
    store_records(records=[listed("official"), listed("docker", "other", "https://other.example/mcp")])
    assert act(root, Server, "merge", ids_of(Server)) == ["Merged other into it."]
    assert Server.objects.get().source_records.count() == 2
    page = root.get(address(Server, "change", Server.objects.get().pk)).content.decode()
    assert "official: official/mail" in page
    assert "docker: docker/other" in page


def test_one_server_is_not_merged_with_nothing(root: Client) -> None:
    store_records(records=[listed("official")])
    assert act(root, Server, "merge", ids_of(Server)) == []


def test_servers_are_filtered_by_every_catalogue_that_lists_them(root: Client) -> None:
    store_records(records=[listed("official"), listed("docker")])
    for source, count in (("official", 1), ("docker", 1), ("smithery", 0)):
        page = root.get(address(Server, "changelist"), {"listed_by": source})
        assert page.context["cl"].result_count == count


def test_tools_that_changed_since_somebody_accepted_them_are_found(root: Client) -> None:
    fill(0)
    changed, same = Tool.objects.get(), Tool.objects.create(server=Server.objects.get(), name="same", schema_hash="b")
    for tool, accepted in ((changed, "a"), (same, "b")):
        definition = Definition.objects.create(schema_hash=accepted)
        Acceptance.objects.create(connection=Connection.objects.get(), name=tool.name, definition=definition)
    found = root.get(address(Tool, "changelist"), {"waiting": "changed"}).context["cl"]
    assert [tool.name for tool in found.result_list] == [changed.name]
    assert act(root, Tool, "accept", [changed.pk]) == ["Accepted as it is now, for everybody who authorised it."]
    assert root.get(address(Tool, "changelist"), {"waiting": "changed"}).context["cl"].result_count == 0


def test_an_edit_and_a_deletion_by_hand_are_logged(root: Client) -> None:
    fill(0)
    tool = Tool.objects.get()
    assert root.post(address(Tool, "change", tool.pk), {"enabled": ""}).status_code == 302
    assert root.post(address(Tool, "delete", tool.pk), {"post": "yes"}).status_code == 302
    assert [entry.action_flag for entry in LogEntry.objects.order_by("pk")] == [CHANGE, DELETION]


@pytest.mark.django_db(transaction=True)
def test_the_connections_of_chosen_servers_are_tested_but_no_command_is_run(root: Client) -> None:
    fill(0)
    remote = make_server("remote", url="https://a.example/mcp", transport="streamable_http")
    assert act(root, Server, "test_connections", ids_of(Server)) == ["Asked for a test of its connection."]
    assert [job.args for job in django_rq.get_queue("probes").jobs] == [(str(remote.pk),)]


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [
        ("disable", "enabled", False),
        ("enable", "enabled", True),
        ("accept", "quarantined", False),
        ("hold", "quarantined", True),
    ],
)
def test_curators_act_on_many_tools_at_once(action: str, field: str, value: bool, root: Client) -> None:
    fill(0)
    Tool.objects.update(**{field: not value})
    assert len(act(root, Tool, action, ids_of(Tool))) == 1
    assert list(Tool.objects.values_list(field, flat=True)) == [value]
