"""How this process gives memory back to the system: not after every batch."""

import ctypes
import sys

# glibc's names and numbers (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
ONE_GIGABYTE = 1 << 30


def keep_freed_memory() -> bool:
    """Let malloc keep freed blocks for the next batch, and return whether this system's malloc could be told.

    glibc maps every large block anew and unmaps it when freed, so that each step pays for the pages of its gradients
    and activations once more (the gradient of MiniLM's word embeddings alone is 47 MB). No number changes.
    Method: mallopt(3). Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(setting, ONE_GIGABYTE) == 1 for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
