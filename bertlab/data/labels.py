"""The one place where labels as written become the ids, vectors or numbers that a model is trained on.

`infer_labels` decides, from all labels of the training rows and what the user, the data set or a model declares, what
a label can be. `assign_labels` replaces the labels of a split by their values.
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

from bertlab.cli.arguments import DataArguments
from bertlab.console import info, warning
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
# What cross-entropy passes over: rows of a test split whose label is not known.
NO_LABEL = -100
# 1.0 is how some programs write the whole number 1 once a column has had an empty cell.
WHOLE = re.compile(r"^([+-]?\d+)\.0+$")
# Beyond this many classes with fewer than this many rows each, the column is taken for something else.
MANY_CLASSES, ROWS_PER_CLASS = 200, 3

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "f1", "matthews_correlation"),
    SINGLE: ("accuracy", "f1_macro", "matthews_correlation"),
    MULTI: ("f1_micro", "f1_macro", "accuracy"),
    REGRESSION: ("pearson", "spearmanr", "mse"),
}


@dataclass(frozen=True)
class LabelSchema:
    """What a label can be: its kind, the class names in the order of their ids, and what merges into what.

    `ids_are_known` says that somebody declared the order of the names: only then is the label 1 the second of them.
    `of_head` says that they are those of a head that is not trained: written labels match them whatever their case.
    """

    kind: str
    class_names: tuple[str, ...]
    label_map: dict[str, str]
    ids_are_known: bool = True
    of_head: bool = False

    @property
    def size(self) -> int:
        """The number of outputs of the model."""
        return len(self.class_names) if self.kind != REGRESSION else 1

    def default_metrics(self) -> tuple[str, ...]:
        """The metrics of this kind of problem; the first is the primary metric."""
        binary = self.kind == SINGLE and self.size == 2
        return DEFAULT_METRICS["binary" if binary else self.kind]

    def resolve(self, label: str) -> str:
        """Return the class name a written label stands for: mapped, itself, or the name at that id.

        `1.0` stands for 1 where a class is called 1, and the other way round. Numbers are ids only among names that
        are words.
        """
        if label in self.label_map:
            return self.label_map[label]
        if label in self.class_names or _as_number(label) is None:
            folded = {name.casefold(): name for name in self.class_names} if self.of_head else {}
            return label if label in self.class_names else folded.get(label.casefold(), label)
        for name in (*self.label_map, *self.class_names):
            if _whole(name) == _whole(label):
                return self.label_map.get(name, name)
        is_id = self.ids_are_known and not self._has_numbers and label.isdecimal() and int(label) < self.size
        return self.class_names[int(label)] if is_id else label

    def is_unlabelled(self, label: Any) -> bool:
        """Return True for a label as written that says nothing; -1 means so in GLUE, unless a class has that name."""
        return label is None or (
            label == "-1" and self.kind != REGRESSION and self.resolve(label) not in self.class_names
        )

    def value(self, label: Any, place: str) -> Any:
        """Return what a label as written is trained on: an id, a vector of 0 and 1, or a number.

        Raises:
            UserError: it is not in the schema; `place` says where it stands.
        """
        if self.kind == REGRESSION:
            number = _as_number(label)
            if number is None:
                raise UserError(f"{place}: the label {label!r} is not a finite number.", "Regression needs numbers.")
            return number
        if self.kind == SINGLE and isinstance(label, list):
            raise UserError(f"{place}: the label is a list.", "Use --problem_type multi_label_classification.")
        several = _as_list(label)
        if len(set(several)) < len(several):
            raise UserError(
                f"{place}: the label list has {max(several, key=several.count)!r} twice.",
                "Write the names or ids of a row's labels, not a vector of 0 and 1.",
            )
        ids = {self._id(name, place) for name in several}
        return ids.pop() if self.kind == SINGLE else [float(index in ids) for index in range(self.size)]

    def missing_value(self) -> Any:
        """Return what stands for a label that is not known."""
        if self.kind == REGRESSION:
            return math.nan
        return NO_LABEL if self.kind == SINGLE else [float(NO_LABEL)] * self.size

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.class_names)}

    @cached_property
    def _has_numbers(self) -> bool:
        return any(_as_number(name) is not None for name in (*self.label_map, *self.class_names))

    def _id(self, label: str, place: str) -> int:
        name = self.resolve(label)
        if name not in self._ids:
            hint = did_you_mean(name, self.class_names) + " Name labels with --class_names, merge with --label_map."
            if not self.ids_are_known and not self._has_numbers and name.isdecimal() and int(name) < self.size:
                hint = f"If it is an id, say in which order: --class_names {shlex.join(self.class_names[:12])}."
            raise UserError(f"{place}: the label {label!r} is none of the {self.size} classes.", hint)
        return self._ids[name]


def infer_labels(
    train: "Dataset | None",
    arguments: DataArguments,
    declared: Sequence[str],
    model_names: Sequence[str],
    origin: str,
) -> LabelSchema:
    """Return what the labels of a run can be.

    `declared` are class names that the data set itself brings, renamed as --label_map says; `model_names` those of an
    already fine-tuned model, whose order wins when they are the same names. Without training rows, and if nothing is
    declared, the model's names are the classes.

    Raises:
        UserError: the training labels are missing, are one class only, or cannot be classes; or there are neither
            training labels nor names.
    """
    written = [] if train is None or "label" not in train.column_names else train["label"][:]
    if train is not None and not any(label is not None for label in written):
        raise UserError(f"{origin} has no labels to train on.", "Name the column with --label_column_name.")
    kind = _kind(written, arguments, origin)
    if kind == REGRESSION:
        if arguments.label_map or arguments.class_names:
            raise UserError("regression takes numbers as they are.", "Leave out --label_map and --class_names.")
        return LabelSchema(kind, (), {})
    repeated = [name for name, count in Counter(arguments.class_names).items() if count > 1]
    if repeated:
        raise UserError(f"--class_names has {repeated[0]!r} twice.", "Name every class once, in the order of the ids.")
    label_map = dict(arguments.label_map)
    names = tuple(arguments.class_names) or tuple(dict.fromkeys(label_map.get(name, name) for name in declared))
    counts = Counter(name for label in written for name in _as_list(label))
    classes = _classes(counts, LabelSchema(kind, names, label_map))
    unused = [key for key in label_map if _whole(key) not in map(_whole, counts)] if counts else []
    if unused:
        warning(f"--label_map: no training row has the label {' or '.join(map(repr, unused))}.")
    names = names or (() if classes else tuple(model_names))
    ordered = _ordered(classes, names, model_names)
    if arguments.class_names and set(ordered) == set(names) and ordered != names:
        # The head keeps its order, and a number stays the id that --class_names gives.
        label_map = {**{str(index): name for index, name in enumerate(names)}, **label_map}
    if train is None:
        _check_declared(ordered, kind, origin)
    else:
        _check_written(written, counts, train, origin)
        _check_classes(classes, ordered, kind, len(written), origin)
    by_head = _spelled(set(ordered), model_names) is not None
    return LabelSchema(kind, ordered, label_map, bool(names) or by_head, by_head and train is None)


def is_generic(names: Sequence[str]) -> bool:
    """Return True for the names that transformers gives to classes without any."""
    return all(name == f"LABEL_{index}" for index, name in enumerate(names))


def check_head(schema: LabelSchema, model_names: Sequence[str]) -> None:
    """Refuse class names that would rename the outputs of a head that is not trained.

    Raises:
        UserError: they would.
    """
    if schema.kind != REGRESSION and not is_generic(model_names) and not schema.of_head:
        raise UserError(
            f"the outputs of the model are {', '.join(model_names)}, the classes here {', '.join(schema.class_names)}.",
            f"Say which label is which output: --label_map {shlex.quote(f'{schema.class_names[0]}={model_names[0]}')}…",
        )


def declared_schema(arguments: DataArguments, names: Sequence[str]) -> LabelSchema | None:
    """Return what is known before any label is read: the classes that user or data set name, or None."""
    named = tuple(arguments.class_names) or tuple(names)
    return LabelSchema(SINGLE, named, dict(arguments.label_map)) if named else None


def assign_labels(split: "Dataset", schema: LabelSchema, origin: str, labels_required: bool) -> "Dataset":
    """Return a split with `labels` in place of `label`: ids, 0/1 vectors, or numbers.

    Rows of a test split may lack a label: NO_LABEL (NaN in regression) stands there; a split without any label
    has no `labels` column.

    Raises:
        UserError: there is no label column where labels are required, or a label is not in the schema.
    """
    if "label" not in split.column_names:
        if labels_required:
            raise UserError(f"{origin} has no label column.", "Name it with --label_column_name.")
        return split
    written, lines, indices = (split[name][:] for name in ("label", "line", "idx"))
    split = split.remove_columns("label")
    # So GLUE marks a test split without scores; beside other numbers -1 is a number.
    if not labels_required and schema.kind == REGRESSION and all(label in (None, "-1") for label in written):
        return split
    if schema.of_head and any(isinstance(label, str) and _is_id(label, schema) for label in written):
        order = ", ".join(f"{index} = {name}" for index, name in enumerate(schema.class_names))
        info(f"{origin}: the labels are numbers, taken in the order of the model's head: {order}.")
    values = [
        schema.missing_value() if schema.is_unlabelled(label) else schema.value(label, place(origin, line, idx))
        for label, line, idx in zip(written, lines, indices, strict=True)
    ]
    if all(is_missing(value) for value in values):
        return split
    return split.add_column("labels", np.asarray(values, dtype=np.int64) if schema.kind == SINGLE else values)


def is_missing(value: Any) -> bool:
    """Return True for a value that stands for a label that is not known."""
    first = value[0] if isinstance(value, list) else value
    return bool(first == NO_LABEL or first != first)


def labelled_rows(labels: np.ndarray | None, rows: int) -> np.ndarray:
    """Return a mask (rows,) of the rows whose label, as `assign_labels` makes them, is known."""
    if labels is None:
        return np.zeros(rows, dtype=bool)
    first = labels[:, 0] if labels.ndim == 2 else labels
    known: np.ndarray = ~np.isnan(first) if first.dtype.kind == "f" and labels.ndim == 1 else first != NO_LABEL
    return known


def place(origin: str, line: int, idx: int) -> str:
    """Return where a row stands, for messages: its line or row in the file, or its row in a data set of the Hub."""
    return f"{origin}, line {line}" if line > 0 else f"{origin}, row {-line or idx + 1}"


def class_counts(labels: Iterable[int], class_names: Sequence[str]) -> dict[str, int]:
    """Return the number of rows per class name, in the order of the ids."""
    counts = Counter(labels)
    return {name: counts.get(index, 0) for index, name in enumerate(class_names)}


def _as_list(label: Any) -> list[str]:
    """Return the labels of a row, whatever the kind."""
    return label if isinstance(label, list) else [] if label is None else [label]


def _as_number(label: Any) -> float | None:
    try:
        number = float(label)
    except (ValueError, TypeError):
        return None
    return number if math.isfinite(number) else None


def _are_decimals(labels: Iterable[str | None]) -> bool:
    numbers = [_as_number(label) for label in labels if label is not None]
    return all(n is not None for n in numbers) and any(n is not None and n != int(n) for n in numbers)


def _whole(label: str) -> str:
    return WHOLE.sub(r"\1", label)


def _kind(written: Sequence[Any], arguments: DataArguments, origin: str) -> str:
    asked = REGRESSION if arguments.do_regression else arguments.problem_type
    lists = any(isinstance(label, list) for label in written)
    if asked in (SINGLE, REGRESSION) and lists:
        raise UserError(f"--problem_type {asked}: the labels in {origin} are lists.", "Use multi_label_classification.")
    if asked == MULTI and written and not lists:
        warning(f"{origin} has no lists of labels: each row has the one label that is written there, whole.")
    if asked != "auto":
        return asked
    if lists:
        return MULTI
    if written and not arguments.class_names and not arguments.label_map and _are_decimals(written):
        info("the labels are decimal numbers: this is a regression (--problem_type says otherwise).")
        return REGRESSION
    return SINGLE


def _classes(labels: Iterable[str], declared: LabelSchema) -> set[str]:
    """Return the class names that the written labels stand for."""
    names = {declared.resolve(label) for label in labels}
    # 1.0 beside 1, or beside 2, is how a program wrote some of the whole numbers of one column.
    mixed = len({_whole(name) == name for name in names}) > 1 and all(_as_number(name) is not None for name in names)
    return {_whole(name) for name in names} if mixed else names


def _is_id(label: str, schema: LabelSchema) -> bool:
    return label.isdecimal() and label not in schema.label_map and schema.resolve(label) != label


def _spelled(names: set[str], model_names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names in the order of the model's, if they are the same but for case; else None."""
    folded = {name.casefold(): name for name in names}
    same = len(names) == len(model_names) and folded.keys() == {name.casefold() for name in model_names}
    return tuple(folded[name.casefold()] for name in model_names) if same else None


def _ordered(classes: set[str], declared: Sequence[str], model_names: Sequence[str]) -> tuple[str, ...]:
    """Return class names in the model's order if they are the model's, else as declared, else sorted."""
    names = set(declared) or classes
    by_head = _spelled(names, model_names)
    if by_head is not None:
        return by_head
    if declared:
        unexpected = sorted(classes - names)
        if unexpected:
            raise UserError(
                f"the training data has the label {unexpected[0]!r}, which is not among {', '.join(declared)}.",
                did_you_mean(unexpected[0], declared) + " Or name it with --class_names or --label_map.",
            )
        return tuple(declared)
    are_numbers = all(_as_number(name) is not None for name in names)
    return tuple(sorted(names, key=float if are_numbers else None))


def _check_declared(names: Sequence[str], kind: str, origin: str) -> None:
    """Refuse class names that no training label has been compared with and that cannot be right."""
    if not names:
        raise UserError(
            f"{origin}: no training labels are counted, so nothing says which classes there are.",
            "Name them with --class_names or --label_map, name a model that was fine-tuned for them, or pass "
            "--do_regression.",
        )
    if kind == SINGLE and len(names) == 1:
        raise UserError(
            f"the model has one output, {names[0]!r}, and no classes.", "If it gives scores, pass --do_regression."
        )


def _check_written(written: Sequence[Any], counts: Mapping[str, int], train: "Dataset", origin: str) -> None:
    """Refuse `nan` among numbers: it is what programs write for an empty cell, not a class."""
    nan = {label for label in counts if label.casefold() == "nan"}
    if nan and all(_as_number(label) is not None for label in counts if label not in nan):
        row = next(index for index, label in enumerate(written) if nan & set(_as_list(label)))
        raise UserError(
            f"{place(origin, train[row]['line'], row)}: the label {written[row]!r} is not a number, as all others are.",
            "Empty the cell and pass --on_missing drop, or name the class with --label_map nan=NAME.",
        )


def _check_classes(classes: set[str], names: Sequence[str], kind: str, rows: int, origin: str) -> None:
    """Refuse classes that nobody can have meant; what a list of labels may well be is refused of single ones only."""
    if kind == SINGLE and len(classes) < 2:
        raise UserError(
            f"{origin}: every row has the label {next(iter(classes))!r}; there is nothing to learn.",
            "Check the label column.",
        )
    folded: dict[str, str] = {}
    for name in names:
        twin = folded.setdefault(" ".join(name.casefold().split()), name)
        if twin != name:
            how = "case" if twin.casefold() == name.casefold() else "spaces or case"
            raise UserError(
                f"{origin}: the labels {twin!r} and {name!r} differ in {how} only.",
                f"Merge them with --label_map {shlex.quote(f'{name}={twin}')}.",
            )
    decimals = _are_decimals(names)
    if kind == SINGLE and (decimals or len(names) > MANY_CLASSES) and rows < ROWS_PER_CLASS * len(names):
        raise UserError(
            f"{origin}: {len(names)} different {'decimal numbers' if decimals else 'labels'} in {rows} rows; "
            "that is hardly a class column.",
            "Name the right one with --label_column_name, or pass --do_regression.",
        )
