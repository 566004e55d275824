"""bertlab compare: is one run, or folder of seeds, better than another, or is it noise?

bertlab compare runs/cola runs/cola-2
bertlab compare runs/devlin runs/stable --metric accuracy
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bertlab.cli.arguments import setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.commands.aligned import Aligned, aligned, aligned_if_kept
from bertlab.console import say, table, warning
from bertlab.errors import UserError, did_you_mean
from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import GREATER_IS_BETTER, METRICS, check_metrics, fitting_metrics
from bertlab.evaluation.statistics import Comparison
from bertlab.report.run_folder import RunFolder, refuse_other_data, runs_in
from bertlab.report.scores import positive_class


@dataclass
class CompareArguments:
    """Which runs are compared, and by what."""

    run_a: Path = setting(None, "the --output_dir of a finished run, or a folder of runs", positional=True)
    run_b: Path = setting(None, "another one, scored on the same rows", positional=True)
    split: str | None = setting(None, "compare on this split alone (default: all that both scored)")
    metric: str | None = setting(None, "compare by this metric alone (default: all that both report)")


class PairedScore(NamedTuple):
    """One metric of one split: of A, of B, both as text, and of A − B."""

    split: str
    metric: str
    a: str
    b: str
    comparison: Comparison


@entry_point
def main(argv: Sequence[str]) -> int:
    """Compare two finished runs or folders of runs, print a table and verdicts, and return the exit status.

    Raises:
        UserError: a folder is no finished run, or the two were not scored on the same rows with the same labels.
    """
    options = parse_command(argv, CompareArguments, __doc__ or "")
    paths = options.run_a, options.run_b
    if any(map(_holds_runs, paths)):
        names, unit = (str(paths[0]), str(paths[1])), "seeds"
        scores, notes = compare_seeds(*paths, options.split, options.metric)
    else:
        a, b = map(RunFolder.read, paths)
        names, unit = ((a.name, b.name) if a.name != b.name else (str(a.path), str(b.path))), "examples"
        scores, notes = compare_runs(a, b, options.split, options.metric)
    say(f"A is {names[0]}, B is {names[1]}.\n")
    say(table([statistics.comparison_row(*score) for score in scores], statistics.COMPARISON_HEADER))
    say("\n" + "\n".join(notes))
    for score in scores:
        say(statistics.describe_comparison(score.comparison, f"{score.metric} on {score.split}", *names, unit))
    return 0


def compare_runs(
    a: RunFolder, b: RunFolder, split: str | None, metric: str | None
) -> tuple[list[PairedScore], list[str]]:
    """Compare two runs by the paired bootstrap on every split and metric that both have, or on the named ones.

    Raises:
        UserError: they share no split or metric, or differ in classes, rows or labels.
    """
    _refuse_other_schema(a, b)
    metrics = _shared_metrics(a, b, metric)
    positive, other = positive_class(a.results), positive_class(b.results)
    if positive != other and any(METRICS[name].two_classes for name in metrics):
        warning(f"the positive class of B is {other!r}; here that of A, {positive!r}, is scored.")
    scores, notes = [], []
    for name in _shared_splits(a, b, split):
        rows = aligned([a, b], name)
        scores += [_compare_rows(name, shared, rows, a) for shared in metrics]
        if rows.groups is not None:
            notes.append(f"On {name} {len(set(rows.groups)):,} groups of rows are resampled, not rows.")
        if not a.is_regression:
            test = statistics.mcnemar(*(_correct(side.predictions, rows.labels) for side in rows.predicted))
            counts = f"On {name} only A is correct on {test.only_a} examples, only B on {test.only_b}"
            p_value = f": exact McNemar test, p = {test.p_value:.3g}"
            # The test takes rows for independent, which those of one group are not.
            notes.append(f"{counts}{p_value if rows.groups is None else ''}.")
        if a.fingerprint(name) != b.fingerprint(name):
            warning(f"split {name}: the labels are the same, but the runs did not read the same texts for them.")
    return scores, notes


def compare_seeds(
    folder_a: Path, folder_b: Path, split: str | None, metric: str | None
) -> tuple[list[PairedScore], list[str]]:
    """Compare two folders of runs by the scores of the same seeds, on every shared score or on the named ones.

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
    scores = paired_scores(a, b)
    if not scores:
        raise UserError(
            f"{folder_a} and {folder_b} share no score: no metric of one split is in all their runs.",
            "Name two folders of runs of one task.",
        )
    for field, name in (("split", split), ("metric", metric)):
        names = sorted({getattr(score, field) for score in scores})
        if name is not None and name not in names:
            raise UserError(f"--{field} {name}: not scored by all of these runs.", did_you_mean(name, names))
        scores = [score for score in scores if name in (None, getattr(score, field))]
    notes = [f"95% CI: over examples and seeds together, in pairs of the same seed: {_listed(shared)}."]
    for score in scores:
        values = [[side[seed].scores(score.split)[score.metric] or 0.0 for seed in shared] for side in (a, b)]
        spread = statistics.mean_sd_interval([left - right for left, right in zip(*values, strict=True)])
        needed = statistics.seeds_needed(spread.sd, paired=True)
        if needed and GREATER_IS_BETTER.get(score.metric, True):
            notes.append(
                f"A difference of 1 point of {score.metric} on {score.split} is detected with {needed:,} seeds."
            )
    for name in dict.fromkeys(score.split for score in scores):
        degenerate = [sum(side[seed].is_degenerate(name) for seed in shared) for side in (a, b)]
        notes.append(f"On {name}, degenerate runs: {degenerate[0]} of A, {degenerate[1]} of B.")
    return scores, notes


def paired_scores(a: Mapping[int, RunFolder], b: Mapping[int, RunFolder]) -> list[PairedScore]:
    """Return a comparison of every metric of every split that all runs of the shared seeds have scored.

    The list is empty where they share fewer than two seeds. A chance level is not a score, so it is left out.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) < 2:
        return []
    scores = []
    for split in a[shared[0]].results["splits"]:
        rows = aligned_if_kept([side[seed] for side in (a, b) for seed in shared], split)
        for metric in a[shared[0]].scores(split):
            values = [[side[seed].scores(split).get(metric) for seed in shared] for side in (a, b)]
            defined = [[value for value in side if value is not None] for side in values]
            if defined == values and not metric.endswith("_chance"):
                means = map(statistics.mean_sd_interval, defined)
                mean_a, mean_b = (f"{summary.mean:.4f} ± {summary.sd:.4f}" for summary in means)
                comparison = _compare_scores(metric, defined[0], defined[1], rows)
                scores.append(PairedScore(split, metric, mean_a, mean_b, comparison))
    return scores


def _compare_scores(metric: str, a: Sequence[float], b: Sequence[float], rows: Aligned | None) -> Comparison:
    """Compare two settings over seeds and examples together, or over seeds where no predictions were kept."""
    differences, upward = [x - y for x, y in zip(a, b, strict=True)], GREATER_IS_BETTER.get(metric, True)
    found = statistics.mean_sd_interval(differences)
    a_better = sum(value > 0 if upward else value < 0 for value in differences) / len(differences)
    if rows is not None and metric in METRICS:
        found = rows.two_way(metric, len(a))
    return Comparison(sum(differences) / len(differences), found.low, found.high, a_better, len(differences), upward)


def _compare_rows(split: str, metric: str, rows: Aligned, run: RunFolder) -> PairedScore:
    function, positive = METRICS[metric], positive_class(run.results)
    sides = [function.read(predicted) for predicted in rows.predicted]
    score_a, score_b = (f"{function(side, rows.labels):.4f}" for side in sides)
    comparison = statistics.paired_bootstrap(function, sides[0], sides[1], rows.labels, rows.groups)
    shown = f"{metric} of class {positive!r}" if positive and function.two_classes else metric
    return PairedScore(split, shown, score_a, score_b, comparison)


def _holds_runs(folder: Path) -> bool:
    """Return True for a folder of finished runs, one for each seed, as the suite makes it; False for a run's own."""
    return runs_in(folder) != [folder]


def _by_seed(folder: Path) -> dict[int, RunFolder]:
    if not _holds_runs(folder):
        raise UserError(f"{folder} holds no finished runs of several seeds.", "Name two runs, or two such folders.")
    runs = [RunFolder.read(path) for path in runs_in(folder)]
    by_seed = {run.seed: run for run in runs}
    if len(by_seed) < len(runs):
        inner = ", ".join(sorted({str(run.path.parent) for run in runs} - {str(folder)}))
        hint = f"Name one of its folders: {inner}." if inner else "Keep one run of each seed there."
        raise UserError(f"{folder} holds several runs of one seed.", hint)
    return by_seed


def _listed(seeds: Collection[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _shared_splits(first: RunFolder, second: RunFolder, named: str | None) -> list[str]:
    shared = [name for name in first.scored if name in second.scored]
    if named is not None and named not in shared:
        lacking = next(run for run in (first, second) if named not in run.scored)
        raise UserError(f"{lacking.path} has no scores for a split {named!r}.", did_you_mean(named, shared))
    if not shared:
        of_each = [f"{run.path} has {', '.join(run.scored) or 'no scored split'}" for run in (first, second)]
        raise UserError(f"the runs share no scored split: {' and '.join(of_each)}.", "Score both on the same data.")
    return [named] if named else shared


def _shared_metrics(first: RunFolder, second: RunFolder, named: str | None) -> list[str]:
    """Return the metrics that two runs share, or the named one, which they need not have reported."""
    task = first.kind, max(1, len(first.class_names))
    if named is not None:
        check_metrics([named], *task, "--metric")
        return [named]
    shared = [name for name in first.metrics if name in second.metrics]
    if not shared:
        raise UserError("the runs share no metric.", f"Name one with --metric: {', '.join(fitting_metrics(*task))}.")
    return shared


def _correct(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which rows are correct: in multi-label data, in all of their labels."""
    return np.asarray((predictions == labels).reshape(len(labels), -1).all(axis=1))


def _refuse_other_rows(a: RunFolder, b: RunFolder) -> None:
    if positive_class(a.results) != positive_class(b.results):
        raise UserError(
            f"{a.path} and {b.path} were scored with different positive classes.",
            "Train both with the same --positive_label.",
        )
    refuse_other_data((a, b), a.results["splits"].keys() & b.results["splits"].keys())


def _refuse_other_schema(first: RunFolder, second: RunFolder) -> None:
    if first.kind != second.kind:
        raise UserError(
            f"{first.path} is {first.kind} and {second.path} is {second.kind}.", "Compare runs of one kind of task."
        )
    # The order of the classes may differ: predictions are compared by name.
    alone = sorted(set(first.class_names) ^ set(second.class_names))
    if alone:
        shown = ", ".join(alone[:6]) + (" …" if len(alone) > 6 else "")
        raise UserError(f"the runs have different classes: only one of them has {shown}.", "Train both on the same.")
