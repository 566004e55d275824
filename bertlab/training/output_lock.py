"""One run at a time in an output folder, by filelock's lease on a file in it.

The run's first process keeps its claim fresh. Another run on this machine sees at once whether that process still
lives; one on another machine, where the folder is shared, waits until the claim was not refreshed for LEASE_SECONDS.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import SoftFileLease, Timeout

from bertlab.console import info, is_first_process
from bertlab.errors import UserError

# Where a run keeps what only it needs while it goes on. Trainer uploads nothing whose name begins with "_".
STATE = "_bertlab"
LEASE_SECONDS = 60.0
# A claim whose process has died is taken over within two attempts of filelock.
SECOND = 1.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an output folder while the block lasts; only the first process of a run does.

    A run that does not finish leaves the folder STATE: what lies beside it is a run's, and may be begun again.

    Raises:
        UserError: another run holds it.
    """
    if not is_first_process():
        yield
        return
    (folder / STATE).mkdir(exist_ok=True)
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
        with contextlib.suppress(PermissionError):  # a folder that cannot be written is refused as such later
            _acquire(lease, folder)
            lease.release()


def _lease(folder: Path) -> SoftFileLease:
    return SoftFileLease(folder / STATE / "lease", lease_duration=LEASE_SECONDS)


def _acquire(lease: SoftFileLease, folder: Path) -> None:
    before = lease.owner
    try:
        lease.acquire(timeout=SECOND)
    except Timeout:
        if _is_here(lease):
            raise _refusal(lease, folder) from None
        info(f"{folder} is held by a run on another machine; waiting {LEASE_SECONDS:.0f} s for a sign of life of it.")
        try:
            lease.acquire(timeout=LEASE_SECONDS + 2 * SECOND)
        except Timeout:
            raise _refusal(lease, folder) from None
    if before is not None:
        info(f"the run before in {folder} (process {before.pid} on {before.hostname}) was killed.")


def _is_here(lease: SoftFileLease) -> bool:
    """Return True where filelock can tell whether the owner lives: in this machine, or in this container."""
    with tempfile.TemporaryDirectory() as folder, SoftFileLease(Path(folder) / "lease") as own:
        return own.owner is not None and lease.owner is not None and own.owner.hostname == lease.owner.hostname


def _refusal(lease: SoftFileLease, folder: Path) -> UserError:
    owner = lease.owner
    who = "another run" if owner is None else f"another run (process {owner.pid} on {owner.hostname})"
    return UserError(f"{folder} is being written by {who}.", "Wait for it, or name another --output_dir.")
