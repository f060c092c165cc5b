"""The workspace: conversations as pages, what is said through a form, Markdown made harmless."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from chains.models import Run, RunEvent
from chat.models import Conversation, Message
from chat.services import send_message
from chat.templatetags.chat_tags import markdown

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "Accept": "text/html"}


def asked(user: User, words: str = "What time is it?", **fields: object) -> Run:
    _, _, run = send_message(user=user, user_msg=words)
    Run.objects.filter(pk=run.pk).update(**fields)
    run.refresh_from_db()
    return run


def answered(run: Run, content: str, status: str = "done") -> Message:
    return Message.objects.create(
        conversation_id=run.conversation_id,
        run=run,
        parent=run.messages.get(role="user"),
        role="assistant",
        content=content,
        status=status,
        provider="offline",
    )


def test_a_message_opens_a_conversation_without_javascript(web: Client, alice: User) -> None:
    response = web.post("/say", {"user_msg": "Hello there", "approval": "ask"})
    conversation = Conversation.objects.get(owner=alice)
    assert response.url == f"/?conversation={conversation.pk}"
    assert Run.objects.get().approval == "ask"
    html = web.get(response.url).content.decode()
    assert "Hello there" in html
    assert "Choosing tools" in html


def test_a_new_conversation_opens_on_its_own_page_with_htmx(web: Client) -> None:
    response = web.post("/say", {"user_msg": "Hello"}, headers=HTMX)
    assert response.headers["HX-Redirect"] == Conversation.objects.get().get_absolute_url()


def test_the_next_turn_is_a_fragment_that_follows_its_run(web: Client, alice: User) -> None:
    conversation = str(asked(alice).conversation_id)
    html = web.post("/say", {"user_msg": "And now?", "conversation": conversation}, headers=HTMX).content.decode()
    assert "<html" not in html
    assert "And now?" in html
    assert f'data-live="{Run.objects.first().pk}"' in html


@pytest.mark.parametrize("words", ["", "   ", "\x00", "x" * 20_001])
def test_nothing_and_too_much_are_refused_with_a_reason(web: Client, words: str) -> None:
    response = web.post("/say", {"user_msg": words}, headers=HTMX)
    assert response.status_code == 400
    assert "Write something" in response.json()["error"]["message"]
    assert not Run.objects.exists()


def test_an_answer_is_markdown_once_it_is_done(web: Client, alice: User) -> None:
    run = asked(alice, status="succeeded")
    answered(run, "It is **late**.")
    html = web.get(f"/?conversation={run.conversation_id}").content.decode()
    assert "<strong>late</strong>" in html
    assert "offline planner" in html


def test_an_answer_in_the_making_is_plain_text_up_to_the_sequence_number_told(web: Client, alice: User) -> None:
    run = asked(alice)
    answered(run, "", status="streaming")
    first = run.last_seq + 1
    for seq, delta in enumerate(["It is ", "**la", "te** not shown yet"], first):
        RunEvent.objects.create(run=run, seq=seq, type="TEXT_MESSAGE_CONTENT", data={"delta": delta})
    Run.objects.update(last_seq=first + 1)
    html = web.get(f"/turns/{run.pk}", headers=HTMX).content.decode()
    assert ">It is **la</div>" in html
    assert f'data-seq="{first + 1}"' in html


def test_a_turn_asked_for_by_a_person_leads_to_its_conversation(web: Client, alice: User) -> None:
    run = asked(alice)
    assert web.get(f"/turns/{run.pk}").url == f"/?conversation={run.conversation_id}#turn-{run.pk}"


def test_conversations_of_others_do_not_exist(web: Client, bob: User) -> None:
    run = asked(bob, "Secret plan")
    assert web.get(f"/?conversation={run.conversation_id}").status_code == 404
    assert web.get(f"/turns/{run.pk}", headers=HTMX).status_code == 404
    assert web.post("/say", {"user_msg": "Hi", "conversation": str(run.conversation_id)}).status_code == 404
    assert web.post(f"/conversations/{run.conversation_id}/delete").status_code == 404
    assert "Secret plan" not in web.get("/").content.decode()


@pytest.mark.parametrize("name", ["nonsense", "7d0c4f0e-5a0e-4f38-9a39-4f7d3b1b5a10", "%00"])
def test_an_address_that_names_no_conversation_is_not_found(web: Client, name: str) -> None:
    assert web.get(f"/?conversation={name}").status_code == 404


def test_a_conversation_is_deleted_with_its_runs(web: Client, alice: User) -> None:
    run = asked(alice)
    assert web.post(f"/conversations/{run.conversation_id}/delete").url == "/"
    assert not Conversation.objects.exists()
    assert not Run.objects.exists()


def test_a_long_conversation_takes_a_fixed_number_of_queries(
    web: Client, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    conversation, _, _ = send_message(user=alice, user_msg="first")
    for number in range(20):
        _, _, run = send_message(user=alice, user_msg=f"turn {number}", conversation=conversation)
        answered(run, "An answer")
    with django_assert_max_num_queries(14):
        html = web.get(conversation.get_absolute_url()).content.decode()
    assert html.count('class="turn"') == 21


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("[x](javascript:alert(1))", "<a href"),
        ("![x](https://spy.example/?q=secret)", "<img"),
        ("<a href='https://x.example' onclick='steal()'>x</a>", "<a "),
        ("[x](data:text/html;base64,PHNjcmlwdD4=)", "<a href"),
    ],
)
def test_markdown_of_strangers_does_nothing(text: str, forbidden: str) -> None:
    assert forbidden not in markdown(text)


def test_markdown_keeps_what_reads_well() -> None:
    html = markdown("# Title\n\n- one\n- `two`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[site](https://example.com)")
    for part in ("<h1>", "<li>", "<code>two</code>", "<td>1</td>", 'href="https://example.com"', "noopener"):
        assert part in html
