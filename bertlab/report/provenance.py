"""run.json: command, versions, code, machine and data of a run, to repeat it."""

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab import ROOT, __version__, console
from bertlab.data.dataset import TextReader, text_columns
from bertlab.pretraining.pairs import RANGES

if TYPE_CHECKING:
    from datasets import Dataset

PACKAGES = (
    *("transformers", "datasets", "evaluate", "accelerate", "torch", "tokenizers", "scikit-learn", "numpy"),
    "peft",  # where it is installed
    "sentencex",
)
# Folders that commands of this repository write: a benchmark's result does not change the code of the next one.
WRITTEN = tuple(f":(exclude){name}" for name in ("docs", "results", "benchmarks/results"))
# Texts, or the sentence ranges of a pair, and labels.
FINGERPRINT_COLUMNS = ("text", "text_pair", *RANGES, "labels")
# Characters that separate texts in a fingerprint, and their replacements inside a text.
SEPARATORS = {0x1C: "\x1c0", 0x1E: "\x1c1", 0x1F: "\x1c2"}


def command(argv: list[str]) -> list[str]:
    """Return the command of a run, which ends with `argv`, without any secret in it."""
    typed = bool(argv) and sys.argv[-len(argv) :] == argv  # not so where Python code called the script
    program = sys.argv[: -len(argv)] if typed else sys.argv[:1]
    return [*program, *map(console.redact, argv)]


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and the libraries that affect the results."""
    installed = {"python": platform.python_version(), "bertlab": __version__}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def commit(root: Path = ROOT) -> dict[str, Any]:
    """Return the git commit of this code and whether it was changed since, or nulls outside a checkout."""
    # Without the check an installed package would name the commit of the repository that its environment is in.
    head = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN) if head else None
    return {"commit": head, "changed": None if status is None else bool(status)}


def machine() -> dict[str, Any]:
    """Return processor, cores, memory and accelerators."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def fingerprint(split: "Dataset", read: TextReader = text_columns) -> str:
    """Return a hash of the texts and labels of a split, in order, independent of its files.

    `read` returns the texts, or first and second segments, of a batch of rows.
    """
    digest = hashlib.blake2b(digest_size=16)
    columns = [name for name in FINGERPRINT_COLUMNS if name in split.column_names]
    for batch in split.select_columns(columns).iter(batch_size=10_000):
        for values in (*read(batch), *([batch["labels"]] if "labels" in columns else [])):
            if values and isinstance(values[0], int):
                digest.update(np.asarray(values, dtype=np.int64).tobytes())
            else:
                digest.update(_joined(values).encode("utf-8", errors="surrogatepass"))
            digest.update(b"\x1e")
    return digest.hexdigest()


def _joined(values: Sequence[Any]) -> str:
    """Return values as one text from which they could be separated again."""
    joined = "\x1f".join(map(str, values))
    if joined.count("\x1f") < len(values) and "\x1c" not in joined and "\x1e" not in joined:
        return joined
    return "\x1f".join(str(value).translate(SEPARATORS) for value in values)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
