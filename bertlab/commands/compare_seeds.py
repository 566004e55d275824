"""`python -m bertlab compare` for two folders of runs: runs of the same seed are compared, and the seeds decide."""

from collections.abc import Sequence
from pathlib import Path

from bertlab.commands.suite_table import FinishedRun
from bertlab.console import say, table
from bertlab.errors import UserError, did_you_mean
from bertlab.evaluation import paired_seeds, statistics
from bertlab.report import run_folder

BySeed = dict[int, FinishedRun]


def holds_runs(folder: Path) -> bool:
    """Return True for a folder of finished runs, one for each seed, as the suite makes it; False for a run's own."""
    return run_folder.runs_in(folder) != [folder]


def compare(folder_a: Path, folder_b: Path, split: str | None, metric: str | None) -> None:
    """Print the table and a verdict for every shared score, or for the named split and metric.

    Raises:
        UserError: a folder holds no runs or those of several recipes, they were not scored on the same rows, they
            share fewer than two seeds, no score, or none of that name.
    """
    a, b = _by_seed(folder_a), _by_seed(folder_b)
    shared = sorted(a.keys() & b.keys())
    if len(shared) < 2:
        raise UserError(
            f"{folder_a} has the seeds {_listed(a)} and {folder_b} has {_listed(b)}: fewer than two are in both.",
            "Train both with the same --seeds, or name two runs.",
        )
    for seed in shared:
        _refuse_other_rows(a[seed], b[seed])
    found = paired_seeds.compare_shared_seeds(
        *({seed: run.results["splits"] for seed, run in side.items()} for side in (a, b))
    )
    if not found:
        raise UserError(
            f"{folder_a} and {folder_b} share no score: no metric of one split is in all their runs.",
            "Name two folders of runs of one task.",
        )
    for flag, name, known in (
        ("--split", split, {score.split for score in found}),
        ("--metric", metric, {score.metric for score in found}),
    ):
        if name is not None and name not in known:
            raise UserError(f"{flag} {name}: not scored by all of these runs.", did_you_mean(name, sorted(known)))
    chosen = [score for score in found if split in (None, score.split) and metric in (None, score.metric)]
    if not chosen:
        raise UserError(f"--split {split} --metric {metric}: not scored by all of these runs.", "Leave one out.")
    say(f"A is {folder_a}, B is {folder_b}; seeds {_listed(shared)}.\n")
    say(table([score.row for score in chosen], statistics.COMPARISON_HEADER))
    for name in dict.fromkeys(score.split for score in chosen):
        failed = [sum(side[seed].failed(name) for seed in shared) for side in (a, b)]
        say(f"\nOn {name}, degenerate runs: {failed[0]} of A, {failed[1]} of B.")
    say("95% CI: Student's t over the differences between runs of the same seed.")
    for score in chosen:
        metric = f"{score.metric} on {score.split}"
        say(statistics.describe_comparison(score.comparison, metric, str(folder_a), str(folder_b), "seeds"))


def _by_seed(folder: Path) -> BySeed:
    if not holds_runs(folder):
        raise UserError(f"{folder} holds no finished runs of several seeds.", "Name two runs, or two such folders.")
    runs = [FinishedRun.read(path) for path in run_folder.runs_in(folder)]
    found = {run.seed: run for run in runs}
    if len(found) < len(runs):
        inner = sorted({run.folder.parent.name for run in runs})
        raise UserError(f"{folder} holds several runs of one seed.", f"Name one of its folders: {', '.join(inner)}.")
    return found


def _refuse_other_rows(one: FinishedRun, other: FinishedRun) -> None:
    for split in one.results["splits"].keys() & other.results["splits"].keys():
        prints = [run.run["data"].get(split, {}).get("fingerprint") for run in (one, other)]
        if prints[0] != prints[1]:
            raise UserError(
                f"{one.folder} and {other.folder} were scored on different rows (split {split}).",
                "Score both on the same data.",
            )


def _listed(seeds: Sequence[int] | BySeed) -> str:
    return ", ".join(map(str, sorted(seeds)))
