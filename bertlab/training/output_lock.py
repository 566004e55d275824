"""One run at a time in an output folder: the second is told which one is there.

The kernel's own lock on a file tells on one machine, and over NFS 4, whether the run that took it still lives: it
goes with the process, however that ends. Where a file system does not share such locks between machines, the
holder's heartbeat does: a file that is touched twice a minute.
"""

import contextlib
import json
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bertlab.console import info, is_first_process
from bertlab.errors import UserError

# Where a run keeps what only it needs while it goes on. Trainer uploads nothing whose name begins with "_".
STATE = "_bertlab"
HEARTBEAT_SECONDS = 30.0
# A run on another machine that was silent for so long has ended.
SILENT_SECONDS = 300.0


@dataclass(frozen=True)
class Holder:
    """The run that has a folder, as it signed."""

    host: str
    pid: int
    started: str


class _Lock:
    """A taken folder: the kernel's lock, the signature, and the heartbeat that keeps it fresh."""

    def __init__(self, folder: Path, kernel: FileLock) -> None:
        self.folder = folder
        self.kernel = kernel
        self.ended = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True, name="bertlab-heartbeat")

    def sign(self) -> None:
        """Write down who has the folder, and keep that fresh."""
        holder = Holder(platform.node(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))
        _signature(self.folder).write_text(json.dumps(asdict(holder)), encoding="utf-8")
        self.heart.start()

    def release(self, mark: bool) -> None:
        """Give the folder back; `mark` leaves the empty folder of its state behind."""
        self.ended.set()
        self.heart.join()
        with contextlib.suppress(OSError):
            _signature(self.folder).unlink()
        self.kernel.release()
        # Nothing else is left of a run that has ended; where another one just took the folder, its lock stays.
        with contextlib.suppress(OSError, Timeout), self.kernel.acquire(timeout=0):
            _file(self.folder).unlink()
            if not mark:
                (self.folder / STATE).rmdir()

    def _beat(self) -> None:
        while not self.ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(_signature(self.folder))


_taken: list[_Lock] = []


def take(folder: Path) -> None:
    """Take a folder for this run until `release`; only its first process does.

    Raises:
        UserError: another run has it.
    """
    if not is_first_process():
        return
    kernel = FileLock(_file(folder))
    (folder / STATE).mkdir(exist_ok=True)
    try:
        kernel.acquire(timeout=0)
    except Timeout:
        raise _refusal(folder) from None
    before = _signed(folder)
    if before is not None and _is_elsewhere(before) and _silence(folder) < SILENT_SECONDS:
        kernel.release()
        raise _refusal(folder)
    if before is not None:
        info(f"the run before in {folder} (process {before.pid}, since {before.started}) was killed.")
    lock = _Lock(folder, kernel)
    lock.sign()
    _taken.append(lock)


def release(mark: bool = False) -> None:
    """Give back what this process took; a run that is killed need not: its lock goes with it.

    `mark` leaves the empty folder of the state behind, as a sign that what lies beside it is a run's.
    """
    while _taken:
        _taken.pop().release(mark)


def refuse_if_taken(folder: Path) -> None:
    """Refuse a folder that another run has; nothing is written.

    Raises:
        UserError: the run, its machine and process, and what to do.
    """
    if not is_first_process() or not _file(folder).is_file():
        return
    probe = FileLock(_file(folder))
    try:
        probe.acquire(timeout=0)
    except Timeout:
        raise _refusal(folder) from None
    except OSError:  # a folder that cannot be written is refused as such later
        return
    signed = _signed(folder)
    live_elsewhere = signed is not None and _is_elsewhere(signed) and _silence(folder) < SILENT_SECONDS
    probe.release()
    if live_elsewhere:
        raise _refusal(folder)


def _refusal(folder: Path) -> UserError:
    holder = _signed(folder)
    if holder is None:
        return UserError(f"{folder} is being written by another run.", "Wait for it, or name another --output_dir.")
    told = f"{folder} is being written by another run (process {holder.pid} on {holder.host}, since {holder.started})."
    if not _is_elsewhere(holder):
        return UserError(told, "Wait for it, or name another --output_dir.")
    return UserError(
        told,
        f"It gave a sign of life {_silence(folder):.0f} s ago; if it has ended, delete {_signature(folder)} "
        f"or wait until it was silent for {SILENT_SECONDS:.0f} s.",
    )


def _file(folder: Path) -> Path:
    return folder / STATE / "lock"


def _signature(folder: Path) -> Path:
    return folder / STATE / "holder.json"


def _signed(folder: Path) -> Holder | None:
    try:
        return Holder(**json.loads(_signature(folder).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_elsewhere(holder: Holder) -> bool:
    return holder.host != platform.node()


def _silence(folder: Path) -> float:
    """Return the seconds since the holder's last heartbeat, by the clock of the file system itself."""
    try:
        _file(folder).touch()
        return max(0.0, _file(folder).stat().st_mtime - _signature(folder).stat().st_mtime)
    except OSError:
        return 0.0
