"""Memory from the system: in large pages, freed blocks kept while there is enough of it; how much there is and was."""

import ctypes
import math
import os
import re
import sys
from pathlib import Path

# glibc's names and numbers (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
ONE_GIGABYTE = 1 << 30
# The largest block that glibc, left to itself, learns to keep.
GLIBC_KEEPS = 32 << 20
# What a container may use, where it may use less than the machine has: control groups of version 2 and 1.
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def ask_for_large_pages() -> None:
    """Let torch ask Linux for pages of 2 MB under its tensors, unless the environment says otherwise.

    To be called before torch is imported, which reads this once. On a virtual machine each page of 4 KB is looked up in
    two tables, and the gradient of MiniLM's word embeddings alone has 11,000 of them. Method: THP_MEM_ALLOC_ENABLE of
    torch's allocator, madvise(2).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> bool:
    """Let malloc keep freed blocks for the next batch, and return whether this system's malloc can.

    glibc maps every large block and unmaps it when freed, so that each step pays again for the pages of its gradients
    and activations (the gradient of MiniLM's word embeddings alone is 47 MB). Method: mallopt(3) of glibc.
    """
    return _set_malloc(ONE_GIGABYTE)


def return_freed_memory() -> bool:
    """Undo `keep_freed_memory`, return the blocks that it has kept to the system, and say whether malloc could.

    On long rows of varying length the kept blocks of one batch do not fit the next, and the process grows to twice what
    it uses. Method: malloc_trim(3) of glibc.
    """
    return _set_malloc(GLIBC_KEEPS) and bool(ctypes.CDLL(None).malloc_trim(0))


def _set_malloc(largest_kept: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return False
    return all(mallopt(setting, largest_kept) == 1 for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


def resident_mb() -> float:
    """Return the memory that this process has on Linux, in megabytes; 0 elsewhere."""
    status = Path("/proc/self/statm")
    return int(status.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if status.is_file() else 0.0


def machine_mb() -> float:
    """Return the memory of this machine on Linux, or what its container may use, in megabytes; infinity elsewhere."""
    if not sys.platform.startswith("linux"):
        return math.inf
    limits = [path.read_text("ascii").strip() for path in map(Path, CONTAINER_LIMITS) if path.is_file()]
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([installed, *(int(limit) for limit in limits if limit.isdigit())]) / 1e6


def peak_memory_mb() -> dict[str, float]:
    """Return the peak memory of this process, and of its GPU, in megabytes."""
    import torch

    peak: dict[str, float] = {}
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would include the peak of the parent process.
        match = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            peak["host"] = int(match[1]) * 1024 / 1e6
    elif sys.platform != "win32":
        import resource

        peak["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() / 1e6
    return peak
