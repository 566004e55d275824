"""The ways a run can end before its end, each told in one line: a signal, a full disk, too little memory."""

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bertlab.errors import Interrupted, UserError, causes
from bertlab.training import checkpoints, output_dir, output_lock, signals

# What says that a disk (or a quota, or a limit on a file's size) is full: as error numbers, and in the words of
# libraries that pass on no number.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_WORDS = tuple(os.strerror(number) for number in FULL)
# torch says no more than this when a write comes back short.
TORCH_WRITE_FAILED = ("PytorchStreamWriter failed", "unexpected pos")
NO_MEMORY_WORDS = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
PEER_WORDS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket Timeout")


@contextlib.contextmanager
def handle_run_failures(folder: Path, training: Mapping[str, Any]) -> Iterator[None]:
    """Run a block so that what can end it early is told in one line, and the folder is given back.

    `folder` is the run's; `training` holds its training flags, for what helps where memory is short.

    Raises:
        UserError: the disk is full, the memory too small, or another process of the run has ended.
        Interrupted: Ctrl-C or SIGTERM, with how to go on.
    """
    try:
        with signals.eval_split():
            yield
    except (Interrupted, KeyboardInterrupt) as stopped:
        number = stopped.number if isinstance(stopped, Interrupted) else signal.SIGINT
        raise Interrupted(number, _how_to_go_on(number, folder)) from None
    except UserError as error:
        # Of a file that could not be written for want of room more can be told: how much there is, and how to go on.
        if any(isinstance(link, OSError) and link.errno in FULL and link.filename for link in causes(error)):
            raise _disk_full(folder, list(causes(error))) from error
        raise
    except Exception as error:
        received = signals.received()
        if received is not None:  # another process of the run ended by the signal first, and this one missed it
            raise Interrupted(received, _how_to_go_on(received, folder)) from None
        told = explain(error, folder, training)
        if told is None:
            raise
        raise told from error
    finally:
        output_lock.release(mark=output_dir.needs_mark(folder))


def explain(error: Exception, folder: Path, training: Mapping[str, Any]) -> UserError | None:
    """Return what a user is to know of a failure of the machine; None for any other failure."""
    chain = list(causes(error))
    if any(_is_full(link) for link in chain):
        return _disk_full(folder, chain)
    if any(isinstance(link, MemoryError) or _says(link, NO_MEMORY_WORDS) for link in chain):
        return _out_of_memory(error, training)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and any(_says(link, PEER_WORDS) for link in chain):
        return UserError("another process of this run has ended.", "Its own line says why.")
    return None


def _how_to_go_on(number: int, folder: Path) -> str:
    by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    saved = checkpoints.numbered(folder)
    if not saved:
        return f"stopped by {by}; no checkpoint was made yet, so the same command starts anew."
    return f"stopped by {by}; go on from {saved[-1]} with the same command and --resume auto."


def _disk_full(folder: Path, chain: list[BaseException]) -> UserError:
    named = next((link.filename for link in chain if isinstance(link, OSError) and link.filename), None)
    place = Path(os.fsdecode(named)).parent if named else folder
    place = next((path for path in (place, *place.parents) if path.is_dir()), Path())
    free = _size(shutil.disk_usage(place).free)
    saved = checkpoints.numbered(folder)
    size = sum(path.stat().st_size for path in saved[-1].rglob("*") if path.is_file()) if saved else 0
    needs = f"; a checkpoint takes {_size(size)}" if size else ""
    kept = f" {saved[-1]} is untouched:" if saved else ""
    return UserError(
        f"the disk is full: nothing more can be written in {place} ({free} free{needs}).",
        f"Make room;{kept} --resume auto goes on. --save_total_limit 1 and --save_strategy epoch take less.",
    )


def _out_of_memory(error: Exception, training: Mapping[str, Any]) -> UserError:
    evaluating = any(name in ("prediction_step", "evaluation_loop") for name in _functions(error))
    if evaluating:
        size = int(training.get("per_device_eval_batch_size") or 8)
        return UserError(
            f"evaluation needs more memory than there is ({_first_line(error)}).",
            f"Pass --per_device_eval_batch_size {max(1, size // 2)} (now {size}): the scores stay the same.",
        )
    size = int(training.get("per_device_train_batch_size") or 8)
    steps = int(training.get("gradient_accumulation_steps") or 1)
    # A part that does not divide the batch would make it another one: 33 rows are not 2 × 16.
    parts = next((number for number in range(2, size + 1) if size % number == 0), 1)
    smaller = (
        f"Pass --per_device_train_batch_size {size // parts} --gradient_accumulation_steps {steps * parts}: the "
        f"result stays the same. Or "
        if parts > 1
        else "Pass "
    )
    return UserError(
        f"training needs more memory than there is, at {size} rows at once ({_first_line(error)}).",
        f"{smaller}a smaller --max_seq_length, --activation_checkpointing, or --precision bf16.",
    )


def _is_full(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in FULL) or _says(error, (*FULL_WORDS, *TORCH_WRITE_FAILED))


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error)
    return any(word in text for word in words)


def _functions(error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_name
        trace = trace.tb_next


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:160]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
