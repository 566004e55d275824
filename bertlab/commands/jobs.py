"""Many runs as processes of their own, a few at a time, each on a device; stopped together, logged apart."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bertlab.commands.run_specs import RunSpec
from bertlab.console import info
from bertlab.errors import UserError

# What a stopped process may take to leave, in seconds, before it is killed: a run finishes its step and saves first,
# which takes a large model on a CPU longer than the 10 s this was once.
GRACE = 60.0
# Seconds between two looks at the processes that run.
POLL = 0.05


@dataclass(frozen=True)
class Slot:
    """A place for one process: a device, and what the process's environment says of it."""

    device: str
    environment: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Process:
    """A run under way."""

    run: RunSpec
    slot: Slot
    child: "subprocess.Popen[bytes]"
    began: float


class Event(NamedTuple):
    """A run has started, or ended with an exit status (negative: killed by that signal) after some seconds."""

    run: RunSpec
    device: str
    status: int | None = None
    seconds: float = 0.0


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


def run_all(runs: Sequence[RunSpec], slots: Sequence[Slot]) -> Generator[Event, None, None]:
    """Start every run, as many at once as there are slots, and yield what starts and what ends.

    A request to stop (Ctrl-C, SIGTERM, a closed terminal), closing the iterator or an exception stops the processes
    that run, and starts no other.

    Raises:
        KeyboardInterrupt: a request to stop came.
        UserError: a process cannot be started.
    """
    waiting, free = collections.deque(runs), collections.deque(slots)
    running: list[_Process] = []
    with _stop_requests() as requests:
        try:
            while not requests and (waiting or running):
                if waiting and free:
                    running.append(_start(waiting.popleft(), free.popleft()))
                    yield Event(running[-1].run, running[-1].slot.device)
                    continue
                ended = [process for process in running if process.child.poll() is not None]
                for process in ended:
                    running.remove(process)
                    free.append(process.slot)
                    seconds = time.monotonic() - process.began
                    yield Event(process.run, process.slot.device, process.child.returncode, seconds)
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


def _start(run: RunSpec, slot: Slot) -> _Process:
    try:
        with run.log.open("ab") as log:
            child = subprocess.Popen(
                run.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot.environment},
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its children in order
            )
    except OSError as error:  # no more processes or memory, a log that cannot be written
        raise UserError(
            f"{run.folder}: its process could not be started: {error}.", "The same command resumes from here."
        ) from error
    return _Process(run, slot, child, time.monotonic())


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
