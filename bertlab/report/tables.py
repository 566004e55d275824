"""The tables of a run, for its page and its card: a header, rows of text and numbers, and where numbers begin."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

from bertlab.report import curves, scores
from bertlab.report.curves import Decisions
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import display_name, is_number, metric_name, score

# Of more classes a confusion matrix is a list of the most frequent confusions, and balance that of the largest classes.
MATRIX_CLASSES, LISTED_CLASSES = 20, 30


class Table(NamedTuple):
    """Columns from `first_right` on are aligned to the right."""

    header: list[str]
    rows: list[list[Any]]
    first_right: int = 1


def cell(value: Any) -> str:
    """Return a value as text: counts with separators, other numbers with four digits, a dash for none."""
    return value if isinstance(value, str) else score(value, 4)


def percent(value: Any) -> str:
    """Return a fraction as a percentage with one digit."""
    return f"{value:.1%}" if is_number(value) else "–"


def basename(value: Any) -> str:
    """Return a name without the folders of a machine; a name on the Hub or in a package stays whole."""
    text = str(value)
    return PurePath(text).name if PurePath(text).is_absolute() or text.startswith(("~", ".")) else text


def every_score(folder: RunFolder) -> Table:
    """Return every score of every split with its interval, baselines and published value."""
    return Table(*scores.score_table(folder.results), 2)


def other_scores(folder: RunFolder) -> Table:
    """Return the scores of masked language modeling, which need no labels."""
    splits = {name: split["other"] for name, split in folder.results["splits"].items() if split.get("other")}
    names = list(dict.fromkeys(name for values in splits.values() for name in values))
    rows = [[split, *(values.get(name) for name in names)] for split, values in splits.items()]
    return Table(["split", *map(display_name, names)], rows)


def log(folder: RunFolder) -> Table:
    """Return the training loss and the scores of each evaluation, or the loss of each epoch."""
    rows, selected = folder.training_log(), (folder.selected or {}).get("step")
    keys = [key for key in ("eval_loss", *(f"eval_{name}" for name in folder.metrics)) if any(key in r for r in rows)]
    names = (metric_name(folder.results, key.removeprefix("eval_")) for key in keys)
    cells = [
        [score(r["epoch"], 2) + " (selected)" * (r["step"] == selected), r["step"], r["loss"], *map(r.get, keys)]
        for r in rows
    ]
    return Table(["epoch", "step", "training loss", *(f"{folder.eval_split} {name}" for name in names)], cells, 0)


def confusions(folder: RunFolder, split: str) -> Table:
    """Return the most frequent confusions."""
    matrix, names = folder.scored[split]["confusion"], folder.class_names
    counts = np.array(matrix)
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    most = (divmod(int(place), len(counts)) for place in np.argsort(-wrong, axis=None, kind="stable")[:LISTED_CLASSES])
    fractions = wrong / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [[names[i], names[j], int(wrong[i, j]), percent(fractions[i, j])] for i, j in most if wrong[i, j]]
    return Table(["true class", "predicted as", "examples", "of the true class"], rows, 2)


def by_class(folder: RunFolder, split: str, decisions: Mapping[str, Decisions]) -> Table:
    """Return precision, recall, F1, ROC AUC, average precision and support of each class and of two averages.

    As in scikit-learn, a class that neither occurs nor is predicted does not count in an average.
    """
    header = ["class", "precision", "recall", "F1", "ROC AUC", "average precision", "support"]
    rows, counted = [], []
    for name, row in (folder.scored[split].get("per_class") or {}).items():
        one = decisions.get(name)
        ranked = one is not None and curves.is_ranked(one)
        areas = [curves.roc(one).area, curves.precision_recall(one).area] if one and ranked else [np.nan, np.nan]
        values = [row["precision"], row["recall"], row["f1"], *areas]
        rows.append([name, *map(score, values), row["support"]])
        if row["support"] or (one is not None and one.predicted.any()):
            counted.append([*values, row["support"]])
    if len(counted) > 1:
        table = np.ma.masked_invalid(np.array(counted, dtype=float))
        for name, weights in (("macro average", np.ones(len(table))), ("weighted average", table[:, -1])):
            means = np.ma.average(table[:, :-1], axis=0, weights=weights).tolist()  # None where nothing is ranked
            rows.append([name, *map(score, means), int(table[:, -1].sum())])
    if folder.thresholds:
        rows = [[*row, score(folder.thresholds.get(row[0]))] for row in rows]
        header.append("threshold")
    return Table(header, rows)


def by_source(folder: RunFolder, split: str) -> Table:
    """Return the scores of each source, or in next-sentence prediction of each type of negative."""
    source = "negative type" if "negatives" in folder.configuration else "source"
    found = folder.scored[split].get("by_source") or {}
    rows = [[name, row["n"], *(score(row.get(metric)) for metric in folder.metrics)] for name, row in found.items()]
    return Table([source, "examples", *(metric_name(folder.results, name) for name in folder.metrics)], rows)


def data(folder: RunFolder) -> Table:
    """Return where each split is from, how many examples it has, and how long they are."""
    header = ["split", "from", "fingerprint", "examples", "labelled", "dropped"]
    header += ["token length p50", "p95", "longest", "truncated"]
    rows = []
    for name, split in folder.data.items():
        length, fingerprint = split.get("token_length") or {}, split.get("fingerprint") or "–"
        counts = [split.get(key) for key in ("rows", "labelled", "dropped")]
        counts += [length.get(key) for key in ("p50", "p95", "longest")]
        whole = [None if count is None else int(count) for count in counts]
        truncated = percent(split.get("truncated_share") or 0)
        rows.append([name, basename(split.get("from") or "–"), fingerprint[:12], *whole, truncated])
    return Table(header, rows, 3)


def balance(folder: RunFolder) -> Table:
    """Return how many examples of each split have each of the largest classes."""
    splits = {name: split for name, split in folder.data.items() if split.get("balance")}
    total = sum((Counter(split["balance"]) for split in splits.values()), Counter[str]())
    largest = {name for name, _ in total.most_common(LISTED_CLASSES)}
    rows = []
    for name in (name for name in folder.class_names if name in largest):
        counts = [(split["balance"].get(name, 0), split["labelled"]) for split in splits.values()]
        rows.append([name, *(f"{count:,} ({count / labelled:.1%})" for count, labelled in counts)])
    rest = f" (the largest of {len(folder.class_names)} classes)" if len(rows) < len(folder.class_names) else ""
    return Table([f"examples of class{rest}", *splits], rows)
