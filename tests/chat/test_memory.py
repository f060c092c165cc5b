"""What is long ago is summarised, found again, and removed only then."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from chains.models import Result, Run
from chains.recall import search_results
from chat import jobs, memory, pruning
from chat.branches import newest_question
from chat.models import Conversation
from registry.models import Server
from tests.chat.conftest import Say, draft
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)

OLD = timedelta(days=100)


def said(
    conversation: Conversation, question: str, answer: str, *, ago: timedelta = OLD, status: str = "succeeded"
) -> Run:
    """One turn of long ago."""
    at = timezone.now() - ago
    run = Run.objects.create(owner=conversation.owner, kind="chat", status=status, conversation_id=conversation.pk)
    parent = newest_question(conversation)
    for number, (role, content) in enumerate((("user", question), ("assistant", answer))):
        parent = conversation.messages.create(
            role=role, content=content, run=run, parent=parent, created_at=at + timedelta(seconds=number)
        )
    return run


@pytest.fixture
def conversation(alice: User) -> Conversation:
    return Conversation.objects.create(owner=alice, title="Suppliers of oak")


def found_oak(conversation: Conversation) -> Run:
    return said(conversation, "Who delivers oak planks?", "Holm & Sons in Riga delivers oak planks for 412 euros.")


def test_old_messages_become_a_summary_and_go(conversation: Conversation, settings: Settings) -> None:
    settings.LLM_PROVIDER = "offline"
    found_oak(conversation)
    assert pruning.tidy() == 2
    conversation.refresh_from_db()
    assert "412 euros" in conversation.summary
    assert not conversation.messages.exists()
    kept = Result.objects.get(owner=conversation.owner)
    assert "Holm & Sons" in kept.summary
    assert kept.embedding is not None
    assert kept.data["conversation_id"] == str(conversation.pk)


def test_with_a_model_the_summary_is_its_own(conversation: Conversation, model: Toy) -> None:
    found_oak(conversation)
    model.script([{"json": {"summary": "Oak planks: Holm & Sons, Riga, 412 euros."}}])
    pruning.tidy()
    conversation.refresh_from_db()
    assert conversation.summary == "Oak planks: Holm & Sons, Riga, 412 euros."


def test_a_model_that_is_down_does_not_cost_the_summary(conversation: Conversation, model: Toy) -> None:
    found_oak(conversation)
    model.script([{"status": 401}])
    pruning.tidy()
    conversation.refresh_from_db()
    assert "412 euros" in conversation.summary


def test_a_pruned_conversation_still_answers_what_was_found(
    say: Say, conversation: Conversation, settings: Settings, model: Toy, text: Server
) -> None:
    settings.LLM_PROVIDER = "offline"
    found_oak(conversation)
    pruning.tidy()
    settings.LLM_PROVIDER = "openai"
    model.script([draft(say=""), {"text": "Holm & Sons, 412 euros."}])
    turn = say("What did we find about oak?", conversation_id=str(conversation.pk))
    assert turn.answer.content == "Holm & Sons, 412 euros."
    for request in model.requests():
        assert "delivers oak planks for 412 euros" in request["messages"][0]["content"]


def test_another_conversation_finds_it_too_even_without_a_model(
    say: Say, conversation: Conversation, settings: Settings, text: Server
) -> None:
    settings.LLM_PROVIDER = "offline"
    found_oak(conversation)
    pruning.tidy()
    turn = say("What did we find about suppliers of wood?")
    assert "412 euros" in turn.answer.content


def test_nobody_is_told_what_others_found(say: Say, bob: User, settings: Settings, model: Toy, text: Server) -> None:
    settings.LLM_PROVIDER = "offline"
    found_oak(Conversation.objects.create(owner=bob, title="Oak"))
    pruning.tidy()
    settings.LLM_PROVIDER = "openai"
    model.script([draft(say=""), {"text": "Nothing."}])
    say("What did we find about oak?")
    assert "412" not in json.dumps(model.requests())


def test_what_is_pinned_stays(conversation: Conversation, settings: Settings) -> None:
    settings.LLM_PROVIDER = "offline"
    Conversation.objects.update(pinned=True)
    found_oak(conversation)
    assert pruning.tidy() == 0
    assert conversation.messages.count() == 2


def test_what_is_young_stays(conversation: Conversation, settings: Settings) -> None:
    settings.LLM_PROVIDER = "offline"
    found_oak(conversation)
    said(conversation, "And ash?", "Nobody does.", ago=timedelta(days=80))
    assert pruning.tidy() == 2
    assert [message.content for message in conversation.messages.all()] == ["And ash?", "Nobody does."]


def test_a_turn_that_is_not_over_stays(conversation: Conversation, settings: Settings) -> None:
    settings.LLM_PROVIDER = "offline"
    said(conversation, "Order it", "Shall I?", status="awaiting_approval")
    assert pruning.tidy() == 0
    assert not Result.objects.exists()


def test_nothing_goes_without_a_summary(conversation: Conversation) -> None:
    found_oak(conversation)
    assert pruning.prune(conversation=conversation, before=timezone.now()) == 0
    assert conversation.messages.count() == 2


def test_tidying_twice_at_once_keeps_one_summary(conversation: Conversation, settings: Settings) -> None:
    found_oak(conversation)
    chunk = pruning.Chunk(list(conversation.messages.all()), "Oak.")
    stale = Conversation.objects.get(pk=conversation.pk)
    assert pruning.keep_summary(conversation=conversation, chunk=chunk, vector=[0.1] * 384)
    assert not pruning.keep_summary(conversation=stale, chunk=chunk, vector=[0.1] * 384)
    assert Result.objects.count() == 1


def test_a_long_conversation_is_summarised_but_keeps_its_messages(
    conversation: Conversation, settings: Settings
) -> None:
    settings.LLM_PROVIDER = "offline"
    for number in range(35):
        said(conversation, f"Question {number}", f"Answer {number}", ago=timedelta(hours=50 - number))
    assert pruning.tidy() == 0
    conversation.refresh_from_db()
    assert "Answer 0" in conversation.summary
    assert conversation.messages.count() == 70


def test_the_context_fits_what_the_model_reads(conversation: Conversation, alice: User) -> None:
    conversation.summary = "long ago " * 2_000
    conversation.save()
    for number in range(30):
        said(conversation, f"Question {number} " * 100, f"Answer {number} " * 100, ago=timedelta(hours=50 - number))
    question = conversation.messages.create(role="user", content="And now?", parent=newest_question(conversation))
    sizes = []
    for tokens in (4_000, 16_000):
        recalled = memory.recall(question, context_tokens=tokens)
        told = len(recalled.summary) + sum(len(turn.content) for turn in recalled.turns)
        assert recalled.summary.startswith("long ago")
        assert recalled.turns[-1].content.startswith("Answer 29")
        assert told <= tokens * memory.CHARACTERS_PER_TOKEN / 2
        sizes.append(len(recalled.turns))
    assert sizes[0] < sizes[1]


def test_results_are_found_by_meaning_and_by_words(alice: User, api: APIClient) -> None:
    for title, summary in (
        ("Oak", "Holm & Sons delivers oak planks."),
        ("Flights", "The cheapest flight to Lisbon leaves at seven."),
        ("Code", "The ticket is QX-7781."),
    ):
        Result.objects.create(owner=alice, kind="summary", title=title, summary=summary)
    assert jobs.embed_results() == 3
    assert jobs.embed_results() == 0
    by_meaning, by_word = (api.get(f"/results?q={q}").json()["results"] for q in ("timber supplier", "7781"))
    assert (by_meaning[0]["title"], by_word[0]["title"]) == ("Oak", "Code")
    assert "Flights" not in [row["title"] for row in by_meaning]


def test_results_are_found_by_words_alone_and_among_none_at_all(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for title in ("Weather in Oslo", "Meeting notes"):
        Result.objects.create(owner=alice, kind="summary", title=title, summary=title)
    monkeypatch.setattr("chains.recall.embed_query", lambda q: None)
    assert [hit.result.title for hit in search_results("oslo", results=Result.objects.all())] == ["Weather in Oslo"]
    assert search_results("lisbon", results=Result.objects.all()) == []
    assert search_results("oslo", results=Result.objects.none()) == []


def test_a_search_of_results_keeps_to_the_limits_of_its_list(alice: User, api: APIClient) -> None:
    for title in ("Oak planks", "Oak boards"):
        Result.objects.create(owner=alice, kind="summary", title=title, summary="From Holm & Sons.")
    assert [len(api.get(f"/results?q=oak{more}").json()["results"]) for more in ("", "&limit=1")] == [2, 1]
    for wrong in ("limit=0", "limit=-5.04e-51", "limit=false", "cursor=1%C2%B8"):
        assert api.get(f"/results?q=oak&{wrong}").status_code == 400
