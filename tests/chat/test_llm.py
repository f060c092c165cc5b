"""Models of each provider over their real protocols, and their errors as ours."""

import time
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pytest_django.fixtures import Settings

from chat.background import items_of
from chat.llm import ChatModel, ModelError, Usage, chat_model
from chat.metering import Meter, MeteredModel
from tests.toys import Toy

ASK = [HumanMessage("Plan it.")]
CLOSED: dict[str, Any] = {"type": "object", "properties": {"say": {"type": "string"}}, "required": ["say"]}
OPEN: dict[str, Any] = {"type": "object", "properties": {"say": {}}, "required": ["say"]}
USAGE = {"prompt_tokens": 11, "completion_tokens": 5}


@pytest.fixture(params=["openai", "anthropic", "compatible"])
def provider(request: pytest.FixtureRequest, model: Toy, settings: Settings) -> str:
    settings.LLM_PROVIDER = request.param
    settings.ANTHROPIC_API_KEY, settings.ANTHROPIC_BASE_URL = "test-key", model.base
    settings.ANTHROPIC_MODEL = "claude-test"
    settings.COMPATIBLE_BASE_URL, settings.COMPATIBLE_MODEL = model.url, "local"
    return str(request.param)


def known_model() -> ChatModel:
    model = chat_model()
    assert model is not None
    return model


def heard() -> tuple[str, Usage]:
    """A streamed reply, put together."""
    text, usage = "", Usage()
    for piece, cost in known_model().stream(ASK):
        text, usage = text + piece, usage + cost
    return text, usage


def asked(schema: dict[str, Any]) -> tuple[str, Usage]:
    return known_model().ask(ASK, schema=schema)


def test_a_reply_is_streamed_and_counted(provider: str, model: Toy) -> None:
    model.script([{"text": "It is four o'clock.", "usage": USAGE}])
    assert heard() == ("It is four o'clock.", Usage(11, 5))


def test_no_piece_that_is_handed_on_is_empty(provider: str, model: Toy) -> None:
    """The first of many a model is, and would make the first word wait for the next time to tell pieces."""
    model.script([{"text": "Forty two"}])
    pieces = list(MeteredModel([known_model()], Meter()).stream(ASK))
    assert "".join(pieces) == "Forty two"
    assert all(pieces)


def test_a_plan_is_asked_for_by_schema(provider: str, model: Toy) -> None:
    model.script([{"json": {"say": "I do"}, "usage": USAGE}])
    assert asked(CLOSED) == ('{"say": "I do"}', Usage(11, 5))
    request = model.requests()[0]
    wanted = request["output_config"]["format"] if provider == "anthropic" else request["response_format"]
    assert wanted["type"] == "json_schema"
    assert "say" in str(wanted)


def test_a_schema_with_open_ends_does_not_stop_anybody(provider: str, model: Toy) -> None:
    model.script([{"json": {"say": "I do"}}])
    assert asked(OPEN)[0] == '{"say": "I do"}'


@pytest.mark.parametrize(
    ("status", "clause", "retryable"),
    [
        (400, "did not accept the request", False),
        (401, "refused the API key", False),
        (403, "does not let this API key", False),
        (404, "does not know the model or the address", False),
        (429, "over its rate limit", True),
        (500, "problem of its own", True),
        (529, "problem of its own", True),
    ],
)
def test_errors_become_ours(provider: str, model: Toy, status: int, clause: str, retryable: bool) -> None:
    model.script([{"status": status, "retry_after": 0.01, "message": "no"}] * 3)
    with pytest.raises(ModelError, match=clause) as caught:
        asked(CLOSED)
    assert caught.value.retryable is retryable
    assert len(model.requests()) == (3 if retryable else 1)


def test_a_stream_that_is_cut_is_an_error_worth_retrying(provider: str, model: Toy) -> None:
    model.script([{"text": "It is four o'clock.", "break_after": 2}])
    with pytest.raises(ModelError, match="broke off") as caught:
        heard()
    assert caught.value.retryable


def test_a_stream_with_something_unreadable_in_it_is_an_error_worth_retrying(provider: str, model: Toy) -> None:
    model.script([{"text": "It is four o'clock.", "garbage_after": 2}])
    with pytest.raises(ModelError, match="cannot be read") as caught:
        heard()
    assert caught.value.retryable


def test_a_busy_model_is_asked_again_after_as_long_as_it_says(provider: str, model: Toy) -> None:
    model.script([{"status": 529, "retry_after": 1.2}, {"json": {"say": "I do"}}])
    started = time.monotonic()
    assert asked(CLOSED)[0] == '{"say": "I do"}'
    assert 1.2 <= time.monotonic() - started < 8


def test_a_model_nobody_listens_for_is_named(provider: str, settings: Settings) -> None:
    settings.OPENAI_BASE_URL = settings.COMPATIBLE_BASE_URL = "http://127.0.0.1:9/v1"
    settings.ANTHROPIC_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(ModelError, match="could not be reached"):
        asked(CLOSED)


def test_a_key_never_stands_in_an_error(provider: str, model: Toy) -> None:
    model.script([{"status": 400, "message": "bad key sk-abc123-secret"}])
    with pytest.raises(ModelError) as caught:
        asked(CLOSED)
    assert "abc123" not in caught.value.message


def test_a_line_that_is_cut_ends_a_silent_call_and_its_other_tries(provider: str, model: Toy) -> None:
    model.script([{"text": "never", "delay_s": 30}] * 3)
    items = items_of(partial(known_model().stream, ASK), every_s=0.05)
    while not model.requests():
        assert next(items) == []
    started = time.monotonic()
    items.close()
    while model.get("/left") != 1:
        assert time.monotonic() - started < 5
    assert len(model.requests()) == 1


def test_a_page_instead_of_a_reply_is_an_error(model: Toy, settings: Settings) -> None:
    settings.OPENAI_BASE_URL = model.base + "/unused?"
    with pytest.raises(ModelError):
        asked(CLOSED)


def test_an_unknown_provider_is_named(settings: Settings) -> None:
    settings.LLM_PROVIDER = "parrot"
    with pytest.raises(ModelError, match="parrot"):
        chat_model()
