"""What a run prints of its data: examples, label balance, token lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.console import say, table
from bertlab.data import labels

if TYPE_CHECKING:
    from datasets import Dataset

PERCENTILES = (50, 95, 99)
HISTOGRAM_BINS = 60


@dataclass(frozen=True)
class SplitSummary:
    """Examples, label balance (in regression the labels' variance) and untruncated lengths in tokens of one split."""

    name: str
    rows: int
    labelled: int
    balance: dict[str, int]
    percentiles: dict[int, int]
    longest: int
    truncated: float
    edges: list[float]
    counts: list[int]
    variance: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for run.json."""
        return {
            "rows": self.rows,
            "labelled": self.labelled,
            "balance": self.balance,
            "label_variance": self.variance,
            "token_length": {
                **{f"p{p}": value for p, value in self.percentiles.items()},
                "longest": self.longest,
                "histogram": {"edges": self.edges, "counts": self.counts},
            },
            "truncated_share": self.truncated,
        }


def summarize(tokenized: Mapping[str, "Dataset"], schema: labels.LabelSchema, max_length: int) -> list[SplitSummary]:
    """Return and print the summaries of all splits."""
    summaries = [summarize_split(name, split, schema, max_length) for name, split in tokenized.items()]
    if summaries:
        _print_summaries(summaries, max_length)
    return summaries


def summarize_split(name: str, tokenized: "Dataset", schema: labels.LabelSchema, max_length: int) -> SplitSummary:
    """Return the summary of one tokenized split."""
    full = np.asarray(tokenized["full_length"][:])
    values = np.asarray(tokenized["labels"][:]) if "labels" in tokenized.column_names else None
    labelled = int(labels.labelled_rows(values, len(full)).sum())
    # Whole lengths in each bar, the same number in every one: else some hold one more and stand out.
    width = -(-(int(full.max() - full.min()) + 1) // HISTOGRAM_BINS)
    counts, edges = np.histogram(full, bins=np.arange(full.min(), full.max() + width + 1, width) - 0.5)
    return SplitSummary(
        name=name,
        rows=len(full),
        labelled=labelled,
        balance=label_balance(values, schema),
        percentiles={p: int(np.percentile(full, p)) for p in PERCENTILES},
        longest=int(full.max()),
        truncated=float(np.mean(full > max_length)),
        edges=edges.tolist(),
        counts=counts.tolist(),
        variance=float(np.nanvar(values)) if values is not None and schema.kind == labels.REGRESSION else None,
    )


def label_balance(values: np.ndarray | None, schema: labels.LabelSchema) -> dict[str, int]:
    """Return the number of rows of each class; nothing in regression and without labels."""
    if values is None or schema.kind == labels.REGRESSION:
        return {}
    if schema.kind == labels.SINGLE:
        return labels.class_counts(map(int, values), schema.class_names)
    totals = (values == 1).sum(axis=0)
    return {name: int(total) for name, total in zip(schema.class_names, totals, strict=True)}


def data_header(max_length: int) -> tuple[str, ...]:
    """Return the header of the table that `data_row` makes rows of."""
    lengths = "token length " + " / ".join(f"p{p}" for p in PERCENTILES)
    return ("split", "examples", "labels", lengths, f"truncated (> {max_length})")


def data_row(
    name: str, rows: int, labelled: int, balance: Mapping[str, int], percentiles: Sequence[int], truncated: float
) -> tuple[str, ...]:
    """Return what is printed of a split: how many examples, label balance, token lengths, fraction truncated."""
    fractions = [f"{name} {count} ({count / max(labelled, 1):.2%})" for name, count in balance.items()]
    shown = ", ".join(fractions[:6]) + (" …" if len(fractions) > 6 else "")
    unlabelled = f"{labelled} labelled" if labelled else "no labels"
    return (name, f"{rows:,}", shown or unlabelled, " / ".join(map(str, percentiles)), f"{truncated:.1%}")


def _print_summaries(summaries: Sequence[SplitSummary], max_length: int) -> None:
    rows = [
        (
            *data_row(s.name, s.rows, s.labelled, s.balance, tuple(s.percentiles.values()), s.truncated),
            str(s.longest),
        )
        for s in summaries
    ]
    say()
    say(table(rows, (*data_header(max_length), "longest")))
