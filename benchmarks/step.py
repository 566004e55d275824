"""Where the time of one training step goes: the share of each operation, for ours and for the tutorials' loop.

python -m benchmarks.step --data FOLDER                  # MiniLM: results/step.json
python -m benchmarks.step --data FOLDER --model MODEL    # a base-size model: results/step_base.json
"""

import sys
from collections import Counter
from typing import Any

from torch.profiler import ProfilerActivity, profile, schedule
from transformers import TrainerCallback

from benchmarks import measure, peers

# Steps that are run before the profile begins, and windows of STEPS of which one is taken.
WARM_UP = {measure.OURS: 30, "tutorials' loop": 5}
WINDOWS = {measure.OURS: 5, "tutorials' loop": 2}
# The profiler's own records cut up the memory that a gradient would have been given again: after about eight steps
# what is measured is Linux handing out new pages.
STEPS = 4
SHOWN = 10
OPTIMIZER = "the optimizer's step"


class _Windows(TrainerCallback):
    """Tells the profiler where a step ends."""

    def __init__(self, profiled: profile) -> None:
        self.profiled = profiled

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell the profiler."""
        self.profiled.step()


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    found = {}
    for name, windows in WINDOWS.items():
        one = peers.contender(name, where.data / "glue" / "CoLA", model=where.model)
        peers.training_rate(one, where.size(WARM_UP[name], 1))
        found[name] = shares([seconds(one) for _ in range(where.size(windows, 1))])
    measure.write(where, "step", found, rounds=None)
    return 0


def seconds(one: peers.Contender) -> dict[str, float]:
    """Return seconds on the processor over STEPS steps, by operation, without what an operation calls."""
    with profile(
        activities=[ProfilerActivity.CPU], schedule=schedule(wait=1, warmup=1, active=STEPS, repeat=1)
    ) as profiled:
        windows = _Windows(profiled)
        one.trainer.add_callback(windows)
        peers.training_rate(one, STEPS + 2)
        one.trainer.remove_callback(windows)
    events = profiled.key_averages()
    optimizer = sum(item.cpu_time_total for item in events if item.key.startswith("Optimizer.step#"))
    own = {item.key: item.self_cpu_time_total / 1e6 for item in events if not item.key.startswith("ProfilerStep")}
    return {OPTIMIZER: optimizer / 1e6, **own}


def shares(windows: list[dict[str, float]]) -> dict[str, Any]:
    """Return milliseconds a step, and the share of the operations that take most of it, over all windows."""
    total: Counter[str] = Counter()
    for window in windows:
        total.update(window)
    optimizer = total.pop(OPTIMIZER)
    whole = total.total()
    return {
        "milliseconds a step": 1000 * whole / (STEPS * len(windows)),
        OPTIMIZER: optimizer / whole,
        **{name.removeprefix("aten::"): spent / whole for name, spent in total.most_common(SHOWN)},
    }


if __name__ == "__main__":
    sys.exit(main())
