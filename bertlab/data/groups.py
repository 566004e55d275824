"""Which rows belong together: rows of one group (a patient, an author) or document, or that share a text."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertlab.console import info

if TYPE_CHECKING:
    from datasets import Dataset

# Rows read at once.
READ_ROWS = 10_000
# Fewer groups than this, counted as groups of equal size, say too little about how a score varies.
FEW_GROUPS = 20


class RowGroups(NamedTuple):
    """The number of each row's group (rows,), from 0, and what the rows of one have in common."""

    numbers: np.ndarray
    shared: str


def row_groups(split: "Dataset", *, by_text: bool) -> np.ndarray | None:
    """Return the number of each row's group, in order of first occurrence, or None where no two rows share one.

    Rows with one value in the column `group` or `document` belong together, and with `by_text` rows that share a text.
    So do rows that are linked through others: groups are connected components. A row without a value is a group of its
    own.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = ("group", "document", *(("text", "text_pair") if by_text else ()))
    columns = [name for name in names if name in split.column_names]
    if not columns:
        return None
    rows, keys = [], []
    for name in columns:
        # Hashes and not the texts, of which a large split has more than memory should hold.
        batches = split.select_columns([name]).iter(batch_size=READ_ROWS)
        hashes = np.array([hash((name == "group", value)) for batch in batches for value in batch[name]])
        is_named = ~np.isin(hashes, [hash((True, value)) for value in ("", None)])
        rows.append(np.flatnonzero(is_named))
        keys.append(hashes[is_named])
    distinct, links = np.unique(np.concatenate(keys), return_inverse=True)
    size, ends = len(split) + len(distinct), (np.concatenate(rows), len(split) + links)
    graph = coo_array((np.ones(len(links), dtype=bool), ends), shape=(size, size))
    groups = np.unique(connected_components(graph, directed=False)[1][: len(split)], return_inverse=True)[1]
    return groups if len(np.unique(groups)) < len(groups) else None


def resampled_groups(split: "Dataset", name: str, *, by_text: bool) -> RowGroups | None:
    """Return the groups that confidence intervals resample, or None where rows are independent.

    They are those that splits keep together, and in pair tasks also pairs that share a text (a premise with three
    hypotheses is one premise) or the document of their first segment. Where a few texts or documents are in most of
    the pairs, only the former are left.
    """
    is_named = "group" in split.column_names
    numbers = row_groups(split, by_text=by_text or "text_pair" in split.column_names)
    shared = "the group" if is_named else "a document" if "document" in split.column_names else "a text"
    if numbers is not None and effective_groups(numbers) < FEW_GROUPS:
        count = f"{numbers.max() + 1:,} groups" if numbers.any() else "one group"
        few = f"{name}: its {len(split):,} rows are in {count} of rows that share {shared}"
        if is_named or by_text:
            info(f"{few}; intervals over so few are wide, or too narrow.")
        else:
            info(f"{few}, too few to resample; rows count as independent.")
            numbers = None
    return None if numbers is None else RowGroups(numbers, shared)


def effective_groups(numbers: np.ndarray) -> float:
    """Return the number of groups of equal size that vary as much as these: n² / Σ size² (Kish, 1965)."""
    return len(numbers) ** 2 / float((np.bincount(numbers).astype(float) ** 2).sum())
