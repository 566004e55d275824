"""Memory from the system: in large pages, freed blocks kept for the next batch, and how much it was at most."""

import ctypes
import os
import re
import sys
from pathlib import Path

# glibc's names and numbers (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
ONE_GIGABYTE = 1 << 30


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
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(setting, ONE_GIGABYTE) == 1 for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


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
