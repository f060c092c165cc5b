"""The doctor says what is wrong, and only that."""

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from redis import Redis

from mcpregistry import doctor
from registry.credentials import encrypt
from registry.models import Connection
from tests.registry.test_search import make_server
from tests.toys import Toy

pytestmark = pytest.mark.django_db


def found() -> dict[str, doctor.Finding]:
    return {finding.part: finding for finding in doctor.findings()}


def test_a_sound_set_up_lacks_only_its_workers() -> None:
    told = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=told)
    assert ended.value.code == 1
    lines = dict(line.split(None, 1) for line in told.getvalue().splitlines() if line.startswith("wrong"))
    assert list(lines) == ["wrong"] and "Nobody works on runs, probes, chat, catalogue" in lines["wrong"]


def test_each_part_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "live_workers", lambda *_: ["somebody"])
    states = {part: finding.state for part, finding in found().items()}
    assert set(states) == {"database", "pgvector", "migrations", "redis", "storage"} | {
        "secret key",
        "hosts",
        "mail",
        "workers",
        "model",
        "clock",
        "pooler",
        "disk",
    }
    assert {part for part, state in states.items() if state != "ok"} <= {"redis"}  # the tests' Redis keeps nothing


@pytest.mark.parametrize(
    ("setting", "value", "part", "words"),
    [
        ("SECRET_KEY", "short", "secret key", "shorter than 50"),
        ("ALLOWED_HOSTS", ["*"], "hosts", "any name"),
        ("ALLOWED_HOSTS", ["registry.example.com"], "hosts", "HTTPS=1"),
    ],
)
def test_a_setting_that_is_not_safe_is_named(setting: str, value: object, part: str, words: str, settings: Any) -> None:
    setattr(settings, setting, value)
    assert words in found()[part].words


def test_a_pooler_in_between_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_claimed_pid", lambda: -1)
    assert "pool_mode = session" in doctor_words(doctor.pooler)
    with connection.cursor() as cursor:
        cursor.execute("SET hnsw.ef_search = 40")
        assert "`options`" in doctor_words(doctor.pooler)
        cursor.execute("RESET hnsw.ef_search")


def test_a_redis_that_throws_jobs_away_is_named(redis: "Redis[bytes]") -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert "noeviction" in doctor_words(doctor.redis_persistence)
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize(("free", "words"), [(1_000_000, "nothing can be written"), (1_000_000_000, "make room")])
def test_a_disk_that_fills_is_named(monkeypatch: pytest.MonkeyPatch, free: int, words: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert words in doctor_words(doctor.disk)


def test_a_proxy_that_nobody_counted_is_named(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.HTTPS = ["registry.example.com"], True
    assert "PROXIES" in doctor_words(doctor.hosts)
    settings.PROXIES = 1
    assert doctor.hosts() == "Reached as registry.example.com."


def test_a_secret_key_that_each_machine_would_make_is_named(settings: Any) -> None:
    settings.DATABASE_IS_ELSEWHERE, settings.SECRET_KEY_IS_GIVEN = True, False
    assert "the same on all" in doctor_words(doctor.secret_key)


def test_debug_pages_on_a_public_site_are_named(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = ["registry.example.com"], True
    assert "DEBUG is on" in doctor_words(doctor.hosts)


def test_another_secret_key_than_the_stored_credentials_have_is_named(alice: User, settings: Any) -> None:
    server = make_server("one", "About.", {}, owner=alice)
    Connection.objects.create(user=alice, server=server, credentials_encrypted=encrypt({"Authorization": "x"}))
    former, settings.SECRET_KEY = settings.SECRET_KEY, "y" * 60
    assert "SECRET_KEY_FALLBACKS" in doctor_words(doctor.secret_key)
    settings.SECRET_KEY_FALLBACKS = [former]
    assert "opens what is stored" in doctor.secret_key()


def test_a_storage_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(doctor.default_storage, "save", refuse)
    assert "read-only file system" in doctor_words(doctor.storage)


def test_a_model_that_answers_and_one_that_does_not(llm: Toy, settings: Any) -> None:
    settings.LLM_PROVIDER, settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "openai", "key", llm.url
    llm.script([{"text": "ok"}, {"status": 401, "message": "no"}])
    assert "answers" in doctor.model()
    assert "check the key" in doctor_words(doctor.model)


def test_a_redis_that_is_away_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise doctor.RedisError("Connection refused")

    monkeypatch.setattr(doctor, "_redis", away)
    assert "Check REDIS_URL" in found()["clock"].words


def doctor_words(check: object) -> str:
    assert callable(check)
    with pytest.raises((doctor.Wrong, doctor.Doubtful)) as said:
        check()
    return str(said.value)
