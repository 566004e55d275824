"""Training and evaluation on CoLA: ours against the plain Trainer with others' values, memory, and the ceiling.

python -m benchmarks.training --data FOLDER                  # MiniLM: results/training.json
python -m benchmarks.training --data FOLDER --model MODEL    # a base-size model: results/training_base.json
"""

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measure, peers
from bertlab.commands import check
from bertlab.training import memory

DEFAULTS, BF16, BEST, LOOP = peers.PEERS
TRAINING_TARGETS = {DEFAULTS: 10, BF16: 1.3, LOOP: 6}
EVALUATION_TARGETS = {DEFAULTS: 12, BF16: 2.5}
# Timed steps of a round, and rows evaluated: some ten seconds each on two cores.
STEPS = {measure.OURS: 70, DEFAULTS: 5, BF16: 50, BEST: 70, LOOP: 10}
ROWS = {measure.OURS: 1043, DEFAULTS: 240, BF16: 1043, BEST: 1043, LOOP: 480}
# How many times as long a step takes with a base-size model.
BASE_SIZE = 5


def main() -> int:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--memory-of"]:
        print(json.dumps(memory_of(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])))
        return 0
    where = measure.options(__doc__ or "")
    folder = where.data / "glue" / "CoLA"
    names = (measure.OURS, *peers.PEERS)
    share = BASE_SIZE if where.is_base_size else 1
    contenders = {name: peers.contender(name, folder, model=where.model) for name in names}
    evaluation = {
        name: partial(peers.evaluation_rate, one, where.size(ROWS[name] // share, 32))
        for name, one in contenders.items()
    }
    training = {
        name: partial(peers.training_rate, one, where.size(max(2, STEPS[name] // share), 2))
        for name, one in contenders.items()
    }
    evaluated = measure.in_turns(evaluation, where.rounds)
    trained = measure.in_turns(training, where.rounds)
    lengths = np.asarray(contenders[measure.OURS].train["length"])
    peaks = matrix_products(contenders[measure.OURS].trainer.model.config, where.size(20, 2))
    found: dict[str, Any] = {
        "training": measure.compared(trained, "examples/s", TRAINING_TARGETS),
        "evaluation": measure.compared(evaluated, "rows/s", EVALUATION_TARGETS),
        "real tokens/s in training": {n: float(np.median(v) * lengths.mean()) for n, v in trained.items()},
        "share of tokens that is padding": check.padding_waste(lengths, 32, 128),
        "matrix products, bf16, GFLOP/s": peaks,
        "share of the best matrix product": ceiling(contenders[measure.OURS], trained, evaluated, lengths, peaks),
        "agreement with fp32 at evaluation": agreement(contenders),
        "peak memory in training, MB": {name: memory_in_own_process(name, folder, where) for name in names},
    }
    measure.write(where, "training", found, rounds=where.rounds)
    return 0


def agreement(contenders: dict[str, peers.Contender]) -> dict[str, float]:
    """Return how far one model's probabilities in our default precision are from those in float32, on CoLA's dev."""
    ours, plain = contenders[measure.OURS], contenders[DEFAULTS]
    plain.trainer.model.load_state_dict(ours.trainer.model.state_dict())
    probabilities = [torch.tensor(peers.logits(one, ours.validation)).float().softmax(1) for one in (ours, plain)]
    changed = probabilities[0].argmax(1).ne(probabilities[1].argmax(1)).sum()
    return {
        "largest difference of a probability": float((probabilities[0] - probabilities[1]).abs().max()),
        "rows": len(probabilities[0]),
        "rows predicted differently": int(changed),
    }


def matrix_products(config: Any, repeats: int) -> dict[str, float]:
    """Return GFLOP/s of bf16 matrix products of a model's shapes, the best of three runs each.

    The shapes are (rows, inner, columns), for 32 sentences of 12 tokens and for 8,192 tokens.
    """
    hidden, wide = config.hidden_size, config.intermediate_size
    short = ((384, hidden, hidden), (384, hidden, wide), (384, wide, hidden))
    rates = {}
    for rows, inner, columns in (*short, (8192, hidden, wide), (8192, wide, hidden)):
        left, right = (torch.randn(shape).to(torch.bfloat16) for shape in ((rows, inner), (inner, columns)))
        torch.mm(left, right)
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(repeats):
                torch.mm(left, right)
            seconds.append((time.perf_counter() - began) / repeats)
        rates[f"{rows}×{inner}×{columns}"] = 2 * rows * inner * columns / min(seconds) / 1e9
    return rates


def ceiling(
    ours: peers.Contender, trained: Any, evaluated: Any, lengths: np.ndarray, peaks: dict[str, float]
) -> dict[str, float]:
    """Return the share of the best matrix product that real tokens use: 2 operations a weight forward, 6 in training.

    The encoder's matrices count, embeddings and attention scores do not (Kaplan et al. 2020, without attention).
    """
    weights = sum(p.numel() for name, p in ours.trainer.model.named_parameters() if "layer" in name and p.ndim == 2)
    best = max(peaks.values()) * 1e9
    dev = float(np.mean(ours.validation["length"]))
    forward = float(np.median(evaluated[measure.OURS])) * dev * 2 * weights / best
    training = float(np.median(trained[measure.OURS])) * float(lengths.mean()) * 6 * weights / best
    return {"training": training, "evaluation": forward}


def memory_in_own_process(name: str, folder: Path, where: measure.Options) -> float:
    """Return the peak memory of a process that trains a few steps, in megabytes."""
    steps = str(where.size(4, 1))
    command = [sys.executable, "-m", "benchmarks.training", "--memory-of", name, str(folder), steps, where.model]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory_of(name: str, folder: Path, steps: int, model: str) -> float:
    """Train and return this process's peak memory in megabytes."""
    peers.training_rate(peers.contender(name, folder, model=model), steps)
    return round(memory.peak_memory_mb()["host"])


if __name__ == "__main__":
    sys.exit(main())
