"""What a model is told of a conversation: the summary of what is long ago, what was found before, the last turns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from chains.models import Result, Run
from chains.recall import search_results
from chat.branches import ancestors
from chat.models import Conversation, Message
from registry import embeddings

CHARACTERS_PER_TOKEN = 4
MEMORY_SHARE = 0.35  # of what the model reads; tools, the message and the reply need the rest
MAX_MEMORY_TOKENS = 8_000  # more costs more than it tells
SUMMARY_SHARE, RESULTS_SHARE = 0.2, 0.2  # of the memory, where there is a summary, where something was found
HISTORY_MESSAGES = 40
TURN_CHARACTERS = 4_000
FOUND_RESULTS = 3
UNKNOWN_MODEL_TOKENS = 8_000


@dataclass(frozen=True, slots=True)
class Turn:
    role: str  # Message.Role
    content: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """`summary`: of the messages before `turns`. `found`: own results of other runs that have to do with it."""

    summary: str = ""
    found: list[Result] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


def recall(
    question: Message, *, context_tokens: int = UNKNOWN_MODEL_TOKENS, known: Sequence[str] | None = None
) -> Recalled:
    """What a model that reads so many tokens is told beside this message. `known`: the results found for it before."""
    budget = round(min(context_tokens * MEMORY_SHARE, MAX_MEMORY_TOKENS)) * CHARACTERS_PER_TOKEN
    conversation = question.conversation
    summary = shortened(conversation.summary, round(budget * SUMMARY_SHARE))
    found = _found(question, conversation) if known is None else _those(known, conversation)
    for result in found:
        result.summary = shortened(result.summary, round(budget * RESULTS_SHARE) // FOUND_RESULTS)
    left = budget - len(summary) - sum(len(result.summary) for result in found)
    return Recalled(summary, found, recent_turns(before=question, budget=left))


def _those(known: Sequence[str], conversation: Conversation) -> list[Result]:
    return list(Result.objects.filter(pk__in=known, owner_id=conversation.owner_id).defer("embedding")) if known else []


def _found(question: Message, conversation: Conversation) -> list[Result]:
    """Own results, not of runs that the last turns tell of anyway."""
    recent = conversation.messages.order_by("-created_at").values("run_id")[:HISTORY_MESSAGES]
    own = Result.objects.filter(owner_id=conversation.owner_id).exclude(run_id__in=recent)
    if not own.exists():
        return []
    embeddings.ensure_loaded()
    return [hit.result for hit in search_results(question.content, results=own, limit=FOUND_RESULTS)]


def recent_turns(*, before: Message, budget: int) -> list[Turn]:
    """The turns before this question in its branch, oldest first, at most `budget` characters; it never starts with an
    answer."""
    asked = ancestors(before)[-HISTORY_MESSAGES // 2 :]
    if not asked:
        return []
    earlier = (
        Message.objects.filter(Q(pk__in=asked) | Q(parent__in=asked, role=Message.Role.ASSISTANT))
        .exclude(content="")
        .select_related("run")
        .order_by("-created_at", "-id")[:HISTORY_MESSAGES]
    )
    turns: list[Turn] = []
    for message in earlier:
        turn = Turn(message.role, told(message))
        budget -= len(turn.content)
        if budget < 0:
            break
        turns.insert(0, turn)
    while turns and turns[0].role != Message.Role.USER:
        turns.pop(0)
    return turns


def told(message: Message) -> str:
    """The message, cut in its middle when it is long, and for an answer the calls it came from."""
    text = shortened(message.content, TURN_CHARACTERS)
    if message.role == Message.Role.ASSISTANT and message.run and message.run.plan:
        return f"{text}\n\n(Calls made: {_calls(message.run)})"
    return text


def _calls(run: Run) -> str:
    steps: Sequence[dict[str, Any]] = (run.plan or {}).get("steps", [])
    calls = (f"{step['server']}.{step['tool']} {json.dumps(step.get('arguments', {}))}" for step in steps)
    return shortened("; ".join(calls), 1_000)


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and end with a mark of what was left out between them."""
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    head = limit * 2 // 3
    return f"{text[:head]}\n[… {left_out} characters left out …]\n{text[-(limit - head) :]}"
