"""Duplicates, contradictory labels and leaks between splits."""

import re
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.console import is_first_process, warning
from bertlab.data.labels import REGRESSION, is_missing

if TYPE_CHECKING:
    from datasets import Dataset

    from bertlab.data.dataset import Data


# Rows held at once while texts are compared.
READ_ROWS = 1_000


NOT_A_WORD = re.compile(r"\W+")


@dataclass(frozen=True)
class Finding:
    """One remark about the data; `wrong` if it would make a score wrong."""

    text: str
    wrong: bool = False


def find_problems(data: "Data") -> list[Finding]:
    """Return what is wrong or doubtful in texts and labels of all splits, without tokenizing."""
    return [
        Finding(
            f"{name}: {_count(dropped, 'row without text or label was', 'rows without text or label were')} left out."
        )
        for name, dropped in data.dropped.items()
    ] + _repeated_or_leaked(data)


def _repeated_or_leaked(data: "Data") -> list[Finding]:
    keys = {name: _keys(split) for name, split in data.splits.items()}
    findings: list[Finding] = []
    for name, split in data.splits.items():
        findings += _within(
            name,
            keys[name],
            split,
            reported=name in data.evaluation_splits,
            regression=data.schema.kind == REGRESSION,
        )
    if data.train:
        trained = keys[data.train]
        for name in data.splits:
            if name != data.train:
                findings += _leaks(name, data.splits[name], keys[name], trained, data.train)
    return findings


def print_findings(data: "Data") -> None:
    """Print what there is to say of the data before training, as warnings; only the first process looks for it."""
    if not is_first_process():
        return
    # Rows that were left out have been told of when they were.
    for finding in _repeated_or_leaked(data):
        warning(finding.text)


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


@dataclass(frozen=True)
class _Keys:
    """64-bit hashes by row, equal for the same text: to the letter, and but for case and punctuation.

    Hashes and not the texts: in a million rows the odds that two texts share one are below 1 in 30 million.
    """

    exact: np.ndarray
    loose: np.ndarray


def _keys(split: "Dataset") -> _Keys:
    columns = [name for name in ("text", "text_pair") if name in split.column_names]
    exact, loose = array("q"), array("q")
    for batch in split.select_columns(columns).iter(batch_size=READ_ROWS):
        for row in zip(*(batch[name] for name in columns), strict=True):
            words = NOT_A_WORD.sub(" ", " | ".join(row).casefold()).strip()
            exact.append(hash(row))
            loose.append(hash(words) if words else exact[-1])  # "!!!" and "???" are not one text
    return _Keys(np.array(exact), np.array(loose))


def _within(name: str, keys: _Keys, split: "Dataset", *, reported: bool, regression: bool) -> list[Finding]:
    _, inverse, counts = np.unique(keys.exact, return_inverse=True, return_counts=True)
    repeated = len(inverse) - len(counts)
    findings = (
        [Finding(f"{name}: {_count(repeated, 'row repeats', 'rows repeat')} an earlier text.")] if repeated else []
    )
    if "labels" not in split.column_names:
        return findings
    labels = split["labels"][:]
    told: dict[int, tuple[int, set[Any]]] = {}  # for each repeated text its first row and its labels
    for row in np.flatnonzero(counts[inverse] > 1).tolist():
        if not is_missing(labels[row]):
            label = tuple(labels[row]) if isinstance(labels[row], list) else labels[row]
            told.setdefault(int(inverse[row]), (row, set()))[1].add(label)
    torn = [row for row, found in told.values() if len(found) > 1]
    if torn and not regression:
        text = f"{name}: {_count(len(torn), 'text has', 'texts have')} different labels, "
        text += f"for example {_shown(split, torn[0])}."
        findings.append(Finding(text, reported))
    if reported and not regression and len(set(map(str, labels))) == 1:
        findings.append(Finding(f"{name}: every row has the same label; a score on it says nothing.", True))
    return findings


def _leaks(name: str, split: "Dataset", keys: _Keys, trained: _Keys, train: str) -> list[Finding]:
    """Say which rows of a split were trained on, to the letter or but for case and punctuation."""
    leaked = np.flatnonzero(np.isin(keys.loose, trained.loose))
    if not len(leaked):
        return []
    to_the_letter = int(np.isin(keys.exact[leaked], trained.exact).sum())
    text = f"{name}: {len(leaked)} of {len(keys.loose)} rows also occur in {train} ({to_the_letter} to the letter, "
    text += f"{len(leaked) - to_the_letter} but for case or punctuation), for example {_shown(split, leaked[0])}."
    return [Finding(text, True)]


def _shown(split: "Dataset", row: int) -> str:
    texts = split[int(row)]
    text = " | ".join(texts[name] for name in ("text", "text_pair") if name in texts)
    return repr(text if len(text) <= 60 else text[:59] + "…")
