"""Language models by provider, behind two verbs: `ask` for JSON of a schema, `stream` for text as it is written.

Every vendor's error leaves here as ModelError. The SDKs retry what can be retried (connection errors, 408, 409, 429
and 5xx) and heed Retry-After.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import anthropic
import httpx2
import openai
from django.conf import settings
from langchain_anthropic import ChatAnthropic
from langchain_core import exceptions as vendor
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from chat.lines import make_cuttable
from chat.providers import OFFLINE
from registry.redaction import Redactor

T = TypeVar("T")
TIMEOUT_S = 240  # of silence; a small model on a busy processor reads a long prompt for minutes
MAX_RETRIES = 2  # TIMEOUT_S times three stays below the job's own limit
MAX_TOKENS = 8192  # of one reply
UNKNOWN_CONTEXT_TOKENS = 8_000
CONTEXT_TOKENS = {"gpt-4o": 128_000, "gpt-4.1": 1_000_000, "gpt-5": 400_000, "claude": 200_000}

_SDK_ERRORS = (
    openai.OpenAIError,
    anthropic.AnthropicError,
    vendor.LangChainException,
    httpx2.HTTPError,
    ValueError,  # a body that is not JSON, or not a completion
    TypeError,
    KeyError,
    AttributeError,
)
_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (vendor.ModelAuthenticationError, "refused the API key; check the key in the server's settings"),
    (vendor.ModelPermissionDeniedError, "does not let this API key use the model"),
    (vendor.ModelNotFoundError, "does not know the model or the address; check the model's name and the base URL"),
    (vendor.ModelRateLimitError, "is over its rate limit or quota; wait a little and ask again"),
    (vendor.ContextOverflowError, "cannot take a conversation this long; start a new one"),
    (vendor.ModelTimeoutError, "did not answer in time"),
    (vendor.ModelConnectionError, "could not be reached, or the connection broke off"),
    (httpx2.HTTPError, "could not be reached, or the connection broke off"),
    (vendor.ModelAPIError, "has a problem of its own at the moment"),
    (openai.LengthFinishReasonError, "ran out of tokens before its reply was complete"),
    (openai.ContentFilterFinishReasonError, "declined to answer this"),
    (vendor.ModelInvalidRequestError, "did not accept the request"),
)


class ModelError(Exception):
    """The model gave no usable reply. `message` is a clause about it: "did not answer in time"."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True, slots=True)
class ChatModel:
    """One model of one provider, and the client that speaks to it."""

    provider: str
    name: str
    client: BaseChatModel
    takes_open_schemas: bool = True  # False: a schema that leaves something open is only described in the prompt

    @property
    def context_tokens(self) -> int:
        """What it reads at most, with its reply."""
        return settings.LLM_CONTEXT_TOKENS or known(CONTEXT_TOKENS, self.name) or UNKNOWN_CONTEXT_TOKENS

    def ask(self, messages: Sequence[BaseMessage], *, schema: dict[str, Any]) -> tuple[str, Usage]:
        """The reply's text, which the model was told to make JSON of this schema, and what it cost."""
        wanted = {"type": "json_schema", "json_schema": {"name": "plan", "strict": False, "schema": schema}}
        enforced: dict[str, Any] = {"response_format": wanted} if self.takes_open_schemas or is_closed(schema) else {}
        with _translated():
            reply = self.client.invoke(list(messages), **enforced)
            return reply.text, usage_of(reply)

    def stream(self, messages: Sequence[BaseMessage]) -> Iterator[tuple[str, Usage]]:
        """Pieces of the reply as they come, each with the tokens it reports (mostly none, most in the last)."""
        complete = spoke = False
        with _translated():
            for chunk in self.client.stream(list(messages)):
                metadata = chunk.response_metadata
                complete = complete or bool(metadata.get("finish_reason") or metadata.get("stop_reason"))
                spoke = spoke or bool(chunk.text)
                yield chunk.text, usage_of(chunk)
        if not (complete and spoke):
            raise ModelError("broke off before its answer was complete", retryable=True)


def is_closed(schema: Any) -> bool:
    """Does every part of the schema say its type, and every object its properties?"""
    if not isinstance(schema, dict):
        return False
    if variants := schema.get("anyOf"):
        return all(is_closed(variant) for variant in variants)
    match schema.get("type"):
        case "object":
            return "properties" in schema and all(is_closed(part) for part in schema["properties"].values())
        case "array":
            return is_closed(schema.get("items"))
        case str():
            return True
    return False


def usage_of(message: BaseMessage) -> Usage:
    counted = message.usage_metadata if isinstance(message, AIMessage) else None
    return Usage(counted["input_tokens"], counted["output_tokens"]) if counted else Usage()


def known(table: Mapping[str, T], name: str) -> T | None:
    """What a table says of a model: of its name, else of the longest name it goes on from ("gpt-4o-2024-08-06")."""
    fitting = [key for key in table if name == key or name.startswith(f"{key}-")]
    return table[max(fitting, key=len)] if fitting else None


def _openai() -> ChatModel:
    return _by_openai_protocol("openai", settings.OPENAI_MODEL, settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY)


def _compatible() -> ChatModel:
    return _by_openai_protocol(
        "compatible", settings.COMPATIBLE_MODEL, settings.COMPATIBLE_BASE_URL, settings.COMPATIBLE_API_KEY
    )


def _by_openai_protocol(provider: str, model: str, base_url: str | None, api_key: str) -> ChatModel:
    client = ChatOpenAI(
        model=model,
        base_url=base_url,
        api_key=SecretStr(api_key or "none"),  # servers of one's own ask for none
        timeout=TIMEOUT_S,
        max_retries=MAX_RETRIES,
        max_completion_tokens=MAX_TOKENS,
        temperature=0,
        stream_usage=True,
        use_responses_api=False,  # compatible servers speak chat completions
    )
    make_cuttable(client.root_client._client)
    return ChatModel(provider, model, client)


def _anthropic() -> ChatModel:
    client = ChatAnthropic(
        model_name=settings.ANTHROPIC_MODEL,
        base_url=settings.ANTHROPIC_BASE_URL,
        api_key=SecretStr(settings.ANTHROPIC_API_KEY),
        timeout=TIMEOUT_S,
        max_retries=MAX_RETRIES,
        max_tokens_to_sample=MAX_TOKENS,
        stop=None,
    )
    make_cuttable(client._client._client)
    return ChatModel("anthropic", settings.ANTHROPIC_MODEL, client, takes_open_schemas=False)


PROVIDERS: dict[str, Callable[[], ChatModel]] = {"openai": _openai, "anthropic": _anthropic, "compatible": _compatible}


def chat_model(provider: str | None = None) -> ChatModel | None:
    """The model of this provider (default: LLM_PROVIDER), or None for the offline planner. Opens no connection."""
    name = provider or settings.LLM_PROVIDER
    if name == OFFLINE:
        return None
    if name not in PROVIDERS:
        listed = ", ".join([*PROVIDERS, OFFLINE])
        raise ModelError(f"is not known: the provider {name!r} is none of {listed}", retryable=False)
    return PROVIDERS[name]()


def models_of(provider: str | None = None) -> list[ChatModel]:
    """The model of this provider, then the one that takes over where it fails; none for the offline planner."""
    first = chat_model(provider)
    if first is None:
        return []
    second = chat_model(settings.LLM_FALLBACK) if settings.LLM_FALLBACK not in ("", first.provider) else None
    return [first] if second is None else [first, second]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _SDK_ERRORS as error:
        _raise_as_ours(error)


def _raise_as_ours(error: Exception) -> NoReturn:
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
    if advice is None:
        raise ModelError("gave a reply that cannot be read", retryable=True) from error
    retryable = error.is_retryable if isinstance(error, vendor.ModelError) else isinstance(error, httpx2.HTTPError)
    if isinstance(error, vendor.ModelInvalidRequestError):
        advice = f"{advice} ({_first_line(error)})"
    raise ModelError(advice, retryable=retryable) from error


def _first_line(error: Exception) -> str:
    """What the vendor said, short, and without our keys or anything that looks like one."""
    keys = [settings.OPENAI_API_KEY, settings.ANTHROPIC_API_KEY, settings.COMPATIBLE_API_KEY]
    line = Redactor(keys).text(str(error).partition("\n")[0])
    return re.sub(r"\b(sk|key)-[\w-]+", "…", line)[:200]
