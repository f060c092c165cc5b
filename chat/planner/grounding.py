"""Does an address, a file or a folder in a draft come from anywhere? A model told of none likes to make one up."""

import json
import re
from collections.abc import Iterator, Sequence

from chains.plan import Problem, pointer_to
from chat.drafts import Draft
from chat.memory import Recalled
from chat.offline.arguments import wanted
from chat.planner.state import SoFar
from chat.schemas import required
from registry.models import Tool

INVENTED = "invented_argument"
NEVER_GUESSED = {"url", "email", "file", "folder"}
_WORD = re.compile(r"[^\W_]+")
_SAY_NOTHING = {
    "http",
    "https",
    "www",
    "com",
    "org",
    "net",
    "html",
    "txt",
    "md",
    "file",
    "folder",
    "path",
    "home",
    "user",
}


def known_words(question: str, recalled: Recalled, so_far: SoFar | None) -> set[str]:
    """What the user said, now and before, and what tools gave."""
    texts = [question, recalled.summary, *(turn.content for turn in recalled.turns)]
    texts += [f"{result.title} {result.summary}" for result in recalled.found]
    texts += [json.dumps(row.result, ensure_ascii=False) for row in so_far.steps] if so_far else []
    return {word.lower() for text in texts for word in _WORD.findall(text)}


def invented(draft: Draft, tools: Sequence[Tool], known: set[str]) -> Iterator[Problem]:
    """Required addresses, files and folders of which no word was ever said."""
    by_name = {(tool.server.slug, tool.name): tool for tool in tools}
    for index, step in enumerate(draft.steps):
        tool = by_name.get((str(step.get("server")), str(step.get("tool"))))
        for name in required(tool.input_schema) if tool else ():
            value = step.get("arguments", {}).get(name)
            if tool and isinstance(value, str) and wanted(tool, name) in NEVER_GUESSED and not _is_known(value, known):
                path = pointer_to("steps", index, "arguments", name)
                yield Problem(path, INVENTED, f"“{value[:100]}” was said nowhere.")


def _is_known(value: str, known: set[str]) -> bool:
    """ "." and "/" have no words, and nobody has to say them."""
    words = {word.lower() for word in _WORD.findall(value)}
    return not words or bool((words - _SAY_NOTHING) & known)
