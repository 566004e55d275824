"""Stand-ins for the scripts, for the tests of suite and sweep."""

from many_runs import stub

__all__ = ["stub"]
