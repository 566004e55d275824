"""How this process takes memory from the system, and gives it back: in large pages, and not after every batch."""

import ctypes
import os
import sys

# glibc's names and numbers (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
ONE_GIGABYTE = 1 << 30


def ask_for_large_pages() -> None:
    """Let torch ask Linux for pages of 2 MB under its tensors, unless the user has said otherwise.

    To be called before torch is imported, which reads this once. A system may refuse, and nothing else changes. On a
    virtual machine a page of 4 KB is looked up in two tables, and there are 11,000 of them under the gradient of
    MiniLM's word embeddings. Method: THP_MEM_ALLOC_ENABLE of torch's allocator, madvise(2).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


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
