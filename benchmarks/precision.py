"""What training and evaluating in bf16 are worth on this machine's CPU: ours against ours in float32.

    python -m benchmarks.precision --data FOLDER

On CoLA, in length-bucketed batches and with every row padded to 128 tokens. It is why `--precision auto` takes bf16 on
processors that multiply matrices in it, and it shows nothing on others.
"""

import sys
from functools import partial
from typing import Any

from benchmarks import measure, peers
from bertlab.training import precision

ROWS = {"short rows": (), "rows of 128 tokens": ("--pad_to_max_length", "true")}
TRAINING_STEPS = {"short rows": 25, "rows of 128 tokens": 5}
EVALUATION_ROWS = {"short rows": 1043, "rows of 128 tokens": 128}


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    folder = where.data / "glue" / "CoLA"
    found: dict[str, Any] = {}
    for rows, flags in ROWS.items():
        formats = {measure.OURS: "bf16", "in float32": "fp32"}
        built = {name: peers.contender(measure.OURS, folder, "--precision", f, *flags) for name, f in formats.items()}
        steps, split = where.size(TRAINING_STEPS[rows], 2), where.size(EVALUATION_ROWS[rows], 16)
        training = {name: partial(peers.training_rate, one, steps) for name, one in built.items()}
        found[f"training in bf16, {rows}"] = measure.compared(
            measure.in_turns(training, where.rounds), "examples/s", {}
        )
        evaluation = {name: partial(peers.evaluation_rate, one, split) for name, one in built.items()}
        found[f"evaluation in bf16, {rows}"] = measure.compared(
            measure.in_turns(evaluation, where.rounds), "rows/s", {}
        )
    chosen, why = precision.automatic(cpu=True)
    found["--precision auto"] = {"takes": chosen, "because": why}
    measure.write(where, "precision", found, rounds=where.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
