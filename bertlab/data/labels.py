"""Labels as the ids, vectors or numbers that a model is trained on: the one schema of a run, and what follows from it.

`label_inference.infer_labels` makes the schema. `assign_labels` replaces the labels of a split by their values.
"""

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.console import info, quiet_datasets
from bertlab.data.label_text import (
    ZERO_ONE,
    as_number,
    as_whole,
    fold,
    is_dropped,
    is_no_gold,
    says_nothing,
    split_label,
)
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
# What cross-entropy ignores: rows of a test split whose label is not known.
NO_LABEL = -100
# How many classes or labels a message names.
SHOWN = 12

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "f1", "matthews_correlation"),
    SINGLE: ("accuracy", "f1_macro", "matthews_correlation"),
    MULTI: ("f1_micro", "f1_macro", "accuracy"),
    REGRESSION: ("pearson", "spearmanr", "mse"),
}


@dataclass(frozen=True)
class LabelSchema:
    """What a label can be: its kind, the class names in the order of their ids, and what merges into what.

    `names_by_id` are the names in an order that somebody declared: only then is the label 1 the second of them.
    `delimiter` separates the labels of a cell, `vectors` says that labels are vectors of 0 and 1, and `dropped` are
    the labels of --drop_labels. A `fixed` schema is that of a model which is only evaluated.
    """

    kind: str
    class_names: tuple[str, ...]
    label_map: dict[str, str]
    names_by_id: tuple[str, ...] = ()
    delimiter: str | None = None
    vectors: bool = False
    dropped: tuple[str, ...] = ()
    positive_label: str | None = None
    fixed: bool = False

    @property
    def size(self) -> int:
        """The number of outputs of the model."""
        return len(self.class_names) if self.kind != REGRESSION else 1

    @property
    def positive_class(self) -> str | None:
        """The class of two that F1, precision and recall are of."""
        is_binary = self.kind == SINGLE and self.size == 2
        return (self.positive_label or (self.names_by_id or self.class_names)[1]) if is_binary else None

    def default_metrics(self) -> tuple[str, ...]:
        """The metrics of this kind of problem; the first is the primary metric."""
        return DEFAULT_METRICS["binary" if self.positive_class is not None else self.kind]

    def resolve(self, label: str) -> str:
        """Return the class name a written label stands for: mapped, itself, or the name at that id."""
        known = self._written.get(label) or self._written.get(as_whole(label))
        # A head that is not trained spells its classes as it was trained.
        return known or (self._folded.get(fold(label), label) if self.fixed else label)

    def is_unlabelled(self, label: Any) -> bool:
        """Return True for a label of a test split that says nothing, or is left out, unless a class has that name."""
        if label is None or is_dropped(label, self.dropped, self.delimiter):
            return True
        # A list that is empty, also as text, says that no label applies.
        names = split_label(label, self.delimiter if self.delimiter == "[" else None)
        return bool(names) and all(map(self._says_nothing, names))

    def value(self, label: Any, place: str, column: Sequence[Any] = ()) -> Any:
        """Return what a label as written is trained on: an id, a vector of 0 and 1, or a number.

        Raises:
            UserError: it is not in the schema; `place` says where it stands, and `column` are all labels there.
        """
        if self.kind == REGRESSION:
            number = as_number(label)
            if number is None:
                drop = f"--drop_labels {shlex.quote(str(label))} leaves such rows out"
                if column and not any(as_number(other) is not None for other in column):
                    drop = "write them without units and thousands separators, or name another --label_column_name"
                raise UserError(
                    f"{place}: the label {label!r} is not a finite number.", f"Regression needs numbers; {drop}."
                )
            return number
        several = split_label(label, self.delimiter)
        if self.vectors:
            return self._vector(several, place)
        if self.kind == SINGLE and len(several) != 1:
            raise UserError(f"{place}: the label is a list.", "Use --problem_type multi_label_classification.")
        if len(set(several)) < len(several):
            raise UserError(
                f"{place}: the label list has {max(several, key=several.count)!r} twice.",
                "Write the names or ids of a row's labels, or in every row a vector of 0 and 1.",
            )
        ids = {self._ids.get(self.resolve(name)) for name in several}
        if None in ids:
            raise self._unknown_error(place, column or [label])
        return ids.pop() if self.kind == SINGLE else [float(index in ids) for index in range(self.size)]

    def missing_value(self) -> Any:
        """Return what stands for a label that is not known."""
        if self.kind == REGRESSION:
            return math.nan
        return NO_LABEL if self.kind == SINGLE else [float(NO_LABEL)] * self.size

    def describe(self, written: Iterable[Any]) -> str:
        """Return in words what was decided: the kind of problem, and which id and class each written label is."""
        if self.kind == REGRESSION:
            return "regression on its numbers"
        kind = "multi-label" if self.kind == MULTI else f"{self.size} classes"
        ids = [f"{index} = {name}" for index, name in enumerate(self.class_names[:SHOWN])]
        more = f" … ({self.size} in all)" if self.size > SHOWN else ""
        labels = dict.fromkeys(name for label in written for name in split_label(label, self.delimiter))
        read = {} if self.vectors else {label: self.resolve(label) for label in sorted(labels)}
        renamed = [f"{label} is {name}" for label, name in read.items() if name != label and name in self._ids][:SHOWN]
        return f"{kind}: {', '.join(ids)}{more}" + (f" (the label {', '.join(renamed)})" if renamed else "")

    @property
    def is_swapped(self) -> bool:
        """True where the positive class of two is the first."""
        return self.positive_class is not None and self.positive_class == self.class_names[0]

    def binary_ids(self, ids: np.ndarray) -> np.ndarray:
        """Return class ids with 1 for the positive class of two; ids of other problems as they are."""
        return 1 - ids if self.is_swapped else ids

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.class_names)}

    @cached_property
    def _written(self) -> dict[str, str]:
        """Return the class of each way to write it: `1.0` is 1, and among names that are words a number is an id."""
        names = {name: name for name in self.class_names} | self.label_map
        whole = {as_whole(label): name for label, name in reversed(names.items()) if as_number(label) is not None}
        ids = {} if whole else {str(index): name for index, name in enumerate(self.names_by_id)}
        return ids | whole | names

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {fold(name): name for name in self.class_names}

    def _says_nothing(self, name: str) -> bool:
        if self.resolve(name) in self.class_names or (self.kind == REGRESSION and is_no_gold(name)):
            return False
        return says_nothing(name)

    def _vector(self, several: list[str], place: str) -> list[float]:
        items = [item.casefold() for item in several]
        if len(items) != self.size or not ZERO_ONE.keys() >= set(items):
            raise UserError(f"{place}: the label is no vector of {self.size} times 0 or 1, as it is in training.")
        return [ZERO_ONE[item] for item in items]

    def _unknown_error(self, place: str, column: Sequence[Any]) -> UserError:
        counts = Counter(name for label in column for name in split_label(label, self.delimiter))
        unknown = {name: rows for name, rows in counts.items() if self.resolve(name) not in self._ids}
        listed = ", ".join(map(repr, list(unknown)[:SHOWN]))
        counted = f" ({sum(unknown.values())} rows have {listed})" if sum(unknown.values()) > 1 else ""
        return UserError(
            f"{place}: the label {next(iter(unknown))!r} is none of the {self.size} classes{counted}.",
            self._unknown_hint(list(unknown), {as_whole(name) for name in counts}),
        )

    def _unknown_hint(self, unknown: list[str], column: set[str]) -> str:
        """Return what to do about labels that are not classes, in a column of these labels."""
        drop = f"--drop_labels {shlex.join(unknown[:SHOWN])}"
        near = did_you_mean(unknown[0], self.class_names)
        listed = [part.strip() for name in self.class_names for part in name.split(",") if part.strip()]
        if len(listed) > 1 and column <= set(listed):
            return f"Write the names apart: --class_names {shlex.join(listed)}."
        merged = [f"{label}={self._folded[fold(label)]}" for label in unknown if fold(label) in self._folded]
        if merged:
            return f"{near} Merge them with --label_map {shlex.join(merged)}."
        are_words = all(as_number(name) is None for name in (*self.label_map, *self.class_names))
        if are_words and not self.names_by_id and all(n.isdecimal() and int(n) < self.size for n in unknown):
            return f"If it is an id, say in which order: --class_names {shlex.join(self.class_names[:SHOWN])}."
        if are_words and len(column) == self.size and all(re.fullmatch(r"-?\d+", label) for label in column):
            pairs = [f"{n}={name}" for n, name in zip(sorted(column, key=int), self.class_names, strict=True)]
            by_order = f"If the numbers stand for the classes in this order: --label_map {shlex.join(pairs)}"
            return f"{by_order}; {drop} leaves such rows out."
        if self.kind == MULTI and not self.delimiter:
            return (
                f"If it is several labels, say what separates them with --label_delimiter; {drop} leaves such rows out."
            )
        if any(says_nothing(label) for label in unknown):
            return f"{drop} leaves such rows out."
        all_names = shlex.join([*self.class_names, *unknown]) if self.size + len(unknown) <= 2 * SHOWN else "…"
        add = "" if self.fixed else f"Name all classes with --class_names {all_names}, "
        merge = "merge with --label_map" if add else "Merge with --label_map"
        return f"{near} {add}{merge}, or leave such rows out with {drop}."


def assign_labels(split: "Dataset", schema: LabelSchema, origin: str, labels_required: bool) -> "Dataset":
    """Return a split with `labels` in place of `label`: ids, 0/1 vectors, or numbers.

    Rows of a test split may lack a label: NO_LABEL (NaN in regression) stands there; a split without any label
    has no `labels` column.

    Raises:
        UserError: there is no label column where labels are required, or a label is not in the schema.
    """
    if "label" not in split.column_names:
        if labels_required:
            raise UserError(
                f"{origin} has no label column.",
                "Rows without labels are for --test_file; --label_column_name is the same in every file.",
            )
        return split
    written, lines, indices = (split[name][:] for name in ("label", "line", "idx"))
    split = split.remove_columns("label")
    # So GLUE marks a test split without scores; beside other numbers -1 is a number.
    if not labels_required and schema.kind == REGRESSION and all(one is None or is_no_gold(one) for one in written):
        return split
    if schema.fixed and any(str(label).isdecimal() and schema.resolve(label) != label for label in written):
        order = ", ".join(f"{index} = {name}" for index, name in enumerate(schema.names_by_id))
        info(f"{origin}: the labels are numbers, taken in the order of the model's head: {order}.")
    if not labels_required:
        written = [None if schema.is_unlabelled(label) else label for label in written]
    values = [
        schema.missing_value() if label is None else schema.value(label, place(origin, line, idx), written)
        for label, line, idx in zip(written, lines, indices, strict=True)
    ]
    if not labelled_rows(np.asarray(values), len(values)).any():
        return split
    with quiet_datasets():
        return split.add_column("labels", np.asarray(values, dtype=np.int64) if schema.kind == SINGLE else values)


def class_weights(
    kind: str, counts: Mapping[str, int], rows: int, chosen: str | Mapping[str, float]
) -> list[float] | None:
    """Return the weight of each class in the loss, from its number of training rows; None where all are equal.

    `chosen` is "none", "balanced", or the weights of some classes, 1 for the others. Weights of classes have mean 1
    over the rows, so only their ratios matter; those of several labels weigh the rows that have the label. Where no
    row, or every row, has a class, it counts as if one had it, or had it not.
    """
    if chosen == "none":
        return None
    given = {} if isinstance(chosen, str) else chosen
    balanced = {
        name: (max(rows - count, 1) if kind == MULTI else rows) / max(count, 1) for name, count in counts.items()
    }
    weights = {name: given.get(name, 1.0) for name in counts} if given else balanced
    total = sum(count * weights[name] for name, count in counts.items())
    return [weight if kind == MULTI else weight * rows / total for weight in weights.values()]


def labelled_rows(labels: np.ndarray | None, rows: int) -> np.ndarray:
    """Return a mask (rows,) of the rows whose label, as `assign_labels` makes them, is known."""
    if labels is None:
        return np.zeros(rows, dtype=bool)
    first = labels[:, 0] if labels.ndim == 2 else labels
    known: np.ndarray = ~np.isnan(first) if first.dtype.kind == "f" and labels.ndim == 1 else first != NO_LABEL
    return known


def is_generic(names: Sequence[str]) -> bool:
    """Return True for the names that transformers gives to classes without any."""
    return all(name == f"LABEL_{index}" for index, name in enumerate(names))


def place(origin: str, line: int, idx: int) -> str:
    """Return where a row stands, for messages: its line or row in the file, or its row in a data set of the Hub."""
    return f"{origin}, line {line}" if line > 0 else f"{origin}, row {-line or idx + 1}"
