"""What a message may cost, who is asked, and who takes over."""

import pytest
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from chat.llm import Usage
from chat.prices import cost_of
from registry.models import Server
from tests.chat.conftest import Say, draft, step
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = draft(step("s1", "text.shout", text="a"))
A_PLAN = draft(step("s1", "text.upper", text="a"))
UPPER = "Turn “a” into capital letters with upper"
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}


@pytest.fixture
def second(settings: Settings, model: Toy) -> str:
    """Another provider, which nobody listens for until a test says so."""
    settings.COMPATIBLE_BASE_URL, settings.COMPATIBLE_MODEL = "http://127.0.0.1:9/v1", "other"
    return "compatible"


def test_model_calls_of_a_message_are_limited_and_the_answer_says_so(
    say: Say, model: Toy, text: Server, settings: Settings
) -> None:
    settings.CHAT_MAX_MODEL_CALLS = 1
    model.script([A_PLAN, {"text": "never asked for"}])
    turn = say(UPPER)
    assert len(model.requests()) == 1
    assert turn.run.status == "succeeded"
    assert "budget of 1 model calls" in turn.answer.note
    assert "text.upper" in turn.answer.content


def test_a_budget_that_ends_amid_corrections_refuses_the_plan_and_says_why(
    say: Say, model: Toy, text: Server, settings: Settings
) -> None:
    settings.CHAT_MAX_MODEL_CALLS = 2
    model.script([WRONG] * 3)
    turn = say("Shout a")
    assert len(model.requests()) == 2
    assert turn.run.error["code"] == "plan_invalid"
    assert "budget of 2 model calls" in turn.answer.content


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("CHAT_MAX_TOKENS", 1_000_000, "1,000,000 tokens"), ("CHAT_MAX_COST_USD", 3.0, "3.00 US dollars")],
)
def test_tokens_and_cost_are_limited(
    say: Say, model: Toy, text: Server, settings: Settings, setting: str, value: float, words: str
) -> None:
    settings.CHAT_MAX_TOKENS = 10_000_000
    settings.OPENAI_MODEL = "gpt-4o"
    setattr(settings, setting, value)
    model.script([A_PLAN | {"usage": USAGE}])
    assert words in say(UPPER).answer.note


def test_steps_of_a_message_are_limited(say: Say, model: Toy, text: Server, settings: Settings) -> None:
    settings.CHAT_MAX_STEPS = 1
    two = draft(step("s1", "text.upper", text="a"), step("s2", "text.reverse", text="b"))
    model.script([two, A_PLAN, {"text": "A."}])
    assert say(UPPER).run.tool_runs.count() == 1
    assert "at most 1 steps" in model.requests()[1]["messages"][-1]["content"]


def test_tokens_and_cost_are_told_per_message_and_per_run(
    say: Say, model: Toy, text: Server, settings: Settings, api: APIClient
) -> None:
    settings.OPENAI_MODEL, settings.CHAT_MAX_COST_USD, settings.CHAT_MAX_TOKENS = "gpt-4o", 100, 10_000_000
    model.script([A_PLAN | {"usage": USAGE}, {"text": "A.", "usage": USAGE}])
    turn = say(UPPER)
    shown = api.get(f"/chat/{turn.run.conversation_id}").json()
    assert [message["cost_usd"] for message in shown["messages"]] == [3.5, 3.5]
    usage = {"model_calls": 2, "input_tokens": 2_000_000, "output_tokens": 200_000, "cost_usd": 7.0}
    assert shown["runs"][0]["usage"] == usage


def test_the_cost_of_a_model_nobody_priced_is_not_made_up(
    say: Say, model: Toy, text: Server, settings: Settings, api: APIClient
) -> None:
    model.script([A_PLAN, {"text": "A."}])
    turn = say(UPPER)
    assert turn.answer.cost_usd is None
    assert cost_of("gpt-4o-2024-08-06", Usage(1_000_000, 0)) == cost_of("gpt-4o", Usage(1_000_000, 0))
    assert cost_of("gpt-4o-mini", Usage(1_000_000, 0)) != cost_of("gpt-4o", Usage(1_000_000, 0))
    settings.LLM_PRICES = "scripted=1/2"
    assert cost_of("scripted", Usage(1_000_000, 1_000_000)) == 3


@pytest.mark.parametrize("name", ["claude-opus-4-9", "gpt-4o-audio-preview", "gpt-4", "my-gpt-4o"])
def test_no_price_is_taken_from_a_similar_name(name: str) -> None:
    assert cost_of(name, Usage(1_000_000, 1_000_000)) is None


def test_ones_own_prices_go_before_the_list_and_a_slip_in_one_costs_only_that_one(settings: Settings) -> None:
    settings.LLM_PRICES = "cheap=a/b, gpt-4o = 1/1,claude-sonnet-4-5=0/0"
    million = Usage(1_000_000, 1_000_000)
    assert (cost_of("gpt-4o", million), cost_of("claude-sonnet-4-5", million), cost_of("cheap", million)) == (
        2,
        0,
        None,
    )


def test_where_the_model_fails_the_other_provider_takes_over_and_the_note_says_so(
    say: Say, model: Toy, text: Server, settings: Settings, second: str
) -> None:
    settings.LLM_PROVIDER, settings.LLM_FALLBACK = second, "openai"
    model.script([A_PLAN, {"text": "It is A."}])
    turn = say(UPPER)
    assert (turn.answer.content, turn.answer.provider) == ("It is A.", "openai")
    assert "The model other could not be reached" in turn.question.planning["note"]


def test_a_conversation_is_held_with_the_provider_chosen_for_it(
    say: Say, model: Toy, text: Server, settings: Settings, second: str
) -> None:
    settings.COMPATIBLE_BASE_URL = model.url
    model.script([A_PLAN, {"text": "It is A."}, A_PLAN, {"text": "Still A."}])
    first = say(UPPER, provider=second)
    again = say(UPPER, conversation_id=str(first.run.conversation_id))
    assert (first.answer.provider, again.answer.provider) == (second, second)
    assert {request["model"] for request in model.requests()} == {"other"}


def test_the_provider_of_a_conversation_can_be_changed_to_one_that_is_set_up(
    say: Say, model: Toy, api: APIClient
) -> None:
    model.script([{"text": "Hello."}])
    path = f"/chat/{say('Hello').run.conversation_id}"
    assert api.patch(path, {"provider": "offline", "pinned": True}).data["provider"] == "offline"
    refused = api.patch(path, {"provider": "anthropic"})
    assert refused.status_code == 400
    assert "not set up" in refused.json()["error"]["message"]
    assert api.get(path).json()["pinned"] is True
