"""The editor of a plan: its JSON is the truth, cards and fields are drawn from it and read back into it.

A form carries the plan twice: as the text a person may change (`plan`), and as it was drawn (`shown`). Where they
differ the text was changed and is read; else the fields of the cards are. A text that is no JSON stays as typed.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict

from chains.drawing import Drawing, drawing_of_steps
from chains.editing import EMPTY, PlanData, dependants, done, input_properties, names_of, object_of, steps_of
from chains.editor_fields import ABSENT, INPUT, STEP, Choice, Group, ValueField, value_field
from chains.editor_reading import Reading, like, parameters, toolbox_of
from chains.plan import Problem, Step, Toolbox, check, errors, pointer_to, pointers_seen
from registry.models import Policy
from registry.schema_forms import JsonField

MAX_POINTERS = 30
MAX_INSTEAD = 3  # tools offered in the place of one that is gone
MAX_CARRIES = 4
POLICIES = [("", "as its tool says"), (Policy.AUTO, "never ask"), (Policy.ASK, "always ask")]
TYPES = ("string", "integer", "number", "boolean", "array", "object")


@dataclass(frozen=True, slots=True)
class Carry:
    """An argument the tool does not know any more, and one it wants now: what was given may be meant for it."""

    old: str
    new: str
    value: str  # of the button


@dataclass(slots=True)
class StepCard:
    index: int
    id: str
    server: str
    tool: str
    description: str
    arguments: list[ValueField]
    waits: list[tuple[str, bool]]  # another step, is it waited for by name
    approval: str
    timeout_s: Any
    retries: Any
    problems: list[Problem]
    instead: list[str] = field(default_factory=list)  # tools like the one that is not there
    carries: list[Carry] = field(default_factory=list)


@dataclass(slots=True)
class InputRow:
    key: str
    name: str
    type: str
    required: bool
    default: str
    description: str


@dataclass(slots=True)
class Editor:
    """A plan as the editor shows it."""

    data: PlanData
    user: User
    text: str = ""  # what stands in the JSON view where it is not the plan
    text_error: str = ""
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)  # key → kind and text that could not be read
    unread: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(init=False, default_factory=list)
    toolbox: Toolbox = field(init=False)
    groups: dict[int, Group] = field(init=False, default_factory=dict)  # what each step gives to refer to, once asked

    def __post_init__(self) -> None:
        self.toolbox = toolbox_of(self.data, self.user)
        self.problems = [*self.unread, *check(self.data, user=self.user)[1]] if self.steps else []

    @property
    def steps(self) -> list[dict[str, Any]]:
        return steps_of(self.data)

    @property
    def json(self) -> str:
        return json.dumps(ordered(self.data), indent=2, ensure_ascii=False)

    @property
    def shown_text(self) -> str:
        return self.text if self.text_error else self.json

    @property
    def drawing(self) -> Drawing:
        """Steps that keep it from running are drawn as such."""
        steps = [like(step, index) for index, step in enumerate(self.steps)]
        drawn = drawing_of_steps(steps)
        troubled = {str(step.get("id")) for index, step in enumerate(self.steps) if errors(self._problems_at(index))}
        columns = [
            [replace(card, state="failed") if card.step in troubled else card for card in column]
            for column in drawn.columns
        ]
        return replace(drawn, columns=columns)

    @property
    def cards(self) -> list[StepCard]:
        return [self._card(index, step) for index, step in enumerate(self.steps)]

    @property
    def other_problems(self) -> list[Problem]:
        return [problem for problem in self.problems if step_index(problem.path) is None]

    def _problems_at(self, index: int) -> list[Problem]:
        return [problem for problem in self.problems if step_index(problem.path) == index]

    def _card(self, index: int, step: Mapping[str, Any]) -> StepCard:
        needs = step.get("needs") if isinstance(step.get("needs"), list) else []
        others = [name for name in names_of(self.steps) if name != step.get("id")]
        tool = self.toolbox.tool(like(step, index))
        return StepCard(
            index=index,
            id=str(step.get("id", "")),
            server=str(step.get("server", "")),
            tool=str(step.get("tool", "")),
            description=tool.description if tool else "",
            arguments=list(self._arguments(index, step)),
            waits=[(name, name in (needs or [])) for name in others],
            approval=str(step.get("approval", "")),
            timeout_s=step.get("timeout_s", ""),
            retries=step.get("retries", ""),
            problems=self._problems_at(index),
            instead=self._instead(like(step, index)),
            carries=list(self._carries(index, step)),
        )

    def _instead(self, step: Step) -> list[str]:
        server = self.toolbox.servers.get(step.server)
        if server is None or self.toolbox.tool(step):
            return []
        return difflib.get_close_matches(step.tool, self.toolbox.names(server), MAX_INSTEAD, cutoff=0.5)

    def _carries(self, index: int, step: Mapping[str, Any]) -> Iterator[Carry]:
        tool = self.toolbox.tool(like(step, index))
        declared = object_of(tool.input_schema, "properties") if tool and isinstance(tool.input_schema, dict) else {}
        given = object_of(step, "arguments")
        wanted = [name for name, _, required in parameters(self.toolbox, step, index) if required and name not in given]
        unknown = [name for name in given if declared and name not in declared]
        for old, new in [(old, new) for old in unknown for new in wanted][:MAX_CARRIES]:
            yield Carry(old, new, f"carry:{index}/{json.dumps([old, new])}")

    def _arguments(self, index: int, step: Mapping[str, Any]) -> Iterator[ValueField]:
        given = step.get("arguments") if isinstance(step.get("arguments"), dict) else {}
        groups = self._references(index)
        for position, (name, schema, required) in enumerate(parameters(self.toolbox, step, index)):
            value = (given or {}).get(name, ABSENT)
            key = f"a{index}-{position}"
            yield value_field(key, name, value, schema, groups, required=required, refused=self.refused)

    def _references(self, index: int | None = None) -> list[Group]:
        """What a value may refer to: results of the other steps (those that do not wait for it), and the inputs."""
        later = dependants(self.steps, index) if index is not None else set()
        groups = [
            self._results(position, step)
            for position, step in enumerate(self.steps)
            if isinstance(step.get("id"), str) and step["id"] and position != index and step["id"] not in later
        ]
        names = [Choice(INPUT + pointer_to(name), f"{name} (input)") for name in input_properties(self.data)]
        return [*groups, Group("Inputs", names)] if names else groups

    def _results(self, position: int, step: Mapping[str, Any]) -> Group:
        if position not in self.groups:
            label = f"Result of {step['id']} ({step.get('tool', '')})"
            self.groups[position] = Group(label, self._pointers(position, step))
        return self.groups[position]

    def _pointers(self, index: int, step: Mapping[str, Any]) -> list[Choice]:
        """By what its tool declares; where it declares nothing, by what it gave this person lately."""
        tool, name = self.toolbox.tool(like(step, index)), step["id"]
        declared = list(pointers_in(tool.output_schema if tool else None, "/json"))
        is_guess = tool is not None and tool.output_schema is None
        seen = [f"/json{part}" for part in pointers_seen(self.toolbox.seen(tool))] if tool and is_guess else []
        parts = [(part, "") for part in ["/text", "/json", *declared]] + [(part, ", as lately") for part in seen]
        return [
            Choice(f"{STEP}{name}#{part}", f"{name}: {part.strip('/')}{note}")
            for part, note in parts[: MAX_POINTERS + 2]
        ]

    @property
    def inputs(self) -> list[InputRow]:
        schema = self.data.get("inputs")
        required = schema.get("required", []) if isinstance(schema, dict) else []
        return [
            InputRow(
                f"i{position}",
                name,
                str(part.get("type", "string")),
                name in required,
                default_text(part),
                str(part.get("description", "")),
            )
            for position, (name, part) in enumerate(input_properties(self.data).items())
        ]

    @property
    def outputs(self) -> list[ValueField]:
        return [
            value_field(f"o{position}", name, value, {}, self._references(), required=True, refused=self.refused)
            for position, (name, value) in enumerate(object_of(self.data, "outputs").items())
        ]

    @property
    def verdict(self) -> str:
        """In a few words: can it run?"""
        wrong = len(errors(self.problems))
        if not self.steps:
            return "No steps yet"
        if wrong:
            return "1 problem keeps it from running" if wrong == 1 else f"{wrong} problems keep it from running"
        return "It can run, with a doubt" if self.problems else "It can run"

    @property
    def is_ready(self) -> bool:
        return bool(self.steps) and not errors(self.problems) and not self.text_error

    @property
    def slots(self) -> str:
        """Where problems stand, for a change that leaves the fields alone."""
        fixed = ["#drawn", "#other-problems", "#plan-json", "#verdict"]
        return ",".join([*fixed, *(f"#said-{index}" for index in range(len(self.steps)))])


def ordered(data: PlanData) -> PlanData:
    """As a person would write it: a database keeps the keys of an object in an order of its own."""
    plan = _first(data, ("version", "inputs", "steps", "outputs"))
    if isinstance(data.get("steps"), list):
        names = ("id", "server", "tool", "arguments")
        plan["steps"] = [_first(step, names) if isinstance(step, dict) else step for step in data["steps"]]
    return plan


def _first(value: PlanData, names: Sequence[str]) -> PlanData:
    return {name: value[name] for name in [*(name for name in names if name in value), *value]}


def edited(posted: QueryDict, user: User) -> Editor:
    """The plan after what was typed and what was pressed."""
    shown, text = posted.get("shown", ""), posted.get("plan", "").replace("\r\n", "\n")
    data, deed = parsed(shown)[0] or EMPTY, posted.get("do", "")
    if text.strip() != shown.replace("\r\n", "\n").strip() and deed != "cards":
        read, error = parsed(text)
        if read is None:
            return Editor(data, user, text=text, text_error=error)
        return Editor(done(read, deed), user)
    reading = Reading(data, posted, user)
    return Editor(done(reading.plan(), deed), user, refused=reading.refused, unread=reading.problems)


def parsed(text: str) -> tuple[PlanData | None, str]:
    try:
        data = JsonField().clean(text)
    except ValidationError as error:
        return None, str(error.messages[0])
    return (data, "") if isinstance(data, dict) else (None, "A plan is a JSON object.")


def step_index(path: str) -> int | None:
    parts = path.split("/")
    return int(parts[2]) if len(parts) > 2 and parts[1] == "steps" and parts[2].isdecimal() else None


def pointers_in(schema: Any, path: str, depth: int = 0) -> Iterator[str]:
    """Where the parts of a result are, two levels deep."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or depth > 1:
        return
    for name, part in properties.items():
        yield path + pointer_to(name)
        yield from pointers_in(part, path + pointer_to(name), depth + 1)


def default_text(part: Mapping[str, Any]) -> str:
    if "default" not in part:
        return ""
    value = part["default"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
