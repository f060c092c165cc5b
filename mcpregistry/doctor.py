"""What is wrong with a set-up, in plain words: each check asks one part the way the product uses it."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from smtplib import SMTPException
from typing import Any

import django_rq
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from langchain_core.messages import HumanMessage
from redis import Redis, RedisError

from chains.files import FAILURES
from chat.llm import ChatModel, ModelError, models_of
from mcpregistry.health import live_workers, missing_migrations
from registry.credentials import CredentialsLost, decrypt
from registry.models import Connection

MIN_POSTGRES = 16
MIN_SECRET = 50  # characters, as Django's own check wants
CLOCK_S = 2.0
MODEL_S = 60
CROWDED = 0.8  # of the connections that Postgres allows
SCARCE_BYTES, FULL_BYTES = 2_000_000_000, 200_000_000
LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")


class Wrong(Exception):
    """A part does not do what the product needs; the message says what, and what to do about it."""


class Doubtful(Exception):
    """It works, but not for long, or not safely."""


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    state: str  # ok, look, wrong
    words: str


def findings() -> Iterator[Finding]:
    for part, check in CHECKS.items():
        try:
            yield Finding(part, "ok", check())
        except Doubtful as doubt:
            yield Finding(part, "look", str(doubt))
        except Wrong as wrong:
            yield Finding(part, "wrong", str(wrong))
        except DatabaseError as error:
            yield Finding(part, "wrong", f"The database does not answer: {_line(error)} Check DATABASE_URL.")
        except RedisError as error:
            yield Finding(part, "wrong", f"Redis does not answer: {_line(error)} Check REDIS_URL.")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:200] + "."


def _value(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return row[0] if row else None


def _redis() -> Redis:
    return django_rq.get_connection("runs")


def database() -> str:
    version = int(_value("SHOW server_version_num")) // 10_000
    if version < MIN_POSTGRES:
        raise Wrong(f"Postgres {version} is too old: {MIN_POSTGRES} or newer is needed.")
    return f"Postgres {version} answers."


def pgvector() -> str:
    installed = _value("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if installed:
        return f"pgvector {installed} is there."
    if _value("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        raise Wrong(
            "pgvector is not switched on in this database: run `manage.py migrate` as a user who may create it."
        )
    raise Wrong("This Postgres has no pgvector: install its package for this version of Postgres.")


def pooler() -> str:
    """PgBouncer and its like give out process ids of their own, and may keep back what we set when connecting."""
    if _value("SELECT current_setting('hnsw.ef_search', true)") != settings.SEARCH_EF:
        raise Wrong(
            "What is set when connecting does not reach Postgres, so searches find too little: a pooler in between "
            "must pass the parameter `options` on, not ignore it."
        )
    if _claimed_pid() != _value("SELECT pg_backend_pid()"):
        raise Doubtful(
            "A pooler stands between us and Postgres. It must pool by session (`pool_mode = session`): by transaction, "
            "what is set when connecting is lost between two queries. DATABASE_POOL does the same without one."
        )
    used = int(_value("SELECT count(*) FROM pg_stat_activity"))
    allowed = int(_value("SHOW max_connections"))
    if used > allowed * CROWDED:
        raise Doubtful(f"{used} of {allowed} connections of Postgres are taken: raise max_connections.")
    return f"Connected without a pooler in between; {used} of {allowed} connections are taken."


def _claimed_pid() -> int:
    """What the other end said its process is."""
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


def migrations() -> str:
    if missing := missing_migrations():
        raise Wrong(f"{len(missing)} migrations are not applied, {missing[0]} first: run `manage.py migrate`.")
    return "The tables are those of this version."


def redis_persistence() -> str:
    policy = _redis().info("memory").get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise Doubtful(
            f"Redis may throw away queued jobs when its memory is full ({policy}): set `maxmemory-policy noeviction`."
        )
    kept = _redis().info("persistence")
    if not kept.get("aof_enabled"):
        raise Doubtful(
            "Redis keeps no append-only file: queued work waits for the reconciler after a crash. Set `appendonly yes`."
        )
    if kept.get("aof_last_write_status") != "ok":
        raise Wrong("Redis cannot write its append-only file: look at its disk.")
    return "Redis answers and writes down what is queued."


def storage() -> str:
    told = b"doctor"
    try:
        name = default_storage.save("doctor.txt", ContentFile(told))
        with default_storage.open(name) as file:
            came_back = file.read()
        default_storage.delete(name)
    except FAILURES as error:
        raise Wrong(
            f"Files of results cannot be stored: {_line(error)} Check DATA_DIR, or S3_BUCKET and its keys."
        ) from error
    if came_back != told:
        raise Wrong("A file came back from the storage as another one.")
    return "Files are stored, read and deleted."


def disk() -> str:
    free = shutil.disk_usage(settings.DATA_DIR).free
    told = f"{free / 1e9:.1f} GB are free where DATA_DIR is"
    if free < FULL_BYTES:
        raise Wrong(f"{told}: nothing can be written soon. Make room.")
    if free < SCARCE_BYTES:
        raise Doubtful(f"{told}: make room.")
    return f"{told}."


def secret_key() -> str:
    if len(settings.SECRET_KEY) < MIN_SECRET:
        raise Wrong(f"SECRET_KEY is shorter than {MIN_SECRET} characters: whoever guesses it reads every credential.")
    stored = (
        Connection.objects.exclude(credentials_encrypted=b"").values_list("credentials_encrypted", flat=True).first()
    )
    try:
        decrypt(stored or b"")
    except CredentialsLost as lost:
        raise Wrong(
            "SECRET_KEY is not the one that credentials were stored with: put the former one into SECRET_KEY_FALLBACKS."
        ) from lost
    if settings.DATABASE_IS_ELSEWHERE and not settings.SECRET_KEY_IS_GIVEN:
        raise Doubtful(
            "SECRET_KEY is not set, so each machine makes one of its own in DATA_DIR: with several machines set it to "
            "the same on all."
        )
    return "The secret key is long enough and opens what is stored."


def hosts() -> str:
    strangers = [host for host in settings.ALLOWED_HOSTS if host not in LOCAL]
    if "*" in strangers:
        raise Wrong("ALLOWED_HOSTS lets any name through: write the names the site is reached by.")
    if settings.DEBUG and strangers:
        raise Wrong("DEBUG is on although the site has a public name: its error pages show the settings.")
    if strangers and not settings.HTTPS:
        raise Doubtful(f"{strangers[0]} is served without TLS: put a proxy with TLS in front and set HTTPS=1.")
    if settings.HTTPS and not settings.PROXIES:
        raise Doubtful(
            "HTTPS is on but PROXIES is 0: every client has the proxy's address, in limits and in the audit log. "
            "Set PROXIES to how many of your own proxies a request passes."
        )
    return f"Reached as {', '.join(strangers or settings.ALLOWED_HOSTS)}."


def mail() -> str:
    if not settings.EMAIL_HOST:
        return "No mail server is set: forgotten passwords are set anew by an administrator."
    try:
        with get_connection():
            return f"The mail server {settings.EMAIL_HOST} lets us in."
    except (SMTPException, OSError) as error:
        raise Wrong(
            f"The mail server {settings.EMAIL_HOST} does not take letters: {_line(error)} Check the EMAIL_ settings."
        ) from error


def workers() -> str:
    idle = [name for name in settings.RQ_QUEUES if not live_workers(django_rq.get_connection(name), name)]
    if idle:
        raise Wrong(f"Nobody works on {', '.join(idle)}: start the workers (`make run` does).")
    return "Every queue has a worker."


def model() -> str:
    models = models_of()
    if not models:
        return "No model is set: the offline planner answers."
    for each in models:
        _ask(each)
    return f"{', '.join(f'{each.name} of {each.provider}' for each in models)} answers."


def _ask(model: ChatModel) -> None:
    """In a thread that nobody waits for when it takes too long."""
    refused: list[ModelError] = []
    asking = threading.Thread(target=_try_model, args=(model, refused), daemon=True)
    asking.start()
    asking.join(MODEL_S)
    if asking.is_alive():
        raise Doubtful(f"The model {model.name} of {model.provider} did not answer in {MODEL_S} seconds.")
    if refused:
        raise Wrong(f"The model {model.name} of {model.provider} {refused[0].message}.")


def _try_model(model: ChatModel, refused: list[ModelError]) -> None:
    try:
        for _ in model.stream([HumanMessage("Answer with: ok")]):
            pass
    except ModelError as error:
        refused.append(error)


def clock() -> str:
    here = time.time()
    others = {"the database": float(_value("SELECT extract(epoch FROM clock_timestamp())"))}
    seconds, microseconds = _redis().time()
    others["Redis"] = seconds + microseconds / 1e6
    for name, there in others.items():
        if abs(there - here) > CLOCK_S:
            raise Wrong(f"The clocks of this machine and {name} are {abs(there - here):.0f} s apart: set them.")
    return "All clocks agree."


CHECKS: dict[str, Callable[[], str]] = {
    "database": database,
    "pgvector": pgvector,
    "pooler": pooler,
    "migrations": migrations,
    "redis": redis_persistence,
    "storage": storage,
    "disk": disk,
    "secret key": secret_key,
    "hosts": hosts,
    "mail": mail,
    "workers": workers,
    "model": model,
    "clock": clock,
}
