"""Duplicates, contradictory labels and leaks between splits."""

import itertools
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bertlab.console import counted, is_first_process, warning
from bertlab.data.dataset import HELD_OUT, Data, text_columns
from bertlab.data.label_text import NOTHING
from bertlab.data.labels import REGRESSION, labelled_rows

if TYPE_CHECKING:
    from datasets import Dataset

# Rows held at once while texts are compared.
READ_ROWS = 1_000
TOGETHER = "--keep_duplicates_together"
NOT_A_WORD = re.compile(r"\W+")


@dataclass(frozen=True)
class Finding:
    """One remark about the data; `wrong` if it would make a score wrong."""

    text: str
    wrong: bool = False


def find_problems(data: Data) -> Iterator[Finding]:
    """Yield what is wrong or doubtful in texts and labels of all splits, without tokenizing."""
    texts = {name: _read(split) for name, split in data.splits.items()}
    for name, split in data.splits.items():
        yield from _text_problems(name, texts[name], is_train=name == data.train)
        if "labels" in split.column_names:
            is_evaluated, is_regression = name in data.evaluation_splits, data.schema.kind == REGRESSION
            yield from _label_problems(name, texts[name], split, is_evaluated, is_regression)
    yield from _shared_groups(data)
    for name in data.splits:
        if data.train and name != data.train:
            yield from _leaks(data, name, texts[name], data.train, texts[data.train])


def print_findings(data: Data) -> None:
    """Print what is found in the data before training, as warnings; only the first process looks for it."""
    if is_first_process():
        for finding in find_problems(data):
            warning(finding.text)


@dataclass(frozen=True)
class _Texts:
    """64-bit hashes by row, equal for exact and near duplicates (case, punctuation); and texts that say there is none.

    Hashes and not the texts: in a million rows the odds that two texts share one are below 1 in 30 million.
    """

    exact: np.ndarray
    near: np.ndarray
    missing: list[str]


def _read(split: "Dataset") -> _Texts:
    exact, near = array("q"), array("q")
    missing: list[str] = []
    columns = [name for name in ("text", "text_pair") if name in split.column_names]
    for batch in split.select_columns(columns).iter(batch_size=READ_ROWS):
        for row in zip(*text_columns(batch), strict=True):
            words = NOT_A_WORD.sub(" ", " | ".join(row).casefold()).strip()
            exact.append(hash(row))
            near.append(hash(words) if words else exact[-1])  # "!!!" and "???" are not one text
            missing += [text for text in row if text.strip().casefold() in NOTHING]
    return _Texts(np.array(exact), np.array(near), missing)


def _text_problems(name: str, texts: _Texts, *, is_train: bool) -> Iterator[Finding]:
    """Yield how many rows repeat a text, and how many say that there is none."""
    if repeated := len(texts.exact) - len(np.unique(texts.exact)):
        hint = f" Where a split is held out, {TOGETHER} leaves none on both sides." if is_train else ""
        yield Finding(f"{name}: {counted(repeated, 'row repeats', 'rows repeat')} an earlier text.{hint}")
    if texts.missing:
        how_many = counted(len(texts.missing), "row has", "rows have")
        yield Finding(f"{name}: {how_many} {texts.missing[0]!r} for text, which programs write for an empty cell.")


def _label_problems(
    name: str, texts: _Texts, split: "Dataset", is_evaluated: bool, is_regression: bool
) -> Iterator[Finding]:
    """Yield how many texts have different classes, and whether all rows that are evaluated have the same label."""
    import pandas as pd

    labels = split["labels"][:]
    rows = pd.DataFrame({"text": texts.exact, "label": list(map(str, labels))})
    rows = rows[labelled_rows(np.asarray(labels), len(labels))]
    label_counts = rows.groupby("text", sort=False)["label"].nunique()
    contradictory = rows.drop_duplicates("text").index[label_counts > 1]
    if len(contradictory) and not is_regression:
        how_many = counted(len(contradictory), "text has", "texts have")
        example = _shortened(split, contradictory[0])
        yield Finding(f"{name}: {how_many} different labels, for example {example}.", is_evaluated)
    if is_evaluated and rows["label"].nunique() == 1:
        which = "every row" if len(rows) == len(labels) else "every labelled row"
        yield Finding(f"{name}: {which} has the same label; a score on it says nothing.", True)


def _leaks(data: Data, name: str, texts: _Texts, train: str, trained: _Texts) -> Iterator[Finding]:
    """Yield how many rows of a split were trained on, and what to do."""
    leaked = np.flatnonzero(np.isin(texts.near, trained.near))
    if len(leaked):
        exact = int(np.isin(texts.exact[leaked], trained.exact).sum())
        repeated = counted(exact, "exact duplicate", "exact duplicates")
        similar = counted(len(leaked) - exact, "near duplicate", "near duplicates")
        is_held_out = data.origin.get(name, "").endswith(HELD_OUT)
        hint = f"Pass {TOGETHER}." if is_held_out and exact else f"Take them out of {train}."
        yield Finding(
            f"{name}: {len(leaked):,} of {len(texts.near):,} rows also occur in {train}: {repeated}, {similar} "
            f"(case, punctuation), for example {_shortened(data.splits[name], leaked[0])}. {hint}",
            True,
        )


def _shared_groups(data: Data) -> Iterator[Finding]:
    """Yield which groups of --group_column are in two splits, and which rows have none."""
    columns = {name: split["group"][:] for name, split in data.splits.items() if "group" in split.column_names}
    for name in data.splits if columns else ():
        if name not in columns:
            yield Finding(f"{name}: there is no group column, so its rows count as independent.")
    for name, groups in columns.items():
        if blank := groups.count(""):
            how_many = counted(blank, "row has no group and counts", "rows have no group and count")
            yield Finding(f"{name}: {how_many} alone.")
    for a, b in itertools.combinations(columns, 2):
        if shared := sorted({*columns[a]} & {*columns[b]} - {""}):
            how_many = counted(len(shared), "group is", "groups are")
            yield Finding(f"{b}: {how_many} also in {a}, for example {shared[0]!r}.", data.train in (a, b))


def _shortened(split: "Dataset", row: int) -> str:
    values = split[int(row)]
    text = " | ".join(values[name] for name in ("text", "text_pair") if name in values)
    return repr(text if len(text) <= 60 else text[:59] + "…")
