"""`python -m bertlab compare RUN_A RUN_B`: is one run, or folder of seeds, better than the other, or is it noise?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bertlab.cli.arguments import setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.commands import compare_seeds
from bertlab.console import say, table, warning
from bertlab.errors import UserError, did_you_mean
from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import METRICS
from bertlab.report.run_folder import Predictions, RunFolder, split_labels


@dataclass
class CompareArguments:
    """Which runs are compared, and by what."""

    run_a: Path = setting(None, "the --output_dir of a finished run, or a folder of runs", positional=True)
    run_b: Path = setting(None, "another one, scored on the same rows", positional=True)
    split: str | None = setting(None, "compare on this split alone (default: all that both scored)")
    metric: str | None = setting(None, "compare by this metric alone (default: all that both report)")


class Paired(NamedTuple):
    """The predictions of two runs for the same labelled rows of one split, and their labels, in one label schema."""

    split: str
    predictions_a: np.ndarray
    predictions_b: np.ndarray
    labels: np.ndarray


@entry_point
def main(argv: Sequence[str]) -> int:
    """Compare two finished runs or folders of runs, print a table and verdicts, and return the exit status.

    Raises:
        UserError: a folder is no finished run, or the two were not scored on the same rows with the same labels.
    """
    options = parse_command(argv, CompareArguments, __doc__)
    if compare_seeds.holds_runs(options.run_a) or compare_seeds.holds_runs(options.run_b):
        compare_seeds.compare(options.run_a, options.run_b, options.split, options.metric)
        return 0
    first, second = RunFolder.read(options.run_a), RunFolder.read(options.run_b)
    _same_schema(first, second)
    names = run_names(first, second)
    say(f"A is {names[0]}, B is {names[1]}.")
    metrics = shared_metrics(first, second, options.metric)
    for split in shared_splits(first, second, options.split):
        rows = paired(first, second, split)
        _note_other_texts(first, second, split)
        _print_split(rows, metrics, names, exact=not first.is_regression)
    return 0


def paired(first: RunFolder, second: RunFolder, split: str) -> Paired:
    """Return the labelled rows of a split that both runs predicted.

    Raises:
        UserError: problem type, classes, rows or labels differ; it says which and where.
    """
    _same_schema(first, second)
    one, other = first.predictions(split), second.predictions(split)
    _same_rows(one, other, split)
    known = _labelled(first, one, split)
    ids = {name: index for index, name in enumerate(first.class_names)}
    columns = [
        _values(first, [text for text, keep in zip(column, known, strict=True) if keep], ids)
        for column in (one.predictions, other.predictions, one.labels)
    ]
    return Paired(split, *columns)


def shared_splits(first: RunFolder, second: RunFolder, named: str | None) -> list[str]:
    """Return the scored splits that two runs share, or the named one.

    Raises:
        UserError: they share none, or one of them lacks the named one.
    """
    both = [name for name in first.scored if name in second.scored]
    if named is not None and named not in both:
        lacking = next(run for run in (first, second) if named not in run.scored)
        raise UserError(f"{lacking.path} has no scores for a split {named!r}.", did_you_mean(named, both))
    if not both:
        told = [f"{run.path} has {', '.join(run.scored) or 'no scored split'}" for run in (first, second)]
        raise UserError(f"the runs share no scored split: {' and '.join(told)}.", "Score both on the same data.")
    return [named] if named else both


def shared_metrics(first: RunFolder, second: RunFolder, named: str | None) -> list[str]:
    """Return the metrics that two runs share, or the named one, which they need not have reported.

    Raises:
        UserError: the metric is unknown or does not fit, or there is none in common.
    """
    if named is None:
        both = [name for name in first.metrics if name in second.metrics]
        if not both:
            raise UserError("the runs share no metric.", f"Name one with --metric: {', '.join(METRICS)}.")
        return both
    from bertlab.evaluation.metrics import check_metrics

    check_metrics([named], first.kind, max(1, len(first.class_names)), "--metric")
    return [named]


def run_names(first: RunFolder, second: RunFolder) -> tuple[str, str]:
    """Return what to call two runs: the folders' names, or their paths where the names are the same."""
    if first.name != second.name:
        return first.name, second.name
    return str(first.path), str(second.path)


def _print_split(rows: Paired, metrics: Sequence[str], names: tuple[str, str], *, exact: bool) -> None:
    lines, verdicts = [], []
    sides = (rows.predictions_a, rows.predictions_b)
    for name in metrics:
        comparison = statistics.paired_bootstrap(METRICS[name], *sides, rows.labels)
        a, b = (f"{METRICS[name](side, rows.labels):.4f}" for side in sides)
        lines.append(statistics.comparison_row(rows.split, name, a, b, comparison))
        verdicts.append(statistics.describe_comparison(comparison, name, *names))
    say(f"\n{table(lines, statistics.COMPARISON_HEADER)}\n")
    if exact:
        test = statistics.mcnemar(*(_correct(side, rows.labels) for side in sides))
        say(
            f"Only A is correct on {test.only_a} examples, only B on {test.only_b}: exact McNemar test, "
            f"p = {test.p_value:.3g}."
        )
    for line in verdicts:
        say(line)


def _note_other_texts(first: RunFolder, second: RunFolder, split: str) -> None:
    prints = [((run.run.get("data") or {}).get(split) or {}).get("fingerprint") for run in (first, second)]
    if prints[0] != prints[1]:
        warning(f"split {split}: the labels are the same, but the runs did not read the same texts for them.")


def _correct(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    correct = predictions == labels
    return correct.all(axis=1) if correct.ndim == 2 else correct


def _same_schema(first: RunFolder, second: RunFolder) -> None:
    if first.kind != second.kind:
        raise UserError(
            f"{first.path} is {first.kind} and {second.path} is {second.kind}.", "Compare runs of one kind of task."
        )
    # The order of the classes may differ: predictions are compared by name.
    alone = sorted(set(first.class_names) ^ set(second.class_names))
    if alone:
        shown = ", ".join(alone[:6]) + (" …" if len(alone) > 6 else "")
        raise UserError(f"the runs have different classes: only one of them has {shown}.", "Train both on the same.")


def _same_rows(one: Predictions, other: Predictions, split: str) -> None:
    if len(one.idx) != len(other.idx):
        raise UserError(
            f"split {split}: A has {len(one.idx):,} rows and B {len(other.idx):,}.", "Score both on the same rows."
        )
    for what, left, right in (("idx", one.idx, other.idx), ("label", one.labels, other.labels)):
        differing = [row for row, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
        if differing:
            row = differing[0]
            raise UserError(
                f"split {split}: {what} differs in {len(differing):,} of {len(left):,} rows, first in row {row + 1}: "
                f"{left[row]!r} in A and {right[row]!r} in B.",
                "Score both on the same rows with the same labels.",
            )


def _labelled(run: RunFolder, found: Predictions, split: str) -> list[bool]:
    """Return which rows have a label; a row without any of several labels is an empty cell as well."""
    counted = run.results["splits"][split]["labelled"]
    if counted == len(found.labels):
        return [True] * counted
    known = [bool(label) for label in found.labels]
    if sum(known) != counted:
        raise UserError(
            f"split {split}: rows without a label cannot be told from rows with none of them.",
            "Compare on a split whose rows are all labelled.",
        )
    return known


def _values(run: RunFolder, column: Sequence[str], ids: dict[str, int]) -> np.ndarray:
    if run.is_regression:
        return np.asarray([float(text) for text in column])
    try:
        if run.is_multi_label:
            chosen = np.zeros((len(column), len(ids)), dtype=np.int64)
            for row, text in enumerate(column):
                chosen[row, [ids[name] for name in split_labels(text, run.class_names)]] = 1
            return chosen
        return np.asarray([ids[text] for text in column], dtype=np.int64)
    except KeyError as error:
        raise UserError(
            f"{run.path}: predictions name a class {error} that results.json does not have.", "Train it again."
        ) from error
