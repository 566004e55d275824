"""What is said of a split before training."""

import numpy as np
import pytest
from datasets import Dataset

from bertlab.data import labels, summary

SPACE = labels.LabelSchema(labels.REGRESSION, (), {})


@pytest.mark.parametrize("longest", [3, 4, 62, 63, 64, 130, 512])
def test_every_bar_of_the_lengths_holds_as_many_whole_numbers(longest):
    """Rows of each length from 3 on, one of each: all bars but the last are alike, and none is lost."""
    split = Dataset.from_dict({"full_length": list(range(3, longest + 1))})
    told = summary.summarize_split("train", split, SPACE, 128)
    assert sum(told.counts) == len(split)
    assert len(told.counts) <= summary.HISTOGRAM_BINS
    assert len(set(told.counts[:-1])) <= 1
    assert np.unique(np.diff(told.edges)).size == 1
