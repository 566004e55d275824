"""One run at a time in an output folder, by filelock's lease on a file in it.

The run's first process refreshes its lease. Another run on this machine sees at once whether that process is alive; one
on another machine, where the folder is shared, takes over a lease that was not refreshed for LEASE_SECONDS.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import SoftFileLease, Timeout

from bertlab.console import info, is_first_process
from bertlab.errors import UserError

# Files of a run in progress. Trainer uploads nothing whose name begins with "_".
STATE = "_bertlab"
LEASE_SECONDS = 60.0
# filelock may need two attempts to take over the lease of a dead process.
ATTEMPT_SECONDS = 1.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an output folder while the block lasts; only the first process of a run does.

    A run that does not finish leaves the folder STATE behind, as a sign that the files around it are a run's.

    Raises:
        UserError: another run holds it.
    """
    if not is_first_process():
        yield
        return
    (folder / STATE).mkdir(parents=True, exist_ok=True)
    lease = _lease(folder)
    _acquire(lease, folder)
    try:
        yield
    finally:
        lease.release()
    with contextlib.suppress(OSError):
        (folder / STATE).rmdir()


def refuse_if_locked(folder: Path) -> None:
    """Refuse a folder that another run holds.

    Raises:
        UserError: the run's process and machine, and what to do.
    """
    lease = _lease(folder)
    if is_first_process() and lease.owner is not None:
        with contextlib.suppress(OSError):  # a folder that cannot be written is refused as such later
            _acquire(lease, folder)
            lease.release()


def _lease(folder: Path) -> SoftFileLease:
    return SoftFileLease(folder / STATE / "lease", lease_duration=LEASE_SECONDS)


def _acquire(lease: SoftFileLease, folder: Path) -> None:
    before = lease.owner
    try:
        lease.acquire(timeout=ATTEMPT_SECONDS)
    except Timeout:
        if _is_here(lease):
            raise _refusal(lease, folder) from None
        info(f"a run on another machine holds {folder}; waiting {LEASE_SECONDS:.0f} s to see whether it is alive.")
        try:
            lease.acquire(timeout=LEASE_SECONDS + 2 * ATTEMPT_SECONDS)
        except Timeout:
            raise _refusal(lease, folder) from None
    if before is not None:
        info(f"the run before in {folder} (process {before.pid} on {before.hostname}) was killed.")


def _is_here(lease: SoftFileLease) -> bool:
    """Return True if the owner is on this machine, or in this container, where filelock sees whether it is alive."""
    with tempfile.TemporaryDirectory() as folder, SoftFileLease(Path(folder) / "lease") as own:
        return own.owner is not None and lease.owner is not None and own.owner.hostname == lease.owner.hostname


def _refusal(lease: SoftFileLease, folder: Path) -> UserError:
    owner = lease.owner
    who = "another run" if owner is None else f"another run (process {owner.pid} on {owner.hostname})"
    return UserError(f"{folder} is being written by {who}.", "Wait for it, or name another --output_dir.")
