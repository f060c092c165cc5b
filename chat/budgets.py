"""What a message has spent, from its rows, and its models within what is left."""

from collections.abc import Sequence

from chat.llm import ChatModel, Usage
from chat.metering import Meter, MeteredModel, Spent
from chat.models import Message


def metered(models: list[ChatModel], messages: Sequence[Message]) -> MeteredModel | None:
    """None without a model. The messages are a question and, where there is one, its answer."""
    return MeteredModel(models, Meter(before=sum(map(spent_on, messages), Spent()))) if models else None


def spent_on(message: Message) -> Spent:
    """In every attempt of its run."""
    usage = Usage(message.input_tokens, message.output_tokens)
    return Spent(message.model_calls, usage, message.model_seconds, message.cost_usd)
