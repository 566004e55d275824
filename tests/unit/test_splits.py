"""Parts are disjoint, cover every row, have scikit-learn's sizes, follow the seed, and keep groups together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from bertlab.data.splits import hold_out, nested_order
from bertlab.errors import UserError

FRACTIONS = {"test": 0.1, "validation": 0.2, "selection": 0.1}


def parts(n: int, classes=None, fractions=FRACTIONS, *, groups=None, shuffle=True, seed=42) -> dict[str, np.ndarray]:
    return hold_out(range(n) if groups is None else groups, classes, fractions, shuffle=shuffle, seed=seed)


@pytest.mark.parametrize(("n", "fraction", "size"), [(8551, 0.1, 856), (10, 0.25, 3), (30, 0.1, 3), (101, 0.5, 51)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_sizes_are_scikit_learns(n, fraction, size, shuffle):
    found = parts(n, fractions={"validation": fraction}, shuffle=shuffle)
    assert (len(found["train"]), len(found["validation"])) == (n - size, size)
    expected = train_test_split(np.arange(n), test_size=fraction, shuffle=shuffle, random_state=42 if shuffle else None)
    assert len(expected[1]) == size
    assert sorted(expected[1]) == found["validation"].tolist()


def test_without_shuffling_parts_come_from_the_end_in_order():
    found = parts(10, shuffle=False)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "test": [9],
        "validation": [7, 8],
        "selection": [6],
        "train": [0, 1, 2, 3, 4, 5],
    }


def test_every_part_keeps_the_balance_of_the_classes():
    classes = np.array([0] * 700 + [1] * 200 + [2] * 100)
    for rows in parts(1000, classes).values():
        share = np.bincount(classes[rows], minlength=3) / len(rows)
        assert share == pytest.approx([0.7, 0.2, 0.1], abs=0.011)


def random_labels(n=2000, seed=0):
    """Labels that half to a thousandth of the rows have, some together; a third of the rows has none."""
    dice = np.random.default_rng(seed)
    labels = dice.random((n, 8)) < 0.5 ** np.arange(1, 9)
    labels[:, 7] |= labels[:, 6] & (dice.random(n) < 0.3)
    labels[dice.random(n) < 0.3] = False
    labels[:4, 5] = True
    return labels.astype(float)


def test_every_part_keeps_the_balance_of_several_labels():
    labels = random_labels()
    found = parts(len(labels), labels)
    drawn = parts(len(labels))
    assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in drawn.items()}
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(labels)))

    def error(split):
        return sum(np.abs(labels[rows].sum(axis=0) - labels.mean(axis=0) * len(rows)).sum() for rows in split.values())

    assert error(found) < 20 < error(drawn) / 2  # rows too many or too few, over four parts and eight labels


@pytest.mark.parametrize("rows_of_label", range(1, 7))
def test_a_rare_label_is_in_as_many_parts_as_it_has_rows(rows_of_label):
    labels = random_labels(300)
    labels[:, 3] = 0
    labels[np.random.default_rng(1).permutation(300)[:rows_of_label], 3] = 1
    with_label = [name for name, rows in parts(300, labels).items() if labels[rows, 3].any()]
    assert len(with_label) == min(rows_of_label, 4) and "train" in with_label


def test_labels_that_all_rows_or_none_have_and_large_parts_are_split():
    labels = np.array([[1, 0, i % 2] for i in range(10)])
    found = parts(10, labels, {"validation": 0.8})
    assert len(found["validation"]) == 8 and labels[found["train"], 2].sum() == 1


def test_the_seed_decides():
    first, again, other = parts(100), parts(100), parts(100, seed=7)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["validation"], other["validation"])


@pytest.mark.parametrize(
    ("n", "classes", "fractions", "message"),
    [
        (10, None, {"test": 0.9, "validation": 0.2}, "--validation_fraction 0.2 leaves no training rows. Make the"),
        (1, None, {"test": 0.1}, "Only 1 row or group of rows is there, and each split needs one: hold out fewer"),
        (2, None, {"test": 0.1, "validation": 0.1}, "--validation_fraction 0.1 leaves no training rows. Only 2 rows"),
        (10, [0] * 9 + [1], {"test": 0.2}, "--test_fraction: the classes cannot be kept in balance (The least"),
        (100, list(range(50)) * 2, {"test": 0.1}, "Pass --no_stratify, or merge rare classes with --label_map."),
    ],
)
def test_parts_that_cannot_be_made_are_refused(n, classes, fractions, message):
    with pytest.raises(UserError) as caught:
        parts(n, classes, fractions)
    assert message in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 15), min_size=2, max_size=60),
    fractions=st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.4)),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_disjoint_cover_every_row_and_split_no_group(groups, fractions, shuffle, seed):
    named = dict(zip(("validation", "selection"), fractions, strict=True))
    try:
        found = parts(len(groups), None, named, groups=groups, shuffle=shuffle, seed=seed)
    except UserError as error:
        assert "leaves no training rows" in str(error)
        return
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(groups)))
    members = [{groups[row] for row in rows} for rows in found.values()]
    assert sum(map(len, members)) == len(set(groups))
    assert all(np.all(np.diff(rows) > 0) for rows in found.values())
    assert set(found) == {*named, "train"}


@pytest.mark.parametrize("size", [7, 10, 50, 123, 400, 1000])
def test_every_smaller_sample_is_inside_the_larger_and_has_the_balance_of_all_rows(size):
    classes = np.random.default_rng(0).permutation([0] * 600 + [1] * 300 + [2] * 100)
    order = nested_order(1000, classes, seed=1)
    assert sorted(order) == list(range(1000))
    counts = np.bincount(classes[order[:size]], minlength=3)
    assert counts == pytest.approx(size * np.array([0.6, 0.3, 0.1]), abs=1)
    assert not np.array_equal(order, nested_order(1000, classes, seed=2))


def test_without_classes_the_order_is_random():
    assert np.array_equal(nested_order(50, None, 3), np.random.default_rng(3).permutation(50))


@pytest.mark.parametrize("classes", [None, "of rows"])
def test_large_groups_are_held_out_as_a_whole_by_rows_and_classes(classes):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), rng.integers(2, 30, 60))
    labels = (rng.random(len(groups)) < rng.random(60)[groups]).astype(int) if classes else None
    found = parts(len(groups), labels, {"validation": 0.2, "selection": 0.1}, groups=groups)
    for name, fraction in (("validation", 0.2), ("selection", 0.1)):
        assert not set(groups[found[name]]) & set(np.delete(groups, found[name]))
        assert len(found[name]) == pytest.approx(fraction * len(groups), rel=0.15)
        if labels is not None:
            assert labels[found[name]].mean() == pytest.approx(labels.mean(), abs=0.03)
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(groups)))
