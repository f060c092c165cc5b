"""What the evaluation of plans asks, over the demo servers, and which plan is right."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["one step", "two steps", "no tool", "missing argument"]

WRITE = "filesystem.write_file"
READ = "filesystem.read_text_file|filesystem.read_file"
LIST = "filesystem.list_directory|filesystem.list_directory_with_sizes|filesystem.directory_tree"


@dataclass(frozen=True, slots=True)
class Question:
    """`steps`: tools in order, alternatives by `|`. `arguments`: a pattern that the JSON of each step's arguments must
    hold. `asked`: arguments of which one must be asked for."""

    kind: Kind
    text: str
    steps: Sequence[str] = ()
    arguments: Sequence[str] = ()
    asked: Sequence[str] = ()


def one(text: str, tool: str, arguments: str = "") -> Question:
    return Question("one step", text, [tool], [arguments])


def two(text: str, first: str, second: str, *arguments: str) -> Question:
    return Question("two steps", text, [first, second], arguments)


def plain(text: str) -> Question:
    return Question("no tool", text)


def lacking(text: str, tool: str, *asked: str) -> Question:
    return Question("missing argument", text, [tool], asked=asked)


QUESTIONS = [
    one("What time is it in Tokyo right now?", "time.get_current_time", "Asia/Tokyo"),
    one(
        "When it is 09:30 in Berlin, what time is it in New York?",
        "time.convert_time",
        "(?=.*Europe/Berlin)(?=.*0?9:30)(?=.*America/New_York)",
    ),
    one("Fetch https://example.com/", "fetch.fetch", r"https://example\.com"),
    one("Echo the words hello there", "everything.echo", "hello there"),
    one("Add 17 and 25 with the sum tool", "everything.get-sum|everything.add", "(?=.*17)(?=.*25)"),
    one("Read the file notes/todo.txt", READ, r"notes/todo\.txt"),
    one("List what is in the folder reports", LIST, "reports"),
    one("Show the last 5 commits of the repository demo-repository", "git.git_log", "(?=.*demo-repository)(?=.*5)"),
    one("Create a folder called invoices", "filesystem.create_directory", "invoices"),
    one("Search my memory graph for Ada", "memory.search_nodes|memory.open_nodes", "Ada"),
    one("What is the git status of demo-repository?", "git.git_status", "demo-repository"),
    two("What time is it in Lisbon? Save it in lisbon.txt", "time.get_current_time", WRITE, "Europe/Lisbon", "lisbon"),
    two("Fetch https://example.com/ and write what it says to page.md", "fetch.fetch", WRITE, "example", r"page\.md"),
    two("Read draft.txt and echo its contents", READ, "everything.echo", r"draft\.txt", ""),
    two("Add 4 and 9 and save the sum in sum.txt", "everything.get-sum|everything.add", WRITE, "4.*9", r"sum\.txt"),
    two("Read city.txt and save its text as copy.txt", READ, WRITE, r"city\.txt", r"copy\.txt"),
    two("Show the git log of demo-repository and write it to history.txt", "git.git_log", WRITE, "demo", "history"),
    two("List the folder reports and store the listing in listing.txt", LIST, WRITE, "reports", r"listing\.txt"),
    two("Get the git status of demo-repository and put it in status.txt", "git.git_status", WRITE, "demo", "status"),
    plain("Hello, who are you?"),
    plain("Thanks, that was helpful!"),
    plain("What is the difference between a list and a tuple in Python?"),
    plain("Write me a two-line poem about autumn"),
    plain("How do you say good morning in French?"),
    plain("Explain in one sentence what a time zone is"),
    lacking("Write a file for me", WRITE, "path", "content"),
    lacking("What time will it be somewhere else when it is 15:00 in Berlin?", "time.convert_time", "target_timezone"),
    lacking("Fetch the web page I told you about", "fetch.fetch", "url"),
    lacking("Read the file", READ, "path"),
    lacking("Rename report.txt", "filesystem.move_file", "destination"),
]


def is_right(question: Question, plan: Mapping[str, Any] | None, form: Mapping[str, Any] | None, missing: str) -> bool:
    """`plan`: what would run. `form`: what is asked for before, with its plan. `missing`: what is asked in words."""
    match question.kind:
        case "no tool":
            return plan is None and form is None and not missing
        case "missing argument":
            names = [name.rpartition("_")[2] if name[:1] == "s" and "_" in name else name for name in asked_in(form)]
            told = {*names, *asked_in(form)} & set(question.asked)
            return plan is None and (bool(told) or any(name in missing for name in question.asked))
    return plan is not None and fits(question, plan["steps"])


def asked_in(form: Mapping[str, Any] | None) -> list[str]:
    return list(form["schema"]["properties"]) if form else []


def fits(question: Question, steps: Sequence[Mapping[str, Any]]) -> bool:
    if len(steps) != len(question.steps):
        return False
    for step, tools, pattern in zip(steps, question.steps, question.arguments, strict=True):
        called, arguments = f"{step['server']}.{step['tool']}", json.dumps(step["arguments"], ensure_ascii=False)
        if called not in tools.split("|") or not re.search(pattern, arguments, re.IGNORECASE):
            return False
    return len(steps) < 2 or f"{steps[0]['id']}#" in json.dumps(steps[1]["arguments"])
