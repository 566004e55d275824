"""Holding evaluation, selection and test splits out of the training rows: seeded, disjoint, stratified."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bertlab.console import counted
from bertlab.errors import UserError

# How many random parts of large groups are drawn; the one with the best balance is taken.
DRAWS = 100


def hold_out(
    groups: Sequence[int] | np.ndarray,
    classes: npt.ArrayLike | None,
    fractions: Mapping[str, float],
    *,
    shuffle: bool,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return the row numbers, in order, of each named part and of what is left, `train`.

    `groups` holds one number per row: rows of one group stay together (give each row its own to split freely).
    `classes` holds the class id of each row, or its labels as 0 and 1 (rows, labels), to keep the balance in every
    part, or is None. A part of fraction f of n groups has ceil(f·n) groups, as in scikit-learn; without `shuffle` parts
    are taken from the end. Of groups with two rows or more on average, those are taken that are nearest to f in rows
    and, with `classes`, in each class.

    Raises:
        UserError: a part would be empty, or a class has too few rows to appear in every part.
    """
    _, first_row, group_of_row = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    strata = None if classes is None else np.asarray(classes)[first_row]
    left, total = np.arange(len(first_row)), len(first_row)
    counts = None if 2 * total > len(group_of_row) else _class_counts(group_of_row, classes)
    parts: dict[str, np.ndarray] = {}
    for name, fraction in fractions.items():
        size = int(np.ceil(fraction * total))
        if size >= len(left):
            hint = "Make the fractions smaller."
            if total <= len(fractions):
                units = counted(total, "row or group of rows is", "rows or groups of rows are")
                hint = f"Only {units} there, and each split needs one: hold out fewer splits."
            raise UserError(f"--{name}_fraction {fraction:g} leaves no training rows.", hint)
        if counts is not None and shuffle:
            left, parts[name] = _balanced_part(left, counts, size, fraction, seed)
        else:
            left, parts[name] = _part(left, strata, size, shuffle, seed, name)
    parts["train"] = left
    return {name: np.flatnonzero(np.isin(group_of_row, chosen)) for name, chosen in parts.items()}


def nested_order(rows: int, classes: npt.ArrayLike | None, seed: int) -> np.ndarray:
    """Return a random order of rows whose first N are a random sample for every N, and hold those of any smaller N.

    With the class id of each row, or its labels as 0 and 1, every sample has the balance of all rows, give or take a
    row of each class, or combination of labels.
    """
    order = np.random.default_rng(seed).permutation(rows)
    if classes is None:
        return order
    codes = np.unique(np.asarray(classes), axis=0, return_inverse=True)[1].reshape(-1)
    shuffled, place = codes[order], np.empty(rows)
    for label in np.unique(shuffled):
        of_class = np.flatnonzero(shuffled == label)
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return np.asarray(order[np.argsort(place, kind="stable")])


def _class_counts(groups: np.ndarray, classes: npt.ArrayLike | None) -> np.ndarray:
    """Return how many rows each group has of each class or label, and how many in all (groups, classes + 1)."""
    labels = np.zeros((len(groups), 0)) if classes is None else np.asarray(classes)
    if labels.ndim == 1:
        labels = np.eye(int(labels.max()) + 1)[labels]
    counts = np.zeros((groups.max() + 1, labels.shape[1] + 1))
    np.add.at(counts, groups, np.column_stack([labels, np.ones(len(groups))]))
    return counts


def _balanced_part(
    left: np.ndarray, counts: np.ndarray, size: int, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the groups that are left and those of the part: StratifiedGroupKFold has parts of 1/k alone."""
    from sklearn.model_selection import GroupShuffleSplit

    draws = GroupShuffleSplit(DRAWS, test_size=size, random_state=seed).split(left, groups=left)
    wanted = fraction * counts.sum(axis=0)
    rest, cut = min(draws, key=lambda draw: np.abs(counts[left[draw[1]]].sum(axis=0) - wanted).sum())
    return left[rest], left[cut]


def _part(
    left: np.ndarray, strata: np.ndarray | None, size: int, shuffle: bool, seed: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    if not shuffle:
        return left[:-size], left[-size:]
    if strata is not None and strata.ndim == 2:
        chosen = draw_by_label(strata[left] != 0, size, np.random.default_rng(seed))
        return left[~chosen], left[chosen]
    from sklearn.model_selection import train_test_split

    try:
        rest, cut = train_test_split(
            left, test_size=size, random_state=seed, stratify=None if strata is None else strata[left]
        )
        return rest, cut
    except ValueError as error:
        raise UserError(
            f"--{name}_fraction: the classes cannot be kept in balance ({error}).",
            "Pass --no_stratify, or merge rare classes with --label_map.",
        ) from error


def draw_by_label(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a mask of `size` rows, drawn so that they have each label (rows, labels) as often as the others do.

    Iterative stratification (Sechidis et al., 2011): label by label, the rarest first, each row goes to the side that
    lacks the label most. A label of two rows or more is on both sides.
    """
    undealt = labels.sum(axis=0)
    wanted = np.clip(undealt * size / len(labels), np.minimum(undealt - 1, 1), np.maximum(undealt - 1, 0))
    lacking, room = np.stack([wanted, undealt - wanted]), np.array([size, len(labels) - size])
    side, order = np.full(len(labels), -1), rng.permutation(len(labels))
    while undealt.any():
        label = np.where(undealt > 0, undealt, len(labels) + 1).argmin()
        for row in order[(side[order] < 0) & labels[order, label]]:
            side[row] = max((0, 1), key=lambda one: (room[one] > 0, lacking[one, label], room[one]))
            lacking[side[row]] -= labels[row]
            room[side[row]] -= 1
            undealt -= labels[row]
    without = order[side[order] < 0]
    side[without[: room[0]]] = 0
    return np.asarray(side == 0)
