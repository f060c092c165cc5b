"""What machine the numbers are from."""

import os
import platform
from pathlib import Path

import psutil


def machine() -> str:
    memory_gb = psutil.virtual_memory().total / 2**30
    python = platform.python_version()
    load = os.getloadavg()[0]  # above the number of cores, the figures say more about the others than about us
    return (
        f"{os.cpu_count()} cores, {cpu_model()}, {memory_gb:.0f} GB, {platform.system()}, Python {python}, "
        f"load {load:.1f} before"
    )


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
