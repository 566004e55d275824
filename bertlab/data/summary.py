"""What a run prints of its data: examples, label balance, token lengths."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.console import say, table, warning
from bertlab.data import labels

if TYPE_CHECKING:
    from datasets import Dataset

PERCENTILES = (50, 95, 99)
HISTOGRAM_BINS = 60
# From this fraction of truncated rows on, a run warns.
NEARLY_ALL = 0.9


def summarize(
    tokenized: Mapping[str, "Dataset"], schema: labels.LabelSchema, max_length: int
) -> dict[str, dict[str, Any]]:
    """Return, for run.json, and print the summaries of all splits."""
    summaries = {
        name: summarize_split(split, np.asarray(split["full_length"][:]), schema, max_length)
        for name, split in tokenized.items()
    }
    if summaries:
        say()
        print_summaries(summaries, max_length)
    return summaries


def print_summaries(summaries: Mapping[str, Mapping[str, Any]], max_length: int) -> None:
    """Print rows, token lengths and label balance of each split; warn of one that is nearly all truncated."""
    rows = []
    for name, found in summaries.items():
        lengths = [str(found["token_length"][key]) for key in (*(f"p{p}" for p in PERCENTILES), "longest")]
        rows.append([name, f"{found['rows']:,}", " / ".join(lengths), f"{found['truncated_share']:.1%}"])
    lengths_of = f"token length {' / '.join(f'p{p}' for p in PERCENTILES)} / longest"
    say(table(rows, ("split", "examples", lengths_of, f"truncated (> {max_length})")))
    for name, found in summaries.items():
        say(f"labels in {name}: {_shown_balance(found)}")
    for name, found in summaries.items():
        if found["truncated_share"] >= NEARLY_ALL:
            warning(
                f"{name}: {found['truncated_share']:.0%} of the rows are longer than --max_seq_length {max_length} and "
                f"lose their end; a larger one keeps it. 99% have up to {found['token_length']['p99']:,} tokens."
            )


def summarize_split(
    split: "Dataset", lengths: np.ndarray, schema: labels.LabelSchema, max_length: int
) -> dict[str, Any]:
    """Return examples, label balance (in regression the labels' variance) and token lengths of a split.

    `lengths` are those of its rows, or of some of them, before truncation.
    """
    values = np.asarray(split["labels"][:]) if "labels" in split.column_names else None
    # Every bar covers the same number of whole lengths; one that covers more would stand out.
    width = -(-(int(lengths.max() - lengths.min()) + 1) // HISTOGRAM_BINS)
    counts, edges = np.histogram(lengths, bins=np.arange(lengths.min(), lengths.max() + width + 1, width) - 0.5)
    is_regression = schema.kind == labels.REGRESSION
    return {
        "rows": len(split),
        "labelled": int(labels.labelled_rows(values, len(split)).sum()),
        "balance": _label_balance(values, schema),
        "label_variance": float(np.nanvar(values)) if values is not None and is_regression else None,
        "token_length": {
            **{f"p{p}": int(np.percentile(lengths, p)) for p in PERCENTILES},
            "longest": int(lengths.max()),
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        },
        "truncated_share": float(np.mean(lengths > max_length)),
    }


def _label_balance(values: np.ndarray | None, schema: labels.LabelSchema) -> dict[str, int]:
    """Return the number of rows of each class; nothing in regression and without labels."""
    if values is None or schema.kind == labels.REGRESSION:
        return {}
    is_single = schema.kind == labels.SINGLE
    totals = np.bincount(values[values >= 0], minlength=schema.size) if is_single else (values == 1).sum(axis=0)
    return dict(zip(schema.class_names, totals.tolist(), strict=True))


def _shown_balance(found: Mapping[str, Any]) -> str:
    labelled = found["labelled"]
    fractions = [f"{label} {count:,} ({count / max(labelled, 1):.1%})" for label, count in found["balance"].items()]
    unlabelled = f"{labelled:,} labelled" if labelled else "none"
    return (", ".join(fractions[:6]) or unlabelled) + (" …" if len(fractions) > 6 else "")
