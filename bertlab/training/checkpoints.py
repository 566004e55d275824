"""Checkpoints on disk: which are complete, and how one is saved completely or not at all."""

import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bertlab.console import warning
from bertlab.training.output_lock import STATE

CHECKPOINT = re.compile(r"checkpoint-(\d+)")
STATE_FILE = "trainer_state.json"
# What resume.py compares, in every checkpoint.
SIGNATURE_FILE = "run_signature.json"
# Where files are written before they are renamed.
SAVING = Path(STATE) / "saving"


def step(checkpoint: Path) -> int:
    """Return the optimizer step of a folder named checkpoint-N."""
    return int(checkpoint.name.split("-")[1])


def numbered(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, complete or not, by step."""
    return sorted((path for path in folder.glob("*") if CHECKPOINT.fullmatch(path.name) and path.is_dir()), key=step)


def newest_complete(folder: Path) -> Path | None:
    """Return the newest complete checkpoint in a folder, or None; a warning names what is skipped and why."""
    for checkpoint in reversed(numbered(folder)):
        problem = validate_checkpoint(checkpoint)
        if problem is None:
            return checkpoint
        warning(f"{checkpoint} is incomplete ({problem}) and is skipped.")
    return None


def validate_checkpoint(checkpoint: Path) -> str | None:
    """Return what is missing or broken in a checkpoint, or None where it is complete.

    The size of the weights must match their header, and every archive of torch (optimizer, schedule, random numbers,
    and the weights that FSDP saves) must pass the checksums in it.
    """
    if not checkpoint.is_dir():
        return "there is no such folder"
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{STATE_FILE} {'is missing' if isinstance(error, FileNotFoundError) else 'is corrupt'}"
    if "global_step" not in state:
        return f"{STATE_FILE} names no step"
    weights = sorted(checkpoint.glob("*.safetensors"))
    if not weights and not any(checkpoint.glob("pytorch_model_fsdp*")):
        return "it has no weights"
    for part, file in (("optimizer state", "optimizer*"), ("schedule", "scheduler.pt"), ("random numbers", "rng_*")):
        if not any(checkpoint.glob(file)):
            return f"it has no {part}"
    missing = [name for name in sorted(_expected(checkpoint)) if not (checkpoint / name).is_file()]
    if missing:
        return f"{missing[0]} is missing"
    broken = [path.name for path in weights if not _is_complete_safetensors(path)]
    archives = sorted([*checkpoint.glob("*.pt*"), *checkpoint.glob("*.bin")])
    broken += [path.name for path in archives if not _is_complete_archive(path)]
    return f"{broken[0]} is corrupt" if broken else None


@contextlib.contextmanager
def staged(folder: Path, cleans: bool) -> Iterator[Path]:
    """Make a folder to write into, and remove it afterwards; what was moved out of it stays.

    `cleans` is True on the one process (of a machine) that makes and removes it.
    """
    staging = folder / SAVING
    if cleans:
        shutil.rmtree(staging, ignore_errors=True)  # what a killed run left
        staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        if cleans:
            shutil.rmtree(staging, ignore_errors=True)
            with contextlib.suppress(OSError):
                staging.parent.rmdir()


def commit(staging: Path, name: str, folder: Path) -> Path:
    """Rename a staged checkpoint once all of it is on the disk, in place of one of that name."""
    for path in (staging / name).rglob("*"):
        if path.is_file():
            _to_disk(path)
    final = folder / name
    _discard(final, staging)
    (staging / name).rename(final)
    _to_disk(folder)
    return final


def move_files(source: Path, folder: Path) -> None:
    """Move files and folders into a folder one by one, each in place of one of its name; weights come last."""
    for path in sorted(source.iterdir(), key=lambda path: (path.suffix == ".safetensors", path.name)):
        _to_disk(path)
        if path.is_dir():
            shutil.rmtree(folder / path.name, ignore_errors=True)
        path.replace(folder / path.name)


def rotate(folder: Path, limit: int | None, newest: Path, best: Path | None) -> None:
    """Delete the oldest checkpoints beyond `limit`, never the newest or the best."""
    others = [path for path in numbered(folder) if path not in (newest, best)]
    # A broken checkpoint of a later step, skipped when the run was resumed, goes first.
    others.sort(key=lambda path: -1 if step(path) > step(newest) else step(path))
    kept = len({newest, best} - {None})
    excess = 0 if limit is None else max(0, len(others) + kept - max(limit, kept))
    for path in others[:excess]:
        _discard(path, folder / SAVING)


def _discard(checkpoint: Path, staging: Path) -> None:
    """Delete a checkpoint, renamed first, so that no half of it is ever found."""
    if checkpoint.exists():
        gone = staging / f"old-{checkpoint.name}"
        checkpoint.rename(gone)
        shutil.rmtree(gone)


def _expected(checkpoint: Path) -> set[str]:
    """Return the files that a checkpoint lists: shards of weights, random numbers per process, fp16's loss scale."""
    shards = _json(checkpoint / "model.safetensors.index.json").get("weight_map", {}).values()
    signature = _json(checkpoint / SIGNATURE_FILE)
    processes = signature.get("batch_layout", {}).get("processes", 1)
    scaler = ["scaler.pt"] if signature.get("values", {}).get("fp16") else []
    return {*shards, *scaler, *(f"rng_state_{rank}.pth" for rank in range(processes) if processes > 1)}


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content
    except (OSError, ValueError):
        return {}


def _is_complete_safetensors(path: Path) -> bool:
    """Opening compares a file's size with its header; no tensor is read."""
    try:
        with safe_open(path, framework="np"):
            return True
    except (SafetensorError, OSError):
        return False


def _is_complete_archive(path: Path) -> bool:
    """torch.save writes a zip archive with a checksum for each part; nothing in it is unpickled here."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk: a rename must not survive a power failure without its content."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
