"""Many commands as processes of their own, a few at a time, each on a device; stopped together, logged apart."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bertlab.console import info
from bertlab.errors import UserError

# What a stopped process may take to leave, in seconds, before it is killed: a run finishes its step and saves first,
# which takes a large model on a CPU longer than the 10 s this was once.
GRACE = 60.0


@dataclass(frozen=True)
class Job:
    """A command with the file that takes what it prints."""

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True)
class Slot:
    """A place for one process: a device, and what the process's environment says of it."""

    device: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Started:
    """A job that has begun."""

    job: Job
    slot: Slot


@dataclass(frozen=True)
class Ended:
    """A job that has ended, with its exit status (negative: killed by that signal) and seconds.

    The status is None where another process, of an earlier call or another one, is still at it.
    """

    job: Job
    status: int | None
    seconds: float


def slots(devices: Sequence[str], jobs: int) -> list[Slot]:
    """Return `jobs` places on each device; without names on every visible GPU, or on the CPU where there is none.

    Several processes on the CPU share its cores, unless OMP_NUM_THREADS is set.

    Raises:
        UserError: a device is not there, or is named twice.
    """
    visible = _visible_gpus() if not devices or any(name != "cpu" for name in devices) else []
    named = [name.removeprefix("cuda:") for name in devices] or [str(i) for i in range(len(visible))] or ["cpu"]
    for given, name in zip(devices, named, strict=False):
        if name != "cpu" and not (name.isdecimal() and int(name) < len(visible)):
            known = [*(f"cuda:{i}" for i in range(len(visible))), "cpu"]
            raise UserError(f"--devices {given}: there is no such device.", f"There is {', '.join(known)}.")
    if len(set(named)) < len(named):
        raise UserError(f"--devices {' '.join(devices)}: one is named twice.", "Put several runs on it with --jobs.")
    # Round after round, so that the first runs are spread over all devices.
    return [_slot(name, visible, jobs, explicit=bool(devices)) for _ in range(jobs) for name in named]


def run_all(jobs: Sequence[Job], places: Sequence[Slot]) -> Generator[Started | Ended, None, None]:
    """Run every job, as many at once as there are places, and yield what happens as it happens.

    Closing the iterator, or an exception (Ctrl-C) in it, stops the processes that run and starts no other.
    """
    runner = _Runner(places)
    pool = ThreadPoolExecutor(len(places))
    try:
        for job in jobs:
            pool.submit(runner.work, job)
        left = len(jobs)
        while left:
            event = runner.events.get()
            left -= isinstance(event, Ended)
            yield event
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        runner.stop()
        pool.shutdown()


@contextlib.contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """Take a request to end, or a closed terminal, as Ctrl-C, so that no process is left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    # nohup has SIGHUP ignored, and it stays so.
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    wanted = [getattr(signal, name) for name in names if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Runner:
    """The processes that run at this moment, and the places that are free."""

    def __init__(self, places: Sequence[Slot]) -> None:
        self.events: queue.SimpleQueue[Started | Ended] = queue.SimpleQueue()
        self.free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.children: set[subprocess.Popen[bytes]] = set()
        self.stopping = False
        for place in places:
            self.free.put(place)

    def work(self, job: Job) -> None:
        """Run one job on a free place, and tell when it starts and ends."""
        slot, began, status = self.free.get(), time.monotonic(), None
        try:
            child = self._start(job, slot)
            if child is not None:
                self.events.put(Started(job, slot))
                status = child.wait()
                with self.lock:
                    self.children.discard(child)
        except OSError:
            status = 127  # as a shell says of a command that cannot be started
        finally:
            self.free.put(slot)
            self.events.put(Ended(job, status, time.monotonic() - began))

    def stop(self) -> None:
        """End every process that runs, with all it has started, and let none begin."""
        with self.lock:
            self.stopping = True
            children = list(self.children)
        for child in children:
            _signal(child, signal.SIGTERM)
        if children:
            runs = "1 run" if len(children) == 1 else f"{len(children)} runs"
            info(f"waiting up to {GRACE:.0f} s for {runs} to save; Ctrl-C again does not wait.")
        deadline = time.monotonic() + GRACE
        try:
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.1, deadline - time.monotonic()))
        finally:
            for child in children:
                if child.poll() is None:
                    _signal(child, getattr(signal, "SIGKILL", signal.SIGTERM))

    def _start(self, job: Job, slot: Slot) -> "subprocess.Popen[bytes] | None":
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log, self.lock:
            if self.stopping or not _claim(log):
                return None
            child = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot.environment},
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its children in order
            )
            self.children.add(child)
        return child


def _claim(log: BinaryIO) -> bool:
    """Lock a log for as long as the process that inherits it lives, even if this one is killed; False if it is taken.

    A lock of flock belongs to the open file, which parent and child share, and not to a process.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            child.terminate()
        else:
            os.killpg(child.pid, number)


def _visible_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each GPU that this process may use."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _slot(name: str, visible: Sequence[str], jobs: int, explicit: bool) -> Slot:
    if name != "cpu":
        return Slot(f"cuda:{name}", {"CUDA_VISIBLE_DEVICES": visible[int(name)]})
    environment = {"CUDA_VISIBLE_DEVICES": ""} if explicit else {}
    if jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        environment["OMP_NUM_THREADS"] = str(max(1, cores // jobs))
    return Slot("cpu", environment)
