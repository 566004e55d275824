"""What a run prints of its data: examples, label balance, token lengths."""

from collections.abc import Mapping
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
    """Rows, label balance (in regression the labels' variance) and lengths in tokens (uncut) of one split."""

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


def summarize_split(name: str, tokenized: "Dataset", schema: labels.LabelSchema, max_length: int) -> SplitSummary:
    """Return the summary of one encoded split."""
    full = np.asarray(tokenized["full_length"][:])
    known = np.asarray(tokenized["labels"][:]) if "labels" in tokenized.column_names else np.zeros(0)
    balance: dict[str, int] = {}
    labelled, variance = 0, None
    if len(known):
        labelled = int(labels.labelled_rows(known, len(known)).sum())
        if schema.kind == labels.SINGLE:
            balance = labels.class_counts(map(int, known), schema.class_names)
        elif schema.kind == labels.MULTI:
            totals = (known == 1).sum(axis=0)
            balance = {name: int(n) for name, n in zip(schema.class_names, totals, strict=True)}
        elif labelled:
            variance = float(np.nanvar(known))
    # Whole lengths in each bar, the same number in every one: else some hold one more and stand out.
    width = -(-(int(full.max() - full.min()) + 1) // HISTOGRAM_BINS)
    counts, edges = np.histogram(full, bins=np.arange(full.min(), full.max() + width + 1, width) - 0.5)
    return SplitSummary(
        name=name,
        rows=len(full),
        labelled=labelled,
        balance=balance,
        percentiles={p: int(np.percentile(full, p)) for p in PERCENTILES},
        longest=int(full.max()),
        truncated=float(np.mean(full > max_length)),
        edges=edges.tolist(),
        counts=counts.tolist(),
        variance=variance,
    )


def summarize(tokenized: Mapping[str, "Dataset"], schema: labels.LabelSchema, max_length: int) -> list[SplitSummary]:
    """Return and print the summaries of all splits."""
    summaries = [summarize_split(name, split, schema, max_length) for name, split in tokenized.items()]
    if summaries:
        print_data(summaries, max_length)
    return summaries


def print_data(summaries: list[SplitSummary], max_length: int) -> None:
    """Print a line per split: rows, label balance, token lengths, share truncated."""
    rows = []
    for item in summaries:
        shares = [f"{name} {count} ({count / max(item.labelled, 1):.2%})" for name, count in item.balance.items()]
        labelled = "no labels" if not item.labelled else f"{item.labelled} labelled"
        lengths = " / ".join(str(value) for value in item.percentiles.values())
        rows.append(
            (
                item.name,
                f"{item.rows:,}",
                ", ".join(shares[:6]) + (" …" if len(shares) > 6 else "") or labelled,
                lengths,
                str(item.longest),
                f"{item.truncated:.1%}",
            )
        )
    say()
    say(table(rows, ("split", "rows", "labels", "tokens 50/95/99 %", "longest", f"cut at {max_length}")))
