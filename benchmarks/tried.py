"""What single choices are worth in training: ours against ours with one of them undone, or with one more.

    python -m benchmarks.tried --data FOLDER

On CoLA, in length-bucketed batches and with every row padded to 128 tokens; for --torch_compile also, how long it
takes to compile. A choice that changes the model or its gradients is here to show its cost, not as an offer.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import measure, peers
from bertlab.training import memory, precision

# Where glibc begins if nobody tells it anything (mallopt(3)).
GLIBC_THRESHOLD = 128 * 1024
LONG = ("--pad_to_max_length", "true")
# Longer than this nobody waits for a run of three minutes.
COMPILE_SECONDS = 240
STEPS = {"short rows": 40, "rows of 128 tokens": 6}


@dataclass(frozen=True)
class Choice:
    """One thing done otherwise: flags, a change of the built model, or something that holds while it is measured."""

    flags: tuple[str, ...] = ()
    change: Callable[[Any], None] | None = None
    during: Callable[[], Any] | None = None


def without_dropout(model: Any) -> None:
    """Set every dropout of a model to nothing."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def with_eager_attention(model: Any) -> None:
    """Let transformers compute eager attention."""
    model.set_attn_implementation("eager")


def attention_in_float32() -> Any:
    """Let attention with dropout go to float32 and back, as torch does by itself."""
    return mock.patch.object(precision, "attention_in_bf16", lambda enabled: nullcontext())


@contextmanager
def freed_memory_given_back() -> Iterator[None]:
    """Let malloc give every large block back, as it does by itself."""
    mallopt = ctypes.CDLL(None).mallopt
    for setting in (memory.M_TRIM_THRESHOLD, memory.M_MMAP_THRESHOLD):
        mallopt(setting, GLIBC_THRESHOLD)
    try:
        yield
    finally:
        memory.keep_freed_memory()


CHOICES: dict[str, Choice] = {
    "attention in float32": Choice(during=attention_in_float32),
    "eager attention": Choice(change=with_eager_attention),
    "freed memory returned to the system": Choice(during=freed_memory_given_back),
    "AdamW not fused": Choice(("--optim", "adamw_torch")),
    "no clipping": Choice(("--max_grad_norm", "0")),
    "no dropout": Choice(change=without_dropout),
    "embeddings frozen": Choice(("--freeze_embeddings",)),
    "two loading workers": Choice(("--dataloader_num_workers", "2")),
}


def main() -> int:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--rate"]:
        print(peers.training_rate(peers.contender(measure.OURS, Path(sys.argv[2])), int(sys.argv[3])))
        return 0
    if sys.argv[1:2] == ["--compiled"]:
        print(json.dumps(compiled_here(Path(sys.argv[2]), int(sys.argv[3]))))
        return 0
    where = measure.options(__doc__ or "")
    folder = where.data / "glue" / "CoLA"
    found: dict[str, Any] = {}
    for rows, flags in (("short rows", ()), ("rows of 128 tokens", LONG)):
        cases = {
            name: partial(rate, contender(folder, choice, flags), choice, where.size(STEPS[rows], 2))
            for name, choice in {measure.OURS: Choice(), **CHOICES}.items()
        }
        rates = measure.in_turns(cases, where.rounds)
        found[f"one choice, {rows}"] = measure.compared(rates, "examples/s", {})
    pages = {
        name: partial(in_own_process, folder, where.size(STEPS["short rows"], 2), setting)
        for name, setting in ((measure.OURS, "1"), ("pages of 4 KB", "0"))
    }
    found["large pages, short rows"] = measure.compared(measure.in_turns(pages, where.rounds), "examples/s", {})
    found["torch.compile, short rows"] = compiled(folder, where.size(STEPS["short rows"], 2))
    measure.write(where, "tried", found, rounds=where.rounds)
    return 0


def contender(folder: Path, choice: Choice, flags: tuple[str, ...]) -> peers.Contender:
    """Return ours on CoLA with one thing done otherwise."""
    one = peers.contender(measure.OURS, folder, *flags, *choice.flags)
    if choice.change:
        choice.change(one.trainer.model)
    return one


def rate(one: peers.Contender, choice: Choice, steps: int) -> float:
    """Return training examples a second."""
    if choice.during is None:
        return peers.training_rate(one, steps)
    with choice.during():
        return peers.training_rate(one, steps)


def in_own_process(folder: Path, steps: int, large_pages: str) -> float:
    """Return training examples a second in a process that asks for large pages, or does not."""
    command = [sys.executable, "-m", "benchmarks.tried", "--rate", str(folder), str(steps)]
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": large_pages}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return float(done.stdout.splitlines()[-1])


def compiled(folder: Path, steps: int) -> dict[str, float | str]:
    """Return the rates with and without --torch_compile once it has compiled, and the seconds that took.

    It runs in a process of its own, which is ended after COMPILE_SECONDS.
    """
    command = [sys.executable, "-m", "benchmarks.tried", "--compiled", str(folder), str(steps)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        try:
            out, err = process.communicate(timeout=COMPILE_SECONDS)
        except subprocess.TimeoutExpired:
            # Its compilers too, which would go on beside whatever is measured next.
            os.killpg(process.pid, signal.SIGKILL)
            return {"failed": f"not compiled after {COMPILE_SECONDS} s"}
    if process.returncode:
        return {"failed": err.strip().splitlines()[-1][:200]}
    return json.loads(out.splitlines()[-1])


def compiled_here(folder: Path, steps: int) -> dict[str, float]:
    """Compile and measure in this process."""
    plain = peers.contender(measure.OURS, folder)
    other = peers.contender(measure.OURS, folder, "--torch_compile", "true")
    began = time.perf_counter()
    # Two warm-up steps and all lengths of some batches: what is not compiled yet is compiled here.
    peers.training_rate(other, steps)
    first = time.perf_counter() - began
    return {
        f"first {steps} steps, seconds": first,
        "compiled, examples/s": peers.training_rate(other, steps),
        "plain, examples/s": peers.training_rate(plain, steps),
    }


if __name__ == "__main__":
    sys.exit(main())
