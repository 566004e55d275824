"""How often a 95% confidence interval holds the true score: over examples, groups, and seeds and examples together.

    python -m benchmarks.coverage              # 1,000 data sets a cell: minutes on two cores
    python -m benchmarks.coverage --quick      # to see that it runs

The data is drawn from a world whose true scores are known. Of every example the model is correct with a probability
that depends on how difficult the example, its group and the seed happen to be.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from benchmarks import measure
from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import METRICS

SIZES = (50, 277, 1043)
TRIALS, FEW_TRIALS = 1000, 20
# Of class 1 of two.
BALANCE = 0.65
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
OF_NUMBERS = {"pearson": 0.8, "mse": 0.4}


@dataclass(frozen=True)
class World:
    """How correct a model is, and how much log odds differ between groups, examples and seeds (as sd)."""

    accuracy: float
    groups: float = 0.0
    examples: float = 0.0
    seeds: float = 0.0
    runs: int = 1

    @property
    def design(self) -> str:
        """Over what its intervals are."""
        return f"{self.runs} seeds and examples" if self.runs > 1 else "groups" if self.groups else "examples"


ROWS = [World(0.8), World(0.95)]
GROUPS = [World(0.8, groups=1.5), World(0.95, groups=1.5)]
SEEDS = [World(0.8, examples=1.5, seeds=0.2, runs=runs) for runs in (3, 5)]
PAIR = (World(0.85, examples=1.5), World(0.8, examples=1.5))
SCORES = ("accuracy", "matthews_correlation", "f1", "f1_macro")


@cache
def intercept(world: World) -> float:
    """Return the log odds of a correct prediction without effects that give the world its accuracy."""
    return float(brentq(lambda mean: WEIGHTS @ accuracy_of_seed(world, mean, NODES) - world.accuracy, -20, 20))


def accuracy_of_seed(world: World, mean: float, seed: np.ndarray) -> np.ndarray:
    """Return the accuracy over all examples for each effect of a seed."""
    spread = np.hypot(world.groups, world.examples) * NODES
    return np.asarray(expit(mean + world.seeds * seed[:, None] + spread) @ WEIGHTS)


@cache
def truth(world: World, metric: str) -> float:
    """Return the expected score of a seed over all examples."""
    if metric in OF_NUMBERS:
        return OF_NUMBERS[metric]
    correct = accuracy_of_seed(world, intercept(world), NODES)
    labels, predictions = np.divmod(np.arange(4), 2)
    share = np.where(labels == 1, BALANCE, 1 - BALANCE)
    cells = 1e6 * share * np.where(labels == predictions, correct[:, None], 1 - correct[:, None])
    return float(WEIGHTS @ METRICS[metric].weighted(predictions, labels, cells))


def group_numbers(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return groups of one to five examples."""
    return np.repeat(np.arange(n), rng.integers(1, 6, n))[:n]


def draw(world: World, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions (runs, n), labels (n,) and groups (n,) of classes."""
    groups, labels = group_numbers(rng, n), (rng.random(n) < BALANCE).astype(int)
    of_example = world.groups * rng.normal(size=n)[groups] + world.examples * rng.normal(size=n)
    odds = intercept(world) + world.seeds * rng.normal(size=(world.runs, 1)) + of_example
    return np.where(rng.random((world.runs, n)) < expit(odds), labels, 1 - labels), labels, groups


def draw_numbers(world: World, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions (1, n), labels (n,) and groups (n,) of a regression; errors correlate 0.3 in a group."""
    groups, labels = group_numbers(rng, n), rng.normal(size=n)
    shared = np.sqrt(0.3) if world.groups else 0.0
    error = shared * rng.normal(size=n)[groups] + np.sqrt(1 - shared**2) * rng.normal(size=n)
    return (0.8 * labels + 0.6 * error)[None], labels, groups


def interval(
    world: World, metric: str, predictions: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    """Return the interval that the report would have."""
    function, units = METRICS[metric], groups if world.groups else None
    if world.runs > 1:
        return statistics.two_way_interval(function, list(predictions), labels, units)[2:4]
    return statistics.bootstrap_interval(function, predictions[0], labels, units)[:2]


def coverage(world: World, metric: str, n: int, trials: int, seed: int = 0) -> float:
    """Return the fraction of data sets whose interval holds the true score."""
    rng, true, held = np.random.default_rng(seed), truth(world, metric), 0
    for _ in range(trials):
        drawn = (draw_numbers if metric in OF_NUMBERS else draw)(world, rng, n)
        low, high = interval(world, metric, *drawn)
        held += low - 1e-9 <= true <= high + 1e-9
    return held / trials


def coverage_of_differences(n: int, trials: int, metric: str = "accuracy", seed: int = 0) -> float:
    """Return the fraction of data sets whose interval of the difference of two models holds the true one."""
    rng, held = np.random.default_rng(seed), 0
    true = truth(PAIR[0], metric) - truth(PAIR[1], metric)
    for _ in range(trials):
        labels, difficulty = (rng.random(n) < BALANCE).astype(int), 1.5 * rng.normal(size=n)
        correct = [rng.random(n) < expit(intercept(world) + difficulty) for world in PAIR]
        sides = [np.where(right, labels, 1 - labels) for right in correct]
        found = statistics.paired_bootstrap(METRICS[metric], *sides, labels)
        held += found.low <= true <= found.high
    return held / trials


def cases() -> list[tuple[World, str]]:
    """Return each world with each score that is looked at, `A − B` for the difference of two models."""
    of_classes = [(world, name) for world in (*ROWS, *GROUPS) for name in SCORES]
    of_seeds = [(world, name) for world in SEEDS for name in SCORES[:2]]
    of_numbers = [(world, name) for world in (ROWS[0], GROUPS[0]) for name in OF_NUMBERS]
    return [*of_classes, *of_seeds, *of_numbers, *((PAIR[0], f"{name}, A − B") for name in SCORES[:2])]


def cell(world: World, score: str, n: int, trials: int, seed: int = 0) -> float:
    """Return the coverage of one case at one size."""
    name, _, is_difference = score.partition(", ")
    return coverage_of_differences(n, trials, name, seed) if is_difference else coverage(world, name, n, trials, seed)


def measured(sizes: Sequence[int], trials: int) -> list[dict[str, object]]:
    """Return a row for each case, with the coverage at each size."""
    cells = [(world, score, n, trials) for world, score in cases() for n in sizes]
    with ProcessPoolExecutor(os.cpu_count()) as pool:  # each cell draws data of its own
        found = dict(zip(cells, pool.map(cell, *zip(*cells, strict=True), range(len(cells))), strict=True))
    return [
        {
            "over": world.design,
            "data": "numbers" if score in OF_NUMBERS else f"classes, {world.accuracy:.0%} correct",
            "score": score.replace("_", " "),
            "coverage": {str(n): found[world, score, n, trials] for n in sizes},
        }
        for world, score in cases()
    ]


def main() -> int:
    """Measure and write benchmarks/results/coverage.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 data sets a cell: figures mean nothing")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="folder of the results")
    given = parser.parse_args()
    trials = FEW_TRIALS if given.quick else TRIALS
    options = measure.Options(data=Path(), rounds=trials, quick=given.quick, results=given.results)
    measure.write(options, "coverage", {"coverage": measured(SIZES, trials)}, rounds=trials)
    return 0


if __name__ == "__main__":
    sys.exit(main())
