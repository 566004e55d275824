"""run_classification.py with FSDP on CPU ranks; accelerate itself shards on accelerators only.

torch's FSDP works with gloo, but accelerate looks for it under the names of GPUs alone. So a CPU rank bears one here.
`main` changes classes, so it is for a process of its own.
"""

from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

import run_classification

_start = PartialState.__init__


def _start_as_gpu(self: PartialState, *args: Any, **kwargs: Any) -> None:
    """Say MULTI_GPU where accelerate says MULTI_CPU; device and backend stay cpu and gloo."""
    _start(self, *args, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


def _say_if_sharded(self: TrainerCallback, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
    if state.global_step == 1 and all(isinstance(value, DTensor) for value in model.parameters()):
        print("every parameter is a shard")


def main(argv: list[str]) -> int:
    """Run the script on shards and return its exit status."""
    PartialState.__init__ = _start_as_gpu
    TrainerCallback.on_step_end = _say_if_sharded
    return run_classification.main(argv)
