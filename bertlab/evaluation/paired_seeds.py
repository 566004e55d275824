"""Two settings over the same seeds, seed by seed: is one of them better, or is it noise?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.evaluation.statistics import SeedSummary

# The splits of results.json, or of a record in the ledger, by seed.
Seeds = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class PairedScore:
    """One metric of one split over the shared seeds: of a, of b, and of a less b."""

    split: str
    metric: str
    a: SeedSummary
    b: SeedSummary
    difference: SeedSummary
    a_better: int

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table under HEADER."""
        low, high = self.difference.low, self.difference.high
        return (
            self.split,
            self.metric.replace("_", " "),
            f"{self.a.mean:.4f} ± {self.a.sd:.4f}",
            f"{self.b.mean:.4f} ± {self.b.sd:.4f}",
            f"{self.difference.mean:+.4f}",
            f"{low:+.4f} to {high:+.4f}",
            f"{self.a_better} of {self.difference.n}",
        )

    def verdict(self, name_a: str, name_b: str) -> str:
        """Say in one sentence whether a or b is better, or that these seeds cannot tell."""
        low, high = self.difference.low, self.difference.high
        evidence = (
            f"{self.metric} on {self.split} differs by {self.difference.mean:+.4f}, 95 % interval {low:+.4f} to "
            f"{high:+.4f} over {self.difference.n} seeds"
        )
        if low <= 0 <= high:
            return f"{name_a} and {name_b} cannot be told apart: {evidence}."
        a_wins = (low > 0) == GREATER_IS_BETTER.get(self.metric, True)
        winner, loser = (name_a, name_b) if a_wins else (name_b, name_a)
        return f"{winner} is better than {loser}: {evidence}."


HEADER = ("split", "metric", "A mean ± sd", "B mean ± sd", "A less B", "95 % interval", "A better in")
WORDS = "95 % interval: Student's t over the differences of runs with the same seed."


def scores(a: Seeds, b: Seeds) -> list[PairedScore]:
    """Return a row for every metric of every split that all runs of the shared seeds have scored.

    There is none where they share fewer than two seeds.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) < 2:
        return []
    runs = [side[seed] for side in (a, b) for seed in shared]
    return [
        _paired(split, metric, [[side[seed][split]["metrics"][metric]["value"] for seed in shared] for side in (a, b)])
        for split, told in runs[0].items()
        for metric in told.get("metrics", {})
        if all(run.get(split, {}).get("metrics", {}).get(metric, {}).get("value") is not None for run in runs)
    ]


def _paired(split: str, metric: str, sides: Sequence[Sequence[float]]) -> PairedScore:
    gaps = [one - other for one, other in zip(*sides, strict=True)]
    a, b, difference = (statistics.mean_sd_interval(values) for values in (*sides, gaps))
    upward = GREATER_IS_BETTER.get(metric, True)
    better = sum(gap > 0 if upward else gap < 0 for gap in gaps)
    return PairedScore(split, metric, a, b, difference, better)
