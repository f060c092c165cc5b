"""What a message has spent, from its rows, and its models within what is left."""

from django.db.models import Sum

from chat.llm import ChatModel, Usage
from chat.metering import Meter, MeteredModel, Spent
from chat.models import Message

COUNTED = ("input_tokens", "output_tokens", "model_calls", "model_seconds", "cost_usd")


def metered(models: list[ChatModel], question: Message) -> MeteredModel | None:
    """None without a model."""
    return MeteredModel(models, Meter(before=spent_on(question))) if models else None


def spent_on(question: Message) -> Spent:
    """By the question and its answer, in every attempt of their run."""
    rows = Message.objects.filter(run=question.run)
    total = rows.aggregate(**{name: Sum(name) for name in COUNTED})
    usage = Usage(total["input_tokens"] or 0, total["output_tokens"] or 0)
    return Spent(total["model_calls"] or 0, usage, total["model_seconds"] or 0.0, total["cost_usd"])
