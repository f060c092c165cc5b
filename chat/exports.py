"""A conversation as a file: all of it as JSON, or a branch of it as Markdown to read."""

import json
from typing import Any

from chat.models import Conversation, Message
from chat.serializers import ConversationDetailSerializer
from chat.turns import Turn, turns_of

FENCE = "~~~~"  # what servers wrote may hold backticks


def as_json(conversation: Conversation) -> dict[str, Any]:
    """The JSON of GET /chat/{id}."""
    return dict(ConversationDetailSerializer(conversation).data)


def as_markdown(conversation: Conversation) -> str:
    """The newest branch: what was asked, the calls that were made, the answers."""
    parts = [f"# {conversation}"]
    if conversation.summary:
        parts.append(f"Before that:\n\n{conversation.summary}")
    for turn in turns_of(conversation):
        parts.extend(_turn(turn))
    return "\n\n".join(parts) + "\n"


def _turn(turn: Turn) -> list[str]:
    parts = []
    if turn.question:
        parts.append(f"## {_when(turn.question)}\n\n{_quoted(turn.question.content)}")
    if turn.run and turn.run.plan:
        calls = [
            f"- `{card.server}.{card.tool}`: {card.words}" for card in (turn.drawing.cards if turn.drawing else [])
        ]
        plan = json.dumps(turn.run.plan, indent=2, ensure_ascii=False)
        parts.append("\n".join([*calls, "", f"{FENCE}json", plan, FENCE]))
    if turn.answer:
        parts.append(turn.answer.content)
    return parts


def _when(message: Message) -> str:
    return f"{message.created_at:%Y-%m-%d %H:%M} UTC"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
