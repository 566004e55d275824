"""run_classification.py with FSDP on CPU ranks, which accelerate knows on accelerators only."""

import sys
from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType

import run_classification

_start = PartialState.__init__


def _start_as_accelerator(self: PartialState, *args: Any, **kwargs: Any) -> None:
    """Say MULTI_GPU where accelerate says MULTI_CPU; device and backend stay cpu and gloo."""
    _start(self, *args, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


PartialState.__init__ = _start_as_accelerator
sys.exit(run_classification.main())
