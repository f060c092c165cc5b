"""Templates over time: former versions, what is different between them, copies, and files."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from chains import services
from chains.differences import differences
from chains.models import Template
from registry.models import Server, Tool
from registry.services import authorise
from tests.chains.conftest import plan, step

pytestmark = pytest.mark.django_db


@pytest.fixture
def toy(alice: User) -> Server:
    """A server with one tool that takes anything, at an address with secrets in it."""
    url = "https://me:hidden@toy.example/mcp?api_key=hidden"
    server = Server.objects.create(slug="toy", name="toy", url=url, transport="sse", owner=alice, visibility="private")
    Tool.objects.create(server=server, name="say", input_schema={"type": "object"}, schema_hash="a", content_hash="a")
    authorise(user=alice, server=server, approval={"default": "auto"})
    return server


@pytest.fixture
def template(alice: User, toy: Server) -> Template:
    return services.save_template(user=alice, name="Greeting", plan=says("hello"))


def says(words: str) -> dict[str, Any]:
    return plan(step("s1", "toy.say", words=words))


def test_every_changed_plan_keeps_the_one_before_and_the_same_plan_keeps_nothing(template: Template) -> None:
    for words in ("hello", "good day", "good day", "good night"):
        template = services.update_template(template=template, plan=says(words))
    kept = [(row.version, row.plan["steps"][0]["arguments"]["words"]) for row in template.former.all()]
    assert (template.version, kept) == (3, [(2, "good day"), (1, "hello")])


def test_a_former_version_remembers_when_and_by_whom_it_was_saved(template: Template, alice: User) -> None:
    saved_at = template.plan_saved_at
    services.update_template(template=template, name="Another name")
    services.update_template(template=template, plan=says("good day"))
    row = template.former.get()
    assert (row.saved_at, row.saved_by) == (saved_at, alice)


def test_differences_name_steps_and_show_arguments_old_and_new() -> None:
    before = plan(step("s1", "toy.say", words="a"), step("s2", "toy.say"), outputs={"x": 1})
    after = plan(step("s1", "toy.say", words="b") | {"retries": 0}, step("s3", "toy.say", n=1), outputs={"x": 2})
    found = [(each.kind, each.subject) for each in differences(before, after)]
    assert found == [
        ("removed", "step s2 (toy.say)"),
        ("added", "step s3 (toy.say)"),
        ("changed", "step s1 (toy.say)"),
        ("changed", "outputs"),
    ]
    changed = differences(before, after)[2]
    assert [(each.name, each.before, each.after) for each in changed.details] == [
        ("retries", "", "0"),
        ("words", '"a"', '"b"'),
    ]
    assert differences(before, before) == []


def test_the_page_of_a_version_shows_what_changed_and_restores_it(web: Client, template: Template) -> None:
    services.update_template(template=template, plan=says("good day"))
    html = web.get(f"/templates/{template.pk}/versions/1").content.decode()
    assert "&quot;hello&quot;" in html
    assert "&quot;good day&quot;" in html
    assert f"/templates/{template.pk}/versions/1" in web.get(f"/templates/{template.pk}").content.decode()
    web.post(f"/templates/{template.pk}/versions/1/restore")
    template.refresh_from_db()
    assert (template.version, template.plan) == (3, says("hello"))
    assert [row.version for row in template.former.all()] == [2, 1]


def test_versions_are_their_owners_only(client: Client, bob: User, template: Template) -> None:
    client.force_login(bob)
    for path in ("versions/1", "duplicate", "versions/1/restore"):
        ask = client.get if path == "versions/1" else client.post
        assert ask(f"/templates/{template.pk}/{path}").status_code == 404


def test_a_version_that_no_longer_validates_is_not_restored(web: Client, template: Template) -> None:
    services.update_template(template=template, plan=says("good day"))
    Tool.objects.all().delete()
    answer = web.post(f"/templates/{template.pk}/versions/1/restore", follow=True)
    assert "has no tool" in answer.content.decode()
    template.refresh_from_db()
    assert template.version == 2


def test_a_copy_has_the_plan_and_a_life_of_its_own(web: Client, template: Template) -> None:
    web.post(f"/templates/{template.pk}/duplicate")
    copy = Template.objects.exclude(pk=template.pk).get()
    services.update_template(template=copy, plan=says("changed"))
    template.refresh_from_db()
    assert (copy.name, template.plan) == ("Greeting (copy)", says("hello"))


def test_a_file_holds_the_plan_and_the_servers_and_no_secret(api: APIClient, template: Template, toy: Server) -> None:
    Template.objects.update(plan=plan(step("s1", f"{toy.pk}.say", words="hello")))
    answer = api.get(f"/chain/templates/{template.pk}/export")
    file = answer.json()
    assert "attachment" in answer.headers["Content-Disposition"]
    assert file["servers"] == [{"slug": "toy", "name": "toy", "url": "https://toy.example/mcp", "tools": ["say"]}]
    assert file["plan"] == says("hello")
    assert "hidden" not in json.dumps(file)


def test_a_file_comes_back_as_a_template_that_runs(api: APIClient, template: Template) -> None:
    file = api.get(f"/chain/templates/{template.pk}/export").json()
    answer = api.post("/chain/templates/import", file)
    assert (answer.status_code, answer.json()["missing"], answer.json()["plan"]) == (201, [], says("hello"))
    assert answer.json()["tool_hashes"] == {"toy/say": "a"}


def test_what_is_missing_here_is_named_and_another_slug_is_found(
    api: APIClient, bob_api: APIClient, template: Template, toy: Server
) -> None:
    file = api.get(f"/chain/templates/{template.pk}/export").json()
    answer = bob_api.post("/chain/templates/import", file).json()
    assert [(problem["code"], problem["path"]) for problem in answer["missing"]] == [
        ("unknown_server", "/steps/0/server")
    ]
    Server.objects.filter(pk=toy.pk).update(slug="parrot")
    assert api.post("/chain/templates/import", file).json()["plan"]["steps"][0]["server"] == "parrot"


@pytest.mark.parametrize(
    "change", [{"format": "other"}, {"plan": {"version": 1}}, {"plan": None}, {"name": ""}, {"servers": [{}]}]
)
def test_a_file_that_is_none_is_refused_and_nothing_is_kept(api: APIClient, change: dict[str, Any]) -> None:
    file = {"format": "mcp-registry-template", "name": "x", "plan": says("a"), "servers": []} | change
    answer = api.post("/chain/templates/import", file)
    assert answer.status_code == 400
    assert not Template.objects.exists()


def test_the_page_imports_a_file_and_keeps_what_was_typed_when_it_is_refused(
    web: Client, api: APIClient, template: Template
) -> None:
    file = api.get(f"/chain/templates/{template.pk}/export").content
    answer = web.post("/templates/import", {"file": SimpleUploadedFile("greeting.json", file)})
    assert answer.status_code == 302
    assert Template.objects.filter(name="Greeting").count() == 2
    refused = web.post("/templates/import", {"text": '{"format": "half'})
    assert (refused.status_code, "half" in refused.content.decode()) == (400, True)
