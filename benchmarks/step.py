"""Where the time of one training step goes: the share of each operation, for ours and for the tutorials' loop.

python -m benchmarks.step --data FOLDER
"""

import sys
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks import measure, peers

STEPS = {measure.OURS: 20, "tutorials' loop": 5}
SHOWN = 10


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    found = {
        name: shares(peers.contender(name, where.data / "glue" / "CoLA"), where.size(steps, 1))
        for name, steps in STEPS.items()
    }
    measure.write(where, "step", found)
    return 0


def shares(one: peers.Contender, steps: int) -> dict[str, Any]:
    """Return milliseconds a step on the processor, and the share of the operations that take most of it."""
    peers.training_rate(one, steps)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        peers.training_rate(one, steps)
    events = profiled.key_averages()
    optimizer = sum(item.cpu_time_total for item in events if item.key.startswith("Optimizer.step#")) / 1e6
    seconds = {item.key: item.self_cpu_time_total / 1e6 for item in events}
    whole = sum(seconds.values())
    largest = sorted(seconds, key=lambda name: -seconds[name])[:SHOWN]
    return {
        "milliseconds a step": 1000 * whole / (steps + peers.WARM_UP),
        "the optimizer's step": optimizer / whole,
        **{name.removeprefix("aten::"): seconds[name] / whole for name in largest},
    }


if __name__ == "__main__":
    sys.exit(main())
