"""What happens to conversations and messages. Each verb owns its transaction."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from chains import events
from chains.leases import renew
from chains.models import Result, Run
from chains.services import finish_run, start_run
from chat.models import Conversation, Message

if TYPE_CHECKING:  # a web process has no use for the model clients behind these, which take seconds to import
    from chat.llm import Usage
    from chat.planner import Planning

TITLE_CHARACTERS = 80


@transaction.atomic
def send_message(
    *, user: User, user_msg: str, conversation: Conversation | None = None, approval: str = ""
) -> tuple[Conversation, Message, Run]:
    """Acknowledge what the user says, in a new conversation or in this one of theirs, and have it planned."""
    if conversation is None:
        conversation = Conversation.objects.create(owner=user, title=_title(user_msg))
    run = start_run(user=user, plan=None, kind=Run.Kind.CHAT, conversation_id=conversation.pk, approval=approval)
    message = Message.objects.create(conversation=conversation, role=Message.Role.USER, content=user_msg, run=run)
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=message.created_at)
    return conversation, message, run


def _title(user_msg: str) -> str:
    line = " ".join(user_msg.split())
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1]}…"


@transaction.atomic
def delete_conversation(*, conversation: Conversation) -> None:
    """The conversation, its messages and its runs; whoever drives one of them finds its lease gone."""
    Run.objects.filter(conversation_id=conversation.pk).delete()
    conversation.delete()


def record_planning(*, question: Message, planning: "Planning") -> None:
    """How the question was planned, beside the question."""
    question.planning = planning.as_json()
    question.provider, question.model = planning.provider, planning.model
    question.input_tokens, question.output_tokens = planning.usage.input_tokens, planning.usage.output_tokens
    question.save(update_fields=["planning", "provider", "model", "input_tokens", "output_tokens"])


@transaction.atomic
def start_answer(*, run: Run, question: Message, provider: str, model: str, note: str, lease_token: int) -> Message:
    """An empty answer in the making; one that was begun before is begun anew. Raises LostLease."""
    renew(run.pk, lease_token)
    told = {"role": Message.Role.ASSISTANT, "provider": provider, "model": model, "note": note}
    state: dict[str, Any] = {
        "conversation_id": question.conversation_id,
        "content": "",
        "status": Message.Status.STREAMING,
        "provider": provider,
        "model": model,
        "note": note,
        "attempt": run.attempt,
        "input_tokens": 0,
        "output_tokens": 0,
    }
    answer, _ = Message.objects.update_or_create(run=run, role=Message.Role.ASSISTANT, defaults=state)
    events.publish(
        run.pk, [(events.TEXT_MESSAGE_START, {"message_id": str(answer.pk), **told})], lease_token=lease_token
    )
    return answer


def add_to_answer(*, answer: Message, delta: str, lease_token: int) -> None:
    """A piece of the answer. Raises LostLease."""
    assert answer.run_id is not None
    data = {"message_id": str(answer.pk), "delta": delta}
    events.publish(answer.run_id, [(events.TEXT_MESSAGE_CONTENT, data)], lease_token=lease_token)


@transaction.atomic
def end_answer(*, answer: Message, content: str, status: str, usage: "Usage", lease_token: int) -> None:
    """The answer as it stays. Raises LostLease."""
    assert answer.run_id is not None
    answer.content, answer.status = content, status
    answer.input_tokens, answer.output_tokens = usage.input_tokens, usage.output_tokens
    data = {
        "message_id": str(answer.pk),
        "status": status,
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
    }
    events.publish(answer.run_id, [(events.TEXT_MESSAGE_END, data)], lease_token=lease_token)
    answer.save(update_fields=["content", "status", "input_tokens", "output_tokens"])
    Conversation.objects.filter(pk=answer.conversation_id).update(updated_at=timezone.now())


@transaction.atomic
def finish_turn(*, run: Run, question: Message, error: dict[str, str] | None, lease_token: int) -> None:
    """The end of an answered run; the answer of one that called tools stays as a result. Raises LostLease."""
    answer = Message.objects.get(run=run, role=Message.Role.ASSISTANT)
    outputs = {"answer": answer.content}
    if error is not None:
        finish_run(run=run, status=Run.Status.FAILED, outputs=outputs, error=error, lease_token=lease_token)
        return
    finish_run(run=run, status=Run.Status.SUCCEEDED, outputs=outputs, lease_token=lease_token)
    if run.plan is not None:
        _keep(run, question, answer)


def _keep(run: Run, question: Message, answer: Message) -> None:
    Result.objects.create(
        owner_id=run.owner_id,
        run=run,
        kind=Result.Kind.SUMMARY,
        title=_title(question.content),
        summary=answer.content,
        size_bytes=len(answer.content.encode()),
    )
