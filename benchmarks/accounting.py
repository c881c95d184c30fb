"""What the operating system says that a process and its children have used."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The process and all below it; none once it is gone."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def cpu_seconds(pids: list[int], *, alone: bool = False) -> float:
    """CPU time that these processes have used, in seconds, with their children or without."""
    return sum(_cpu_of(process) for pid in pids for process in family(pid)[: 1 if alone else None])


def resident_bytes(pids: list[int]) -> int:
    """Memory that these processes and their children hold."""
    total = 0
    for process in (process for pid in pids for process in family(pid)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


@contextmanager
def apart(pids: list[int], others: list[int]) -> Iterator[None]:
    """The first have one core to themselves, and the others the rest, where the system has such a thing and cores."""
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) < 2:
        yield
        return
    _bind(pids, {cores[-1]})
    _bind(others, set(cores[:-1]))
    try:
        yield
    finally:
        _bind([*pids, *others], set(cores))


def _bind(pids: list[int], cores: set[int]) -> None:
    for process in (process for pid in pids for process in family(pid)):
        # Of each thread: those that run already do not follow the first one.
        for thread in process.threads():
            with suppress(ProcessLookupError):
                if sys.platform == "linux":
                    os.sched_setaffinity(thread.id, cores)


def _cpu_of(process: psutil.Process) -> float:
    if sys.platform == "linux":
        with suppress(OSError):
            # Another process's clock, in nanoseconds (clock_getcpuclockid(3)); `cpu_times` counts in ticks of 10 ms.
            return time.clock_gettime((~process.pid << 3) | 2)
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
