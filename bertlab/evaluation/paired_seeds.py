"""Two settings compared seed by seed, on every score that their runs share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.evaluation.statistics import Comparison, SeedSummary

# The splits of results.json, or of a record in the ledger, by seed.
Seeds = Mapping[int, Mapping[str, Any]]


class PairedScore(NamedTuple):
    """One metric of one split over the shared seeds: of A, of B, and of A − B."""

    split: str
    metric: str
    a: SeedSummary
    b: SeedSummary
    comparison: Comparison

    @property
    def row(self) -> tuple[str, ...]:
        """The row of a table under `statistics.COMPARISON_HEADER`."""
        a, b = (f"{side.mean:.4f} ± {side.sd:.4f}" for side in (self.a, self.b))
        return statistics.comparison_row(self.split, self.metric, a, b, self.comparison)


def compare_shared_seeds(a: Seeds, b: Seeds) -> list[PairedScore]:
    """Return a comparison of every metric of every split that all runs of the shared seeds have scored.

    There is none where they share fewer than two seeds.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) < 2:
        return []
    runs = [side[seed] for side in (a, b) for seed in shared]
    return [
        _paired(split, metric, *([side[seed][split]["metrics"][metric]["value"] for seed in shared] for side in (a, b)))
        for split, results in runs[0].items()
        for metric in results.get("metrics", {})
        if all(run.get(split, {}).get("metrics", {}).get(metric, {}).get("value") is not None for run in runs)
    ]


def _paired(split: str, metric: str, a: list[float], b: list[float]) -> PairedScore:
    comparison = statistics.paired_t_interval(a, b, GREATER_IS_BETTER.get(metric, True))
    return PairedScore(split, metric, statistics.mean_sd_interval(a), statistics.mean_sd_interval(b), comparison)
