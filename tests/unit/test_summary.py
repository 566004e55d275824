"""The summary of a split before training."""

import numpy as np
import pytest
from datasets import Dataset

from bertlab.data import labels, summary

SCHEMA = labels.LabelSchema(labels.REGRESSION, (), {})


@pytest.mark.parametrize("longest", [3, 4, 62, 63, 64, 130, 512])
def test_every_bin_of_the_lengths_is_as_wide_as_the_others(longest):
    """One row of each length from 3 on: all bins but the last have as many rows, and no row is lost."""
    split = Dataset.from_dict({"full_length": list(range(3, longest + 1))})
    summarized = summary.summarize_split(split, np.array(split["full_length"]), SCHEMA, 128)
    counts, edges = (summarized["token_length"]["histogram"][name] for name in ("counts", "edges"))
    assert sum(counts) == len(split)
    assert len(counts) <= summary.HISTOGRAM_BINS
    assert len(set(counts[:-1])) <= 1
    assert np.unique(np.diff(edges)).size == 1


@pytest.mark.parametrize(
    ("kind", "known", "balance"),
    [
        (labels.SINGLE, [1, 1, labels.NO_LABEL, 0], {"no": 1, "yes": 2, "maybe": 0}),
        (labels.MULTI, [[1.0, 1.0, 0.0], [labels.NO_LABEL] * 3, [0.0, 1.0, 0.0]], {"no": 1, "yes": 2, "maybe": 0}),
    ],
)
def test_the_balance_counts_known_labels_by_name(kind, known, balance):
    split = Dataset.from_dict({"labels": known})
    schema = labels.LabelSchema(kind, ("no", "yes", "maybe"), {})
    assert summary.summarize_split(split, np.array([3] * len(known)), schema, 9)["balance"] == balance


def test_a_split_that_is_nearly_all_truncated_is_warned_of_with_a_length_that_keeps_it(capsys):
    """In a run on plain text too, for which `bertlab check` has no flag."""
    split = Dataset.from_dict({"labels": [0.0] * 100})
    found = summary.summarize_split(split, np.arange(1001, 1101), SCHEMA, 32)
    summary.print_summaries({"train": found}, 32)
    assert capsys.readouterr().err == (
        "warning: train: 100% of the rows are longer than --max_seq_length 32 and lose their end; a larger one keeps "
        "it. 99% have up to 1,099 tokens.\n"
    )
