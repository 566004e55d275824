"""Many commands as processes of their own, a few at a time, each on a device; stopped together, logged apart."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertlab.console import info
from bertlab.errors import UserError

# What a stopped process may take to leave, in seconds, before it is killed: a run finishes its step and saves first,
# which takes a large model on a CPU longer than the 10 s this was once.
GRACE = 60.0
# Seconds between two looks at the processes that run.
POLL = 0.05
# As a shell says of a command that cannot be started.
CANNOT_START = 127


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


@dataclass(frozen=True, eq=False)
class _Process:
    """A job that runs."""

    job: Job
    slot: Slot
    child: "subprocess.Popen[bytes]"
    began: float


@dataclass(frozen=True)
class Ended:
    """A job that has ended, with its exit status (negative: killed by that signal) and seconds."""

    job: Job
    status: int
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
            devices = [*(f"cuda:{i}" for i in range(len(visible))), "cpu"]
            raise UserError(f"--devices {given}: there is no such device.", f"There is {', '.join(devices)}.")
    if len(set(named)) < len(named):
        raise UserError(f"--devices {' '.join(devices)}: one is named twice.", "Put several runs on it with --jobs.")
    # Round after round, so that the first runs are spread over all devices.
    return [_slot(name, visible, jobs, explicit=bool(devices)) for _ in range(jobs) for name in named]


def run_all(jobs: Sequence[Job], slots: Sequence[Slot]) -> Generator[Started | Ended, None, None]:
    """Run every job, as many at once as there are slots, and yield what starts and what ends.

    A request to stop (Ctrl-C, SIGTERM, a closed terminal), closing the iterator or an exception stops the processes
    that run, and starts no other.

    Raises:
        KeyboardInterrupt: a request to stop came.
    """
    waiting, free = collections.deque(jobs), collections.deque(slots)
    running: list[_Process] = []
    with _stop_requests() as requests:
        try:
            while not requests and (waiting or running):
                if waiting and free:
                    yield _start(waiting.popleft(), free, running)
                    continue
                ended = [process for process in running if process.child.poll() is not None]
                for process in ended:
                    running.remove(process)
                    free.append(process.slot)
                    yield Ended(process.job, process.child.returncode, time.monotonic() - process.began)
                if not ended:
                    time.sleep(POLL)
            if requests:
                raise KeyboardInterrupt
        finally:
            _stop([process.child for process in running], requests)


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Yield a list of the signals that ask this process to stop, so that none breaks in while a process is started."""
    requests: list[int] = []
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # nohup has SIGHUP ignored, and it stays so.
    numbers = [getattr(signal, name) for name in names if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: requests.append(number)) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(job: Job, free: "collections.deque[Slot]", running: list[_Process]) -> Started | Ended:
    """Start a job on the first free place."""
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            child = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **free[0].environment},
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its children in order
            )
    except OSError:
        return Ended(job, CANNOT_START, 0.0)
    running.append(_Process(job, free.popleft(), child, time.monotonic()))
    return Started(job, running[-1].slot)


def _stop(children: Sequence["subprocess.Popen[bytes]"], requests: Sequence[int]) -> None:
    """End processes with all they have started; after GRACE seconds, or one more request to stop, kill them."""
    if not children:
        return
    for child in children:
        _signal(child, signal.SIGTERM)
    runs = "1 run" if len(children) == 1 else f"{len(children)} runs"
    info(f"waiting up to {GRACE:.0f} s for {runs} to save; Ctrl-C again does not wait.")
    deadline, before = time.monotonic() + GRACE, len(requests)
    while any(child.poll() is None for child in children):
        if time.monotonic() > deadline or len(requests) > before:
            for child in children:
                _signal(child, getattr(signal, "SIGKILL", signal.SIGTERM))
                child.wait()
        time.sleep(POLL)


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
