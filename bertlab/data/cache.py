"""Locks and freshness of cached data: one process of a machine fills a cache, the others read it."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from bertlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


def make_folder(folder: Path) -> None:
    """Make a folder for cached data, if it is not there; raise UserError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: str | Path, error: OSError) -> UserError:
    """Return the error for a cache that cannot be written."""
    return UserError(f"the cache {folder} cannot be written: {error.strerror}.", "Name another --cache_dir.")


def folder_lock(folder: Path) -> FileLock:
    """Return a lock under which one process of a machine fills a folder and the others then read it.

    They wait without a collective, so none times out however long it takes.

    Raises:
        UserError: the folder cannot be written.
    """
    make_folder(folder)
    return FileLock(os.fspath(folder / "lock"))


def cache_lock(split: "Dataset") -> AbstractContextManager[Any]:
    """Return a lock for a `map` over a split whose result is cached beside it; in memory there is none to share."""
    folder = cache_folder(split)
    return nullcontext() if folder is None else folder_lock(folder)


def cache_folder(split: "Dataset") -> Path | None:
    """Return the folder in which `datasets` caches what is made of a split, or None where it is only in memory."""
    return Path(split.cache_files[0]["filename"]).parent if split.cache_files else None


def is_fresh(path: Path, overwrite: bool, started: float) -> bool:
    """Return True if a cached file is there and, where --overwrite_cache asks for new ones, this run wrote it.

    `started` is the time at which the run began: what is younger comes from another of its processes.
    """
    return path.is_file() and (not overwrite or path.stat().st_mtime >= started)
