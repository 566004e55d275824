"""The settings of torch's allocator, and of malloc where it is glibc's."""

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bertlab.training import memory

# Fills 40 blocks of 8 MB and frees them; prints the memory of the process before, after, and when all is returned.
KEPT_AND_RETURNED = """
import torch
from bertlab.training import memory
assert memory.keep_freed_memory()
blocks = [torch.ones(2_000_000) for _ in range(40)]
print(memory.resident_mb())
del blocks
print(memory.resident_mb())
assert memory.return_freed_memory()
print(memory.resident_mb())
"""


@pytest.mark.launch
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc of another system")
def test_freed_memory_is_kept_until_it_is_returned():
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("needs glibc")
    command = [sys.executable, "-c", KEPT_AND_RETURNED]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used, kept, returned = map(float, printed.split())
    assert abs(used - kept) < 40
    assert kept - returned > 280


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory of another system")
def test_a_container_s_limit_counts_where_it_is_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    machine = memory.machine_mb()
    assert 0 < memory.resident_mb() < machine
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CONTAINER_LIMITS", (str(limit), str(tmp_path / "absent")))
    limit.write_text("max\n")
    assert memory.machine_mb() >= machine
    limit.write_text("512000000\n")
    assert memory.machine_mb() == 512


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not memory.keep_freed_memory()
    assert not memory.return_freed_memory()
    assert memory.machine_mb() == math.inf


def test_large_pages_are_asked_for_unless_the_user_says_no(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    memory.ask_for_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    memory.ask_for_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
