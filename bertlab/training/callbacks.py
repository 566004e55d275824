"""Callbacks: saves at an epoch's end, a signal, a loss that is NaN, scarce memory, the epoch of order and masks."""

import math
import os
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback

from bertlab.console import warning
from bertlab.errors import Interrupted, UserError
from bertlab.training import checkpoints, memory
from bertlab.training.signals import Signals


class DeferEpochEndSave(TrainerCallback):
    """Makes every checkpoint one from which the rest of the run is the same as if it had not been stopped.

    One on the last step of an epoch is saved after the epoch's evaluation: evaluation draws a random number, which a
    run resumed from before it would not draw. And each is saved with the loss up to there logged, so that the mean
    over the whole run follows from the log.
    """

    def __init__(self) -> None:
        self.due = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Defer a save at an epoch's end; log with every other save and at the last step."""
        if control.should_save and (float(state.epoch).is_integer() or control.should_training_stop):
            control.should_save, self.due = False, True
        if control.should_save or control.should_training_stop or _may_save(args, control):
            control.should_log = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save what was deferred."""
        control.should_save = control.should_save or self.due
        control.should_log = control.should_log or control.should_save or _may_save(args, control)
        self.due = False


def _may_save(args: Any, control: Any) -> bool:
    """Return True where an evaluation is due that decides, after the loss is logged, whether its step is saved."""
    return bool(control.should_evaluate) and args.save_strategy == "best"


class StopOnSignal(TrainerCallback):
    """Saves a checkpoint and ends the run after SIGTERM, at the same step on all processes."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.stopping = False
        self.group: Any = None
        self.device = torch.device("cpu")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Handle SIGTERM at the end of a step from now on."""
        self.signals.wait_for_step = True
        if args.world_size > 1 and "gloo" not in distributed.get_backend():
            # A collective of the GPUs makes each step wait for the one before; that of gloo is of the hosts.
            reachable = torch.tensor(int(_is_reachable(args.world_size)), device=args.device)
            distributed.all_reduce(reachable, distributed.ReduceOp.MIN)
            if reachable:
                self.group = distributed.new_group(backend="gloo")
            else:
                self.device = args.device

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let SIGTERM end the run at once again, and end it for one that came after the last step."""
        self.signals.wait_for_step = False
        if self._any_received(args.world_size):
            raise Interrupted(signal.SIGTERM)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint if any process got the signal."""
        if self._any_received(args.world_size):
            self.stopping = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the run once the checkpoint is there."""
        if self.stopping:
            raise Interrupted(signal.SIGTERM)

    def _any_received(self, processes: int) -> bool:
        received = self.signals.received is not None
        if processes == 1:
            return received
        flag = torch.tensor(int(received), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX, group=self.group)
        return bool(flag)


def _is_reachable(processes: int) -> bool:
    """Return True where gloo can listen for the run's other processes: at the address that the host name stands for."""
    if processes == int(os.environ.get("LOCAL_WORLD_SIZE", "1")) or "GLOO_SOCKET_IFNAME" in os.environ:
        return True
    try:
        with socket.create_server((socket.gethostname(), 0)) as server:
            return not str(server.getsockname()[0]).startswith("127.")
    except OSError:
        return False


class StopOnNan(TrainerCallback):
    """Ends a run whose loss or gradient is NaN or infinite, before a checkpoint is made of it.

    It looks at what is logged, the mean over all processes: all of them stop together, and no step waits for it.
    """

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """End the run.

        Raises:
            UserError: the loss or the gradient is not finite; with step, learning rate, and what usually helps.
        """
        if not logs or "loss" not in logs:
            return
        # With fp16 a gradient may overflow: the loss is scaled down and the step left out.
        checked = {"loss": "loss"} if args.fp16 else {"loss": "loss", "grad_norm": "gradient"}
        for name, quantity in checked.items():
            if not math.isfinite(logs.get(name, 0.0)):
                saved = checkpoints.numbered(Path(args.output_dir))
                raise UserError(
                    f"the {quantity} is {logs[name]} at step {state.global_step} of {state.max_steps}, learning rate "
                    f"{logs.get('learning_rate', 0.0):.2g}.",
                    "Lower --learning_rate, add --warmup_steps 0.1, or pass --precision fp32; "
                    + (f"the last good checkpoint is {saved[-1]}." if saved else "there is no checkpoint yet."),
                )


class ReturnMemoryWhenScarce(TrainerCallback):
    """Gives up keeping freed memory for the next batch once a process has more than its half of the machine's."""

    def __init__(self) -> None:
        self.most = memory.machine_mb() / 2 / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Return it, once, and say what needs less."""
        if not args.use_cpu or memory.resident_mb() < self.most:
            return
        self.most = math.inf
        if memory.return_freed_memory():
            warning(
                "training has taken more than half of the memory; what it frees goes back to the system from now on, "
                "which is slower. Half of --per_device_train_batch_size with twice --gradient_accumulation_steps takes "
                "less, and the global batch is the same."
            )


class LocateBestCheckpoint(TrainerCallback):
    """Finds the best checkpoint of a resumed run in the folder where the run is today."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The path in the state may be that of a folder that this one is a copy of, with another run in it by now.
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if best.is_dir():
            state.best_model_checkpoint = str(best)


class SetEpochCallback(TrainerCallback):
    """Sets the epoch of order and masks; accelerate reaches neither a sampler that it shards nor a collator."""

    def __init__(self, varying: Iterable[Any]) -> None:
        self.varying = tuple(varying)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for part in self.varying:
            part.set_epoch(int(state.epoch or 0))
