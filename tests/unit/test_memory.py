"""The settings of torch's allocator, and of malloc where it is glibc's."""

import ctypes
import os
import sys

import pytest

from bertlab.training import memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc of another system")
def test_glibc_takes_both_settings():
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("needs glibc")
    assert memory.keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not memory.keep_freed_memory()


def test_large_pages_are_asked_for_unless_the_user_says_no(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    memory.ask_for_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    memory.ask_for_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
