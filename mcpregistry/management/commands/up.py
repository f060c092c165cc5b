"""`make run`: everything the product needs, in one terminal, until Ctrl-C."""

import gc
import importlib
import os
import secrets
import time
import urllib.error
import urllib.request
from functools import partial
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from mcpregistry import demo, embedded, web
from mcpregistry.accounts import sign_in_path
from mcpregistry.supervisor import Program, Supervisor, forked
from mcpregistry.workers import JOBS_OF_QUEUE
from registry.sources import schedule_by_default

FIRST_CATALOGUE = "official"
READY_TIMEOUT_S = 120
HEALTH_EVERY_S = 0.25
HEALTH_TIMEOUT_S = 5
WORKER_TTL_S = 60  # a worker that says nothing for so long counts as dead
FORKING = "mcpregistry.workers.ForkingWorker"
KEEPING = "mcpregistry.workers.KeepingWorker"
TURNS = "mcpregistry.workers.TurnsWorker"
SEVERAL = {"runs": FORKING, "probes": FORKING, "chat": TURNS}  # queues with WORKERS workers each


class Command(BaseCommand):
    help = "Start everything: Postgres and Redis unless their URLs are set, the web server and the workers."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        started_at = time.monotonic()
        host, port = os.environ.get("HOST") or "127.0.0.1", port_number()
        workers, web_processes = count_of("WORKERS"), count_of("WEB_PROCESSES")
        listener = web.listen(host, port)
        supervisor = Supervisor()
        try:
            start_services(supervisor)
            secret = prepare()
            for program in web.programs(listener, web_processes):
                supervisor.add(program)
            start_workers(supervisor, workers)
            if wait_until_ready(supervisor, address(host, port)):
                self.stdout.write(welcome(address(host, port), secret, time.monotonic() - started_at))
                supervisor.run()
        except embedded.EmbeddedError as error:
            raise CommandError(str(error)) from error
        finally:
            supervisor.stop()


def port_number() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise CommandError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def count_of(name: str) -> int:
    """Of processes, as the environment says; else two."""
    text = os.environ.get(name) or "2"
    if not text.isdigit() or not int(text):
        raise CommandError(f"{name} must be a number from 1 on, not {text!r}.")
    return int(text)


def address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # nosec B104 # how an address is shown, not bound
    return f"http://{shown}:{port}"


def start_services(supervisor: Supervisor) -> None:
    """Postgres and Redis, where no URL says that they are elsewhere."""
    data_dir = settings.DATA_DIR
    if not os.environ.get("DATABASE_URL"):
        supervisor.add(
            Program(
                "postgres",
                lambda: embedded.start_postgres(data_dir),
                lambda: embedded.postgres_answers(data_dir),
                embedded.stop_postgres,
            )
        )
    if not os.environ.get("REDIS_URL"):
        supervisor.add(
            Program(
                "redis",
                lambda: embedded.start_redis(data_dir),
                lambda: embedded.redis_answers(data_dir),
                embedded.stop_redis,
            )
        )


def prepare() -> str:
    """Migrate, make the first superuser, register the demo servers. The superuser's password when it is new."""
    settings.STATIC_ROOT.mkdir(exist_ok=True)  # whitenoise warns where it is missing
    call_command("migrate", verbosity=0, interactive=False)
    password = make_first_superuser()
    demo.register(User.objects.filter(is_superuser=True).earliest("pk"))
    if os.environ.get("IMPORT_ON_START") != "0":
        schedule_by_default(name=FIRST_CATALOGUE)
    return password


def make_first_superuser() -> str:
    if User.objects.filter(is_superuser=True).exists():
        return ""
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser("admin", password=password)
    return password


def start_workers(supervisor: Supervisor, count: int) -> None:
    """Forks of ours, once their jobs are imported."""
    os.environ["TQDM_DISABLE"] = "1"
    for module in set(JOBS_OF_QUEUE.values()):
        importlib.import_module(module)
    connections.close_all()
    gc.collect()
    gc.freeze()  # what is there now stays: looking through it, each worker would copy all of it
    for name, arguments in worker_commands(count).items():
        supervisor.add(forked(name, partial(call_command, *arguments)))


def worker_commands(count: int) -> dict[str, list[str]]:
    """Arguments of manage.py by the name of the process: one queue a worker."""
    several = range(1, count + 1)
    workers = {f"{queue}-{number}": (queue, kind) for queue, kind in SEVERAL.items() for number in several}
    workers |= {"catalogue": ("catalogue", KEEPING)}
    ttl = f"--worker-ttl={WORKER_TTL_S}"
    commands = {
        name: ["rqworker", queue, f"--worker-class={kind}", ttl, "--verbosity=0"]
        for name, (queue, kind) in workers.items()
    }
    if settings.RQ_CRON:
        commands["cron"] = ["rqcron", "mcpregistry.cron", "--logging-level=WARNING"]
    return commands


def wait_until_ready(supervisor: Supervisor, base: str) -> bool:
    """True once /healthz says ok; False when somebody asked to stop before."""
    started_at = asked_at = time.monotonic()
    while not supervisor.stop_requests:
        supervisor.tick()
        if time.monotonic() - asked_at < HEALTH_EVERY_S:
            continue
        asked_at = time.monotonic()
        status, answer = ask_health(base)
        if status == HTTPStatus.OK:
            return True
        if asked_at - started_at > READY_TIMEOUT_S:
            raise CommandError(f"Not ready after {READY_TIMEOUT_S} s; {base}/healthz says: {answer}")
    return False


def ask_health(base: str) -> tuple[int, str]:
    """Status and answer of /healthz; status 0 and the reason while nobody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{base}/healthz", timeout=HEALTH_TIMEOUT_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def welcome(base: str, password: str, took_s: float) -> str:
    admin = User.objects.filter(is_superuser=True).earliest("pk")
    rows = {"Address": f"{base}/", "Sign in": f"{base}{sign_in_path(admin)}  (works once)"}
    if password:
        rows["Password"] = f"{password}  (of user {admin.username}; shown only this time)"
    rows |= {"Data": str(settings.DATA_DIR), "Stop": "Ctrl-C"}
    connections.close_all()
    lines = "\n".join(f"  {name:<10}{value}" for name, value in rows.items())
    return f"\nMCP Registry is ready after {took_s:.1f} s.\n\n{lines}\n"
