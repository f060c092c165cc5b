"""`/metrics` for Prometheus: what this machine's web processes served, and how the whole registry stands.

Requests are counted in files that all web processes of a machine share (METRICS_DIR, prometheus_client's multiprocess
mode). What jobs do is read from the tables when asked: it is right whoever does it, on whichever machine.
"""

import os

import psutil
from django.conf import settings


def count_together() -> None:
    """For a web process, before prometheus_client is loaded: it decides then where it counts."""
    settings.METRICS_DIR.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(settings.METRICS_DIR)
    forget_the_dead()


def forget_the_dead() -> None:
    """Files of web processes that are no more: their counts begin again, as at any start."""
    for path in settings.METRICS_DIR.glob("*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            path.unlink(missing_ok=True)
