"""What can end a run early, each explained in one line: a signal, a full disk, too little memory."""

import contextlib
import errno
import os
import shutil
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertlab.errors import Interrupted, UserError, causes, first_line
from bertlab.training import checkpoints
from bertlab.training.signals import Signals, install_signal_handlers

# A full disk, a quota, or a limit on a file's size: as error numbers, and in the messages of libraries that pass on no
# number. The last two are all that torch says when a write comes back short.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_TEXTS = (*(os.strerror(number) for number in FULL), "PytorchStreamWriter failed", "unexpected pos")
NO_MEMORY_TEXTS = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
PEER_TEXTS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket Timeout")
# What torch says in training: what that means, and what to do.
MEANINGS = (
    (
        "Weights only load failed",
        "--resume: the checkpoint has a file that is more than tensors and numbers; it could run code.",
        "Resume only from checkpoints that this program wrote.",
    ),
    (
        "finished reduction in the prior iteration",
        "some parameters of this model take no part in a step, which several processes do not expect.",
        "Pass --ddp_find_unused_parameters true.",
    ),
)


@contextlib.contextmanager
def handle_run_failures(folder: Path, training: Mapping[str, Any]) -> Iterator[Signals]:
    """Run a block so that what can end it early is explained in one line; give it the signals that come meanwhile.

    `folder` is the run's; `training` are its training flags, for what helps where memory is short.

    Raises:
        UserError: the disk is full, the memory too small, or another process of the run has ended.
        Interrupted: Ctrl-C or SIGTERM, with how to resume.
    """
    replaced = _written(folder) if training.get("overwrite_output_dir") else {}
    with install_signal_handlers() as signals:
        try:
            yield signals
        except (Interrupted, KeyboardInterrupt) as stopped:
            number = stopped.number if isinstance(stopped, Interrupted) else signal.SIGINT
            raise Interrupted(number, _how_to_resume(number, _saved(folder, replaced), training)) from None
        except UserError as error:
            chain = list(causes(error))
            if any(isinstance(link, OSError) and link.errno in FULL for link in chain):
                raise _disk_full(folder, chain, _saved(folder, replaced)) from error
            raise
        except Exception as error:
            saved = _saved(folder, replaced)
            if signals.received is not None:  # another process of the run ended by the signal first
                raise Interrupted(signals.received, _how_to_resume(signals.received, saved, training)) from None
            explained = explain(error, folder, training, saved)
            if explained is None:
                raise
            raise explained from error


def explain(
    error: Exception, folder: Path, training: Mapping[str, Any], saved: Sequence[Path] = ()
) -> UserError | None:
    """Return what to print about a failure of the machine, or of one of MEANINGS; None for any other failure.

    `saved` are the checkpoints of the run, by step.
    """
    chain = list(causes(error))
    if any(_is_full(link) for link in chain):
        return _disk_full(folder, chain, saved)
    if any(isinstance(link, MemoryError) or _mentions(link, NO_MEMORY_TEXTS) for link in chain):
        return _out_of_memory(error, training)
    for text, problem, hint in MEANINGS:
        if any(text in str(link) for link in chain):
            return UserError(problem, hint)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and any(_mentions(link, PEER_TEXTS) for link in chain):
        return UserError("another process of this run has ended.", "Its own line says why.")
    return None


def _written(folder: Path) -> dict[Path, int]:
    """Return the checkpoints in a folder by step, with the time of the last change of each."""
    found = {}
    for path in checkpoints.numbered(folder):
        with contextlib.suppress(FileNotFoundError):  # another process of the run is deleting it
            found[path] = path.stat().st_mtime_ns
    return found


def _saved(folder: Path, replaced: Mapping[Path, int]) -> list[Path]:
    """Return the checkpoints of this run: those of a run that it replaces are there until it trains."""
    return [path for path, time in _written(folder).items() if replaced.get(path) != time]


def _how_to_resume(number: int, saved: Sequence[Path], training: Mapping[str, Any]) -> str:
    by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    if not saved:
        return f"stopped by {by}; there is no checkpoint yet, so the same command starts from the beginning."
    if training.get("save_only_model"):
        return f"stopped by {by}; {saved[-1]} is the model alone (--save_only_model), from which no run resumes."
    return f"stopped by {by}; resume from {saved[-1]} with the same command and --resume auto."


def _disk_full(folder: Path, chain: list[BaseException], saved: Sequence[Path]) -> UserError:
    named = next((link.filename for link in chain if isinstance(link, OSError) and link.filename), None)
    place = Path(os.fsdecode(named)).parent if named else folder
    place = next((path for path in (place, *place.parents) if path.is_dir()), Path())
    free = _size(shutil.disk_usage(place).free)
    size = sum(path.stat().st_size for path in saved[-1].rglob("*") if path.is_file()) if saved else 0
    needs = f"; a checkpoint takes {_size(size)}" if size else ""
    kept = f" {saved[-1]} is untouched:" if saved else ""
    return UserError(
        f"the disk is full: nothing more can be written in {place} ({free} free{needs}).",
        f"Make room;{kept} --resume auto continues. --save_total_limit 1 and --save_strategy epoch take less.",
    )


def _out_of_memory(error: Exception, training: Mapping[str, Any]) -> UserError:
    frames = traceback.extract_tb(error.__traceback__)
    if any(frame.name in ("prediction_step", "evaluation_loop") for frame in frames):
        size = int(training.get("per_device_eval_batch_size") or 8)
        return UserError(
            f"evaluation needs more memory than there is ({first_line(error)}).",
            f"Pass --per_device_eval_batch_size {max(1, size // 2)} (now {size}): the scores stay the same.",
        )
    size = int(training.get("per_device_train_batch_size") or 8)
    steps = int(training.get("gradient_accumulation_steps") or 1)
    # Micro-batches must divide the batch, or the global batch changes: 33 rows are not 2 × 16.
    parts = next((number for number in range(2, size + 1) if size % number == 0), 1)
    layout = f"--gradient_accumulation_steps {steps * parts}"
    if not training.get("global_batch_size"):
        layout = f"--per_device_train_batch_size {size // parts} {layout}"
    smaller = f"Pass {layout}: the result stays the same. Or " if parts > 1 else "Pass "
    return UserError(
        f"training needs more memory than there is, at {size} rows at once ({first_line(error)}).",
        f"{smaller}a smaller --max_seq_length, --activation_checkpointing, or --precision bf16.",
    )


def _is_full(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in FULL) or _mentions(error, FULL_TEXTS)


def _mentions(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error) for text in texts)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
