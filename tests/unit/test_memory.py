"""What malloc is told, where it is glibc's."""

import ctypes
import sys

import pytest

from bertlab import memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc of another system")
def test_glibc_takes_both_settings():
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("needs glibc")
    assert memory.keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not memory.keep_freed_memory()
