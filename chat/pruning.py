"""What is long ago becomes a summary, and what is too old is removed: never before its summary is kept.

The summary stays with the conversation and, embedded, among its owner's results, where the planner finds it again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from chains.models import Result
from chat import llm
from chat.llm import ChatModel, ModelError
from chat.memory import HISTORY_MESSAGES, Turn, shortened, told
from chat.metering import Meter, MeteredModel
from chat.models import Conversation, Message
from chat.planner import prompts
from registry.embeddings import embed, storable

logger = logging.getLogger(__name__)
AT_ONCE = 50  # conversations in one job
CHUNK_MESSAGES = 20  # in one summary
QUESTION_CHARACTERS, ANSWER_CHARACTERS = 200, 600  # kept of each without a model
SUMMARY_CHARACTERS = 6_000  # of the conversation; each chunk's own summary stays whole among the results
SUMMARY_SCHEMA = {
    "type": "object",
    "properties": {"summary": {"type": "string"}},
    "required": ["summary"],
    "additionalProperties": False,
}


def tidy() -> int:
    """Every conversation that has grown long or old; how many messages were removed. Safe to run twice."""
    before = oldest_kept()
    removed = 0
    for conversation in Conversation.objects.to_tidy(before, long=HISTORY_MESSAGES + CHUNK_MESSAGES)[:AT_ONCE]:
        _summarise(conversation, before)
        removed += prune(conversation=conversation, before=before)
    return removed


def oldest_kept() -> datetime | None:
    """Messages before this are removed; None: never."""
    return timezone.now() - timedelta(days=settings.CHAT_KEEP_DAYS) if settings.CHAT_KEEP_DAYS else None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages that become one summary, oldest first."""

    messages: list[Message]
    text: str

    @property
    def until(self) -> datetime:
        return self.messages[-1].created_at


def _summarise(conversation: Conversation, before: datetime | None) -> None:
    """Chunk by chunk; it may stop anywhere."""
    model = _model(conversation)
    while messages := _next_messages(conversation, before):
        chunk = Chunk(messages, _summary_of(messages, model))
        vector = embed([f"{conversation.title}\n{chunk.text}"])[0]
        if not keep_summary(conversation=conversation, chunk=chunk, vector=vector):
            return


def _model(conversation: Conversation) -> MeteredModel | None:
    try:
        models: list[ChatModel] = llm.models_of(conversation.provider)
    except ModelError as error:
        logger.warning("Conversations are summarised without a model: it %s.", error.message)
        models = []
    return MeteredModel(models, Meter()) if models else None


def _next_messages(conversation: Conversation, before: datetime | None) -> list[Message]:
    """The oldest that are in no summary yet, as far as they are too old or too many; none of a turn under way."""
    after = Q(created_at__gt=conversation.summarised_until) if conversation.summarised_until else Q()
    left = list(conversation.messages.filter(after).select_related("run").order_by("created_at", "id"))
    too_many = left[: max(0, len(left) - HISTORY_MESSAGES)]
    due = [row for row in left if row in too_many or (before is not None and row.created_at < before)]
    chunk: list[Message] = []
    for message in due[:CHUNK_MESSAGES]:
        if message.run is not None and not message.run.is_finished:
            break
        chunk.append(message)
    return chunk


def _summary_of(messages: Sequence[Message], model: MeteredModel | None) -> str:
    turns = [Turn(message.role, told(message)) for message in messages if message.content]
    if model is not None and turns:
        try:
            reply = model.ask(prompts.summarising(turns), schema=SUMMARY_SCHEMA)
            if text := prompts.read_summary(reply):
                return storable(text)
        except ModelError as error:
            logger.warning("A summary is put together without the model: it %s.", error.message)
    return extract(messages)


def extract(messages: Sequence[Message]) -> str:
    """Without a model: the beginning of each question and answer."""
    lines = []
    for message in messages:
        is_question = message.role == Message.Role.USER
        text = shortened(" ".join(message.content.split()), QUESTION_CHARACTERS if is_question else ANSWER_CHARACTERS)
        if text:
            lines.append(f"{'Asked' if is_question else 'Answered'} {message.created_at:%Y-%m-%d}: {text}")
    return "\n".join(lines)


@transaction.atomic
def keep_summary(*, conversation: Conversation, chunk: Chunk, vector: list[float]) -> bool:
    """With the conversation and among the results, in one; False where somebody else got there first."""
    held = Conversation.objects.filter(pk=conversation.pk, summarised_until=conversation.summarised_until)
    summary = f"{conversation.summary}\n{chunk.text}".strip()
    summary = summary if len(summary) <= SUMMARY_CHARACTERS else f"…{summary[-SUMMARY_CHARACTERS:]}"
    if not held.update(summary=summary, summarised_until=chunk.until):
        return False
    conversation.summary, conversation.summarised_until = summary, chunk.until
    Result.objects.create(
        owner_id=conversation.owner_id,
        kind=Result.Kind.SUMMARY,
        title=f"Conversation: {conversation.title}"[:255],
        summary=chunk.text,
        data={
            "conversation_id": str(conversation.pk),
            "from": chunk.messages[0].created_at.isoformat(),
            "to": chunk.until.isoformat(),
        },
        size_bytes=len(chunk.text.encode()),
        embedding=vector,
    )
    return True


@transaction.atomic
def prune(*, conversation: Conversation, before: datetime | None) -> int:
    """Remove old messages that are in the summary; how many. A pinned conversation keeps all. Their runs are not the
    conversation's to remove (chains.keeping)."""
    row = Conversation.objects.select_for_update().filter(pk=conversation.pk).first()
    if row is None or row.pinned or before is None or row.summarised_until is None:
        return 0
    return row.messages.filter(created_at__lt=before, created_at__lte=row.summarised_until).delete()[0]
