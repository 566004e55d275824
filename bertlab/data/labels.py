"""The one place where labels as written become the ids, vectors or numbers a model is trained on."""

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """

    kind: str
    class_names: tuple[str, ...]
    label_map: dict[str, str]
    ids_are_known: bool = True

    @property
    def size(self) -> int:
        """The number of outputs of the model."""
        return len(self.class_names) if self.kind != REGRESSION else 1

    def default_metrics(self) -> tuple[str, ...]:
        """The metrics of this kind of problem; the first one leads."""
        binary = self.kind == SINGLE and self.size == 2
        return DEFAULT_METRICS["binary" if binary else self.kind]


def infer_labels(
    train: "Dataset | None",
    arguments: DataArguments,
    declared: Sequence[str],
    model_names: Sequence[str],
    origin: str,
) -> LabelSchema:
    """Return the label space of a run.

    `declared` are class names the data set itself brings, renamed as --label_map says; `model_names` those of an
    already fine-tuned model, whose order wins when they are the same names. Without training rows the model's names
    are the space.

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
    label_map = dict(arguments.label_map)
    _refuse_twice(arguments.class_names)
    wanted = tuple(arguments.class_names) or tuple(dict.fromkeys(label_map.get(name, name) for name in declared))
    labels = _distinct(written)
    found = _names_found(labels, label_map, wanted)
    unused = [key for key in label_map if _whole(key) not in map(_whole, labels)] if labels else []
    if unused:
        warning(f"--label_map: no training row has the label {' or '.join(map(repr, unused))}.")
    if not found and not wanted:
        wanted = tuple(model_names)
    names = _ordered(found, wanted, model_names)
    if train is None:
        _refuse_unknown(names, kind, origin)
    elif kind == SINGLE:
        _refuse_not_a_number(written, train, origin)
        _refuse_unlikely(found, names, len(written), origin)
    return LabelSchema(kind, names, label_map, bool(wanted) or set(names) == set(model_names))


def declared(arguments: DataArguments, names: Sequence[str]) -> LabelSchema | None:
    """Return what is known of the label space before any label is read: the classes that user or data set name."""
    named = tuple(arguments.class_names) or tuple(names)
    return LabelSchema(SINGLE, named, dict(arguments.label_map)) if named else None


def assign(split: "Dataset", schema: LabelSchema, origin: str, labels_required: bool) -> "Dataset":
    """Return a split with `labels` in place of `label`: ids, 0/1 vectors, or numbers.

    Rows of a test split may lack a label: NO_LABEL (NaN in regression) stands there; a split without any label
    has no `labels` column.

    Raises:
        UserError: there is no label column where labels are required, or a label is not in the label space.
    """
    if "label" not in split.column_names:
        if labels_required:
            raise UserError(f"{origin} has no label column.", "Name it with --label_column_name.")
        return split
    written, lines = split["label"][:], split["line"][:]
    # So GLUE marks a test split without scores; beside other numbers -1 is a number.
    if not labels_required and schema.kind == REGRESSION and all(label in (None, "-1") for label in written):
        return split.remove_columns("label")
    ids = {name: index for index, name in enumerate(schema.class_names)}
    values = []
    for label, line in zip(written, lines, strict=True):
        unknown = is_unknown(label, schema)
        values.append(_missing(schema) if unknown else _value(label, schema, ids, where(origin, line)))
    split = split.remove_columns("label")
    if all(is_missing(value) for value in values):
        return split
    return split.add_column("labels", _column(values, schema))


def to_number(label: Any, schema: LabelSchema, place: str) -> Any:
    """Return what a label as written is trained on: an id, a vector of 0 and 1, or a number; `place` is for messages.

    Raises:
        UserError: it is not in the label space.
    """
    return _value(label, schema, {name: index for index, name in enumerate(schema.class_names)}, place)


def is_unknown(label: Any, schema: LabelSchema) -> bool:
    """Return True for a label as written that says nothing; -1 means so in GLUE, unless a class has that name."""
    return label is None or (
        label == "-1" and schema.kind != REGRESSION and resolve(label, schema) not in schema.class_names
    )


def labelled_rows(labels: np.ndarray | None, rows: int) -> np.ndarray:
    """Return a mask (rows,) of the rows whose label, as `assign` makes them, is known."""
    if labels is None:
        return np.zeros(rows, dtype=bool)
    first = labels[:, 0] if labels.ndim == 2 else labels
    return ~np.isnan(first) if first.dtype.kind == "f" and labels.ndim == 1 else first != NO_LABEL


def resolve(label: str, schema: LabelSchema) -> str:
    """Return the class name a written label stands for: mapped, itself, or the name at that id.

    `1.0` stands for 1 where 1 is known, and the other way round. Numbers are ids only among names that are words.
    """
    return _resolve(label, schema.label_map, schema.class_names, schema.ids_are_known)


def where(origin: str, line: int) -> str:
    """Return the place of a row for messages: line 7, row 7 where `line` is -7; data sets of the Hub have neither."""
    return f"{origin}, {'line' if line > 0 else 'row'} {abs(line)}" if line else origin


def balance(labels: Iterable[int], class_names: Sequence[str]) -> dict[str, int]:
    """Return the number of rows per class name, in the order of the ids."""
    counts = Counter(label for label in labels if label != NO_LABEL)
    return {name: counts.get(index, 0) for index, name in enumerate(class_names)}


def _resolve(label: str, label_map: dict[str, str], names: Sequence[str], ids_are_known: bool = True) -> str:
    if label in label_map:
        return label_map[label]
    if label in names or _as_number(label) is None:
        return label
    known = (*label_map, *names)
    for name in known:
        if _whole(name) == _whole(label):
            return label_map.get(name, name)
    if not ids_are_known or any(_as_number(name) is not None for name in known):
        return label
    return names[int(label)] if label.isdecimal() and int(label) < len(names) else label


def _whole(label: str) -> str:
    return WHOLE.sub(r"\1", label)


def _kind(written: Sequence[Any], arguments: DataArguments, origin: str) -> str:
    asked = REGRESSION if arguments.do_regression else arguments.problem_type
    if arguments.problem_type not in (asked, "auto"):
        raise UserError(
            f"--do_regression and --problem_type {arguments.problem_type} contradict each other.", "Keep one of them."
        )
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


def _are_decimals(written: Sequence[str | None]) -> bool:
    numbers = [_as_number(label) for label in written if label is not None]
    return all(n is not None for n in numbers) and any(n is not None and n != int(n) for n in numbers)


def _as_number(label: str) -> float | None:
    try:
        number = float(label)
    except (ValueError, TypeError):
        return None
    return number if math.isfinite(number) else None


def _distinct(written: Sequence[Any]) -> set[str]:
    return {one for label in written for one in (label if isinstance(label, list) else [label]) if one is not None}


def _names_found(labels: set[str], label_map: dict[str, str], names: Sequence[str]) -> set[str]:
    found = {_resolve(label, label_map, names) for label in labels}
    # 1.0 beside 1, or beside 2, is how a program wrote some of the whole numbers of one column.
    mixed = len({_whole(name) == name for name in found}) > 1 and all(_as_number(name) is not None for name in found)
    return {_whole(name) for name in found} if mixed else found


def _ordered(found: set[str], wanted: Sequence[str], model_names: Sequence[str]) -> tuple[str, ...]:
    """Return class names in the model's order if they are the model's, else as declared, else sorted."""
    names = set(wanted) or found
    if set(model_names) == names:
        return tuple(model_names)
    if wanted:
        unexpected = sorted(found - set(wanted))
        if unexpected:
            raise UserError(
                f"the training data has the label {unexpected[0]!r}, which is not among {', '.join(wanted)}.",
                did_you_mean(unexpected[0], wanted) + " Or name it with --class_names or --label_map.",
            )
        return tuple(wanted)
    if all(_as_number(name) is not None for name in names):
        return tuple(sorted(names, key=float))
    return tuple(sorted(names))


def _refuse_unknown(names: Sequence[str], kind: str, origin: str) -> None:
    if not names:
        raise UserError(
            f"{origin}: without training rows, nothing says which classes there are.",
            "Name a model that was fine-tuned for them, or --class_names.",
        )
    if kind == SINGLE and len(names) == 1:
        raise UserError(
            f"the model has one output, {names[0]!r}, and no classes.", "If it gives scores, pass --do_regression."
        )


def _refuse_unlikely(found: set[str], names: Sequence[str], rows: int, origin: str) -> None:
    if len(found) < 2:
        raise UserError(
            f"{origin}: every row has the label {next(iter(found))!r}; there is nothing to learn.",
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
    if (decimals or len(names) > MANY_CLASSES) and rows < ROWS_PER_CLASS * len(names):
        raise UserError(
            f"{origin}: {len(names)} different {'decimal numbers' if decimals else 'labels'} in {rows} rows; "
            "that is hardly a class column.",
            "Name the right one with --label_column_name, or pass --do_regression.",
        )


def _refuse_twice(names: Sequence[str]) -> None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise UserError(f"--class_names has {twice!r} twice.", "Name every class once, in the order of the ids.")


def _refuse_not_a_number(written: Sequence[str], train: "Dataset", origin: str) -> None:
    """Refuse `nan` among numbers: it is what programs write for an empty cell, not a class."""
    others = {label for label in set(written) if label.casefold() != "nan"}
    if len(others) < len(set(written)) and all(_as_number(label) is not None for label in others):
        row = next(index for index, label in enumerate(written) if label.casefold() == "nan")
        raise UserError(
            f"{where(origin, train[row]['line'])}: the label {written[row]!r} is not a number, as all others are.",
            "Empty the cell and pass --on_missing drop, or name the class with --label_map nan=NAME.",
        )


def _value(label: Any, schema: LabelSchema, ids: dict[str, int], where: str) -> Any:
    if schema.kind == REGRESSION:
        number = _as_number(label)
        if number is None:
            raise UserError(f"{where}: the label {label!r} is not a finite number.", "Regression needs numbers.")
        return number
    if schema.kind == SINGLE:
        return _id(label, schema, ids, where)
    several = label if isinstance(label, list) else [label]
    if len(set(several)) < len(several):
        raise UserError(
            f"{where}: the label list has {max(several, key=several.count)!r} twice.",
            "Write the names or ids of a row's labels, not a vector of 0 and 1.",
        )
    chosen = {_id(one, schema, ids, where) for one in several}
    return [float(index in chosen) for index in range(schema.size)]


def _id(label: Any, schema: LabelSchema, ids: dict[str, int], where: str) -> int:
    if isinstance(label, list):
        raise UserError(f"{where}: the label is a list.", "Use --problem_type multi_label_classification.")
    name = resolve(label, schema)
    if name not in ids:
        hint = did_you_mean(name, schema.class_names) + " --label_map merges or renames labels."
        if not schema.ids_are_known and name.isdecimal() and int(name) < schema.size and not _has_numbers(schema):
            hint = f"If it is an id, say in which order: --class_names {shlex.join(schema.class_names[:12])}."
        raise UserError(f"{where}: the label {label!r} does not occur in training.", hint)
    return ids[name]


def _has_numbers(schema: LabelSchema) -> bool:
    return any(_as_number(name) is not None for name in (*schema.label_map, *schema.class_names))


def _missing(schema: LabelSchema) -> Any:
    if schema.kind == REGRESSION:
        return math.nan
    return NO_LABEL if schema.kind == SINGLE else [float(NO_LABEL)] * schema.size


def is_missing(value: Any) -> bool:
    """Return True for a label that `assign` made of none."""
    first = value[0] if isinstance(value, list) else value
    return first == NO_LABEL or first != first


def _column(values: list[Any], schema: LabelSchema) -> Any:
    return np.asarray(values, dtype=np.int64) if schema.kind == SINGLE else values
