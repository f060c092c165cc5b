"""The planner without a model: what it makes of a sentence and the tools at hand, and what it says."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django.fixtures import Settings

from chat import offline
from registry.models import Server, Tool
from tests.chains.conftest import computing_for
from tests.chat.conftest import Say, connected
from tests.toys import Toy

TEXT = {"type": "string"}


def tool(name: str, description: str, *needed: str, output: dict[str, Any] | None = None, **properties: Any) -> Tool:
    """`tool("time.now", "Get the time", "zone", zone={"type": "string"})`: what is needed is required."""
    server, _, own_name = name.partition(".")
    schema = {"type": "object", "properties": dict.fromkeys(needed, TEXT) | properties, "required": list(needed)}
    return Tool(
        pk=abs(hash(name)),
        server=Server(slug=server, name=server),
        name=own_name,
        description=description,
        input_schema=schema,
        output_schema=output,
    )


TOOLS = [
    tool("time.get_current_time", "Get current time in a specific timezone", "timezone"),
    tool("time.convert_time", "Convert time between timezones", "source_timezone", "time", "target_timezone"),
    tool("files.write_file", "Create or overwrite a file with text", "path", "content"),
    tool("files.read_file", "Read a file as text", "path"),
    tool("files.list_files", "List the files of the folder"),
    tool("web.fetch", "Fetch a web page", "url", max_length={"type": "integer", "default": 5000}),
    tool("mail.send_email", "Send an email", "to_email", "subject", "body"),
    tool("math.add", "Add two numbers", a={"type": "number"}, b={"type": "number"}),
    tool("units.convert_units", "Convert a length", "unit", unit={"enum": ["metres", "feet"]}),
]
TOOLS[7].input_schema["required"] = ["a", "b"]


def planned(message: str) -> list[tuple[str, dict[str, Any]]]:
    found = offline.plan(message, TOOLS)
    return [(f"{step['server']}.{step['tool']}", step["arguments"]) for step in found.steps]


def test_a_question_and_where_to_save_it_make_two_steps_with_a_reference() -> None:
    assert planned("What time is it in Tokyo? Save it in tokyo.txt") == [
        ("time.get_current_time", {"timezone": "Asia/Tokyo"}),
        ("files.write_file", {"path": "tokyo.txt", "content": {"$ref": "s1#/text"}}),
    ]


def test_one_sentence_may_need_two_tools() -> None:
    assert planned("Save the time in Rome to rome.txt") == [
        ("time.get_current_time", {"timezone": "Europe/Rome"}),
        ("files.write_file", {"path": "rome.txt", "content": {"$ref": "s1#/text"}}),
    ]


def test_from_and_to_say_which_zone_is_which() -> None:
    arguments = {"source_timezone": "America/New_York", "time": "14:30", "target_timezone": "Asia/Kolkata"}
    assert planned("Convert 2:30pm from New York to Asia/Kolkata") == [("time.convert_time", arguments)]


@pytest.mark.parametrize(
    ("message", "name", "arguments"),
    [
        ("Write 'hello world' to hello.txt", "files.write_file", {"path": "hello.txt", "content": "hello world"}),
        ("Read notes/today.md", "files.read_file", {"path": "notes/today.md"}),
        ("List the files", "files.list_files", {}),
        ("Fetch https://example.org/a?b=c.", "web.fetch", {"url": "https://example.org/a?b=c"}),
        ("Add 3 and 4.5", "math.add", {"a": 3, "b": 4.5}),
        ("Convert the length to feet", "units.convert_units", {"unit": "feet"}),
        ("What time is it in UTC", "time.get_current_time", {"timezone": "UTC"}),
    ],
)
def test_arguments_come_from_the_words(message: str, name: str, arguments: dict[str, Any]) -> None:
    assert planned(message) == [(name, arguments)]


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("What time is it?", ["timezone"]),
        ("Write a file", ["path", "content"]),
        ("Send an email to ann@example.org", ["subject", "body"]),
    ],
)
def test_what_nobody_said_is_asked_for_by_name(message: str, names: list[str]) -> None:
    found = offline.plan(message, TOOLS)
    assert found.inputs["required"] == names
    (step,) = found.steps
    assert [step["arguments"][name] for name in names] == [{"$input": f"/{name}"} for name in names]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("on 24 December 2026", "2026-12-24"),
        ("on December 24th, 2026", "2026-12-24"),
        ("on 2026-12-24", "2026-12-24"),
        ("on the 3rd of May 2027", "2027-05-03"),
    ],
)
def test_dates_are_read_as_people_write_them(said: str, meant: str) -> None:
    book = tool("hotel.book_room", "Book a hotel room", "date", date={"type": "string", "format": "date"})
    (step,) = offline.plan(f"Book a hotel room {said}", [book]).steps
    assert step["arguments"] == {"date": meant}


def test_tomorrow_is_the_day_after_today() -> None:
    book = tool("hotel.book_room", "Book a hotel room", "date", date={"type": "string", "format": "date"})
    (step,) = offline.plan("Book a hotel room for tomorrow", [book]).steps
    assert step["arguments"]["date"] == (timezone.now().date() + timedelta(days=1)).isoformat()


def test_what_one_tool_needs_and_one_other_returns_makes_two_steps() -> None:
    weather = tool("weather.forecast", "Weather forecast for a place", "station_id")
    stations = tool(
        "places.lookup", "Look up a station", "name", output={"type": "object", "properties": {"station_id": TEXT}}
    )
    found = offline.plan("Weather forecast for Oslo", [weather, stations])
    assert [step["tool"] for step in found.steps] == ["lookup", "forecast"]
    assert found.steps[1]["arguments"] == {"station_id": {"$ref": "s1#/json/station_id"}}


@pytest.mark.parametrize("message", ["Hello, how are you?", "2+2", "…", "Warum ist der Himmel blau?"])
def test_words_no_tool_shares_make_no_plan(message: str) -> None:
    found = offline.plan(message, TOOLS)
    assert (found.steps, found.inputs) == ([], {})


def test_a_field_another_tool_declares_is_passed_on_with_its_type() -> None:
    weather = {"type": "object", "properties": {"celsius": {"type": "number"}}}
    tools = [
        tool("weather.weather_of", "Weather of a city", "city", output=weather),
        tool("units.to_fahrenheit", "Convert celsius to fahrenheit", "celsius", celsius={"type": "number"}),
    ]
    steps = offline.plan("Weather of Oslo, then convert celsius to fahrenheit", tools).steps
    assert [step["arguments"] for step in steps] == [{"city": "Oslo"}, {"celsius": {"$ref": "s1#/json/celsius"}}]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": "odd", "required": "path"},
        {"properties": {"path": None}, "required": [1, "path"]},
        {"properties": {"path": {"$ref": "#/$defs/p"}}, "$defs": {"p": {"$ref": "#/$defs/p"}}, "required": ["path"]},
        {"properties": {"path": {"type": ["null", "string"], "enum": []}}, "required": ["path"]},
        {"properties": {"path": True}, "required": ["path"]},
    ],
)
def test_schemas_that_make_no_sense_do_no_harm(schema: dict[str, Any]) -> None:
    odd = tool("files.write_file", "Write a file")
    odd.input_schema = schema
    offline.plan("Write a file called a.txt", [odd])


@pytest.mark.parametrize("part", ["'", "from ", "a.b", "New ", "1:", "/", "a/", "12 ", "a@b.", "* "])
def test_long_odd_messages_are_read_in_a_moment(part: str) -> None:
    with computing_for(3):
        offline.plan(part * (30_000 // len(part)), TOOLS)


@pytest.mark.django_db(transaction=True)
def test_a_turn_without_a_model_runs_and_says_that_none_is_connected(
    say: Say, settings: Settings, text: Server, files: Server, toy_files: Toy
) -> None:
    settings.LLM_PROVIDER = "offline"
    turn = say("Turn 'hello' around with reverse, then save it in olleh.txt")
    assert turn.run.status == "succeeded"
    assert (toy_files.root / "olleh.txt").read_text() == "olleh"
    assert turn.run.plan["steps"][1]["arguments"]["content"] == {"$ref": "s1#/text"}
    assert "olleh" in turn.answer.content
    assert "No language model is connected" in turn.answer.content
    assert (turn.answer.provider, turn.answer.output_tokens) == ("offline", 0)
    assert turn.told == turn.answer.content


@pytest.mark.django_db(transaction=True)
def test_a_turn_without_a_model_asks_for_what_it_needs(say: Say, settings: Settings, files: Server) -> None:
    settings.LLM_PROVIDER = "offline"
    turn = say("Write a file")
    assert (turn.run.status, turn.run.plan) == ("awaiting_approval", None)
    assert "`path`" in turn.answer.content
    assert "`content`" in turn.answer.content


@pytest.mark.django_db(transaction=True)
def test_without_authorised_tools_the_way_to_some_is_shown(say: Say, settings: Settings) -> None:
    settings.LLM_PROVIDER = "offline"
    turn = say("What time is it in Tokyo?")
    assert "(/servers)" in turn.answer.content
    assert "(/account)" in turn.answer.content


@pytest.mark.django_db(transaction=True)
def test_among_many_tools_search_finds_the_right_ones(
    say: Say, settings: Settings, alice: User, toy_many: Toy, text: Server
) -> None:
    settings.LLM_PROVIDER = "offline"
    connected(alice, toy_many, "many")
    turn = say("Turn 'hello' around with reverse")
    assert len(turn.question.planning["tools"]) <= 12
    assert turn.result("s1")["text"] == "olleh", json.dumps(turn.run.plan)


@pytest.mark.django_db(transaction=True)
def test_among_many_tools_other_words_for_a_deed_are_found(
    say: Say, settings: Settings, alice: User, toy_many: Toy, files: Server
) -> None:
    settings.LLM_PROVIDER = "offline"
    connected(alice, toy_many, "many")
    turn = say("Save 'hello' in hello.txt")
    assert turn.question.planning["tools"][0] == "files.write_file"
    assert len(turn.question.planning["tools"]) == 12
