"""The one place where labels as written become the ids, vectors or numbers that a model is trained on.

`infer_labels` decides, from all labels of the training rows and what the user, the data set or a model declares, what
a label can be. `assign_labels` replaces the labels of a split by their values.
"""

import ast
import math
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.cli.arguments import DataArguments
from bertlab.console import info, quiet_datasets, warning
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
# What cross-entropy passes over: rows of a test split whose label is not known.
NO_LABEL = -100
# 1.0 is how some programs write the whole number 1 once a column has had an empty cell.
WHOLE = re.compile(r"^([+-]?\d+)\.0+$")
LEADING_ZEROS = re.compile(r"^0+(?=\d+$)")
DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
# A list as a program writes it into a cell, a tuple, or a set.
LIST = re.compile(r"\[(.*[',\"].*|[01. ]*)\]|\(['\"\d].*\)|\{['\"][^:]*\}", re.DOTALL)
# What programs and annotators write where there is no label. Of these a user may well call a class `none`; a program
# writes None.
NO_GOLD = "-1"
NOTHING = {"nan", "null", "none", "nil", "n/a", "na", "#n/a", "<na>", "-", "--", "---", "?", "", "[]"}
# Beyond this many classes with fewer than this many rows each, the column is taken for something else.
MANY_CLASSES, ROWS_PER_CLASS = 200, 3
# Beside classes of so many rows one of a single row is hardly meant.
MANY_ROWS = 5
# More whole numbers than this, without names, look like a scale.
SCALE = 10
DELIMITERS = ",;|"
ZERO_ONE = dict.fromkeys(("0", "0.", "0.0", "false"), 0.0) | dict.fromkeys(("1", "1.", "1.0", "true"), 1.0)
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
        return (self.positive_label or self.class_names[1]) if is_binary else None

    def default_metrics(self) -> tuple[str, ...]:
        """The metrics of this kind of problem; the first is the primary metric."""
        return DEFAULT_METRICS["binary" if self.positive_class is not None else self.kind]

    def resolve(self, label: str) -> str:
        """Return the class name a written label stands for: mapped, itself, or the name at that id."""
        known = self._written.get(label) or self._written.get(_whole(label))
        # A head that is not trained spells its classes as it was trained.
        return known or (self._folded.get(_fold(label), label) if self.fixed else label)

    def is_unlabelled(self, label: Any) -> bool:
        """Return True for a label of a test split that says nothing, or is left out, unless a class has that name."""
        if label is None or is_dropped(label, self.dropped, self.delimiter):
            return True
        if isinstance(label, list):
            return bool(label) and set(label) == {NO_GOLD}
        if self.resolve(label) in self.class_names:
            return False
        return label.casefold() in NOTHING or (label == NO_GOLD and self.kind != REGRESSION)

    def value(self, label: Any, place: str, column: Sequence[Any] = ()) -> Any:
        """Return what a label as written is trained on: an id, a vector of 0 and 1, or a number.

        Raises:
            UserError: it is not in the schema; `place` says where it stands, and `column` are all labels there.
        """
        if self.kind == REGRESSION:
            number = _as_number(label)
            if number is None:
                raise UserError(
                    f"{place}: the label {label!r} is not a finite number.",
                    f"Regression needs numbers; --drop_labels {shlex.quote(str(label))} leaves such rows out.",
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
        whole = {_whole(label): name for label, name in reversed(names.items()) if _as_number(label) is not None}
        ids = {} if whole else {str(index): name for index, name in enumerate(self.names_by_id)}
        return ids | whole | names

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {_fold(name): name for name in self.class_names}

    def _vector(self, several: list[str], place: str) -> list[float]:
        values = [ZERO_ONE.get(item.casefold()) for item in several]
        vector = [value for value in values if value is not None]
        if len(vector) != self.size or len(values) != self.size:
            raise UserError(f"{place}: the label is no vector of {self.size} times 0 or 1, as it is in training.")
        return vector

    def _unknown_error(self, place: str, column: Sequence[Any]) -> UserError:
        counts = Counter(name for label in column for name in split_label(label, self.delimiter))
        unknown = {name: rows for name, rows in counts.items() if self.resolve(name) not in self._ids}
        listed = ", ".join(map(repr, list(unknown)[:SHOWN]))
        counted = f" ({sum(unknown.values())} rows have {listed})" if sum(unknown.values()) > 1 else ""
        return UserError(
            f"{place}: the label {next(iter(unknown))!r} is none of the {self.size} classes{counted}.",
            self._unknown_hint(list(unknown), {_whole(name) for name in counts}),
        )

    def _unknown_hint(self, unknown: list[str], column: set[str]) -> str:
        """Return what to do about labels that are no classes, in a column of these labels."""
        drop = f"--drop_labels {shlex.join(unknown[:SHOWN])}"
        near = did_you_mean(unknown[0], self.class_names)
        merged = [f"{label}={self._folded[_fold(label)]}" for label in unknown if _fold(label) in self._folded]
        if merged:
            return f"{near} Merge them with --label_map {shlex.join(merged)}."
        are_words = all(_as_number(name) is None for name in (*self.label_map, *self.class_names))
        if are_words and not self.names_by_id and all(n.isdecimal() and int(n) < self.size for n in unknown):
            return f"If it is an id, say in which order: --class_names {shlex.join(self.class_names[:SHOWN])}."
        if are_words and len(column) == self.size and all(re.fullmatch(r"-?\d+", label) for label in column):
            pairs = [f"{n}={name}" for n, name in zip(sorted(column, key=int), self.class_names, strict=True)]
            by_order = f"If the numbers stand for the classes in this order: --label_map {shlex.join(pairs)}"
            return f"{by_order}; {drop} leaves such rows out."
        if any(_says_nothing(label) for label in unknown):
            return f"{drop} leaves such rows out."
        all_names = shlex.join([*self.class_names, *unknown]) if self.size + len(unknown) <= 2 * SHOWN else "…"
        add = "" if self.fixed else f"Name all classes with --class_names {all_names}, "
        merge = "merge with --label_map" if add else "Merge with --label_map"
        return f"{near} {add}{merge}, or leave such rows out with {drop}."


def infer_labels(
    train: "Dataset | None",
    arguments: DataArguments,
    declared: Sequence[str],
    model_names: Sequence[str],
    origin: str,
    elsewhere: Iterable[Any] = (),
) -> LabelSchema:
    """Return what the labels of a run can be.

    `declared` are class names that the data set itself brings, renamed as --label_map says; `model_names` those of an
    already fine-tuned model, whose order wins when they are the same names, case aside. Without training rows, and if
    nothing is declared, the model's names are the classes. `elsewhere` are the labels of the other splits.

    Raises:
        UserError: the training labels are missing, are one class only, or cannot be classes; or there are neither
            training labels nor names.
    """
    if train is None:
        # The lists of the other splits say whether there are several labels, and how written.
        seen = [label for label in elsewhere if isinstance(label, list)]
    else:
        seen = [label for label in train["label"][:] if label is not None] if "label" in train.column_names else []
        if not seen:
            raise UserError(f"{origin} has no labels to train on.", "Name the column with --label_column_name.")
    kind = _kind(seen, arguments, origin)
    delimiter = _cell_delimiter(seen, arguments) if kind == MULTI else None
    names = _declared_names(arguments, declared)
    schema = LabelSchema(kind, names, dict(arguments.label_map), names, delimiter, dropped=tuple(arguments.drop_labels))
    lists = [split_label(label, delimiter) for label in seen]
    if kind == REGRESSION:
        schema = _regression(schema, seen, origin)
    elif kind == MULTI and _are_vectors(lists):
        schema = _vector_schema(schema, len(lists[0]), model_names, origin)
    elif train is None:
        schema = _as_in_model(_declared_schema(schema, model_names, arguments, origin), model_names)
    else:
        counts = Counter(name for labels in lists for name in labels)
        _check_suspects(train, schema, counts, origin)
        _warn_of_map(schema, counts, {name for label in elsewhere for name in split_label(label, delimiter)})
        schema = _as_in_model(_class_schema(schema, counts, arguments, origin), model_names)
    return _with_positive(schema, arguments.positive_label)


def is_generic(names: Sequence[str]) -> bool:
    """Return True for the names that transformers gives to classes without any."""
    return all(name == f"LABEL_{index}" for index, name in enumerate(names))


def check_head(schema: LabelSchema, model_names: Sequence[str]) -> None:
    """Refuse class names that would rename the outputs of a head that is not trained.

    Raises:
        UserError: they would.
    """
    if schema.kind != REGRESSION and not is_generic(model_names) and schema.class_names != tuple(model_names):
        raise UserError(
            f"the outputs of the model are {', '.join(model_names)}, the classes here {', '.join(schema.class_names)}.",
            f"Say which label is which output: --label_map {shlex.quote(f'{schema.class_names[0]}={model_names[0]}')}…",
        )


def _declared_names(arguments: DataArguments, declared: Sequence[str]) -> tuple[str, ...]:
    """Return the class names of the user or else of the data set, in the order of their ids."""
    names = arguments.class_names
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise UserError(f"--class_names has {twice!r} twice.", "Name every class once, in the order of the ids.")
    return tuple(names) or tuple(dict.fromkeys(arguments.label_map.get(name, name) for name in declared))


def _regression(schema: LabelSchema, written: Sequence[Any], origin: str) -> LabelSchema:
    if written:
        _refuse_constant({_as_number(label) for label in written}, written, origin)
    if any(DECIMAL_COMMA.match(label) for label in written):
        info(f"{origin}: 3,5 is read as the number 3.5; --label_delimiter , reads two labels.")
    return replace(schema, class_names=(), names_by_id=())


def _refuse_constant(values: Collection[Any], written: Iterable[Any], origin: str) -> None:
    if len(values) < 2:
        raise UserError(
            f"{origin}: every row has the label {next(iter(written))!r}; there is nothing to learn.",
            "Check the label column.",
        )


def _with_positive(schema: LabelSchema, positive: str | None) -> LabelSchema:
    if positive is None:
        return schema
    name = schema.resolve(positive)
    if schema.positive_class is None or name not in schema.class_names:
        of_two = "" if schema.positive_class is not None else " and there must be two"
        near = did_you_mean(positive, schema.class_names)
        raise UserError(f"--positive_label {positive}: no such class{of_two}.", near)
    return replace(schema, positive_label=name)


def split_label(label: Any, delimiter: str | None = None) -> list[str]:
    """Return the labels of a row, whatever the kind; `delimiter` separates those of a cell, "[" lists written whole."""
    if label is None or isinstance(label, list):
        return label or []
    if delimiter is None:
        return [label]
    parts = _listed(label) if delimiter == "[" else label.split(delimiter)
    return [part for part in (part.strip() for part in parts) if part]


def _listed(label: str) -> list[str]:
    """Return the items of a list that a program has written as text: ['a', 'b'], ["a"], [a, b], [1 0]."""
    try:
        return [str(item) for item in ast.literal_eval(label)]
    except (ValueError, SyntaxError, TypeError):
        inside = label.strip("[] ")
    quoted = re.findall(r"(['\"])(.*?)\1", inside)
    if quoted:
        return [item for _, item in quoted]
    return inside.split("," if "," in inside else None)


def is_dropped(label: Any, dropped: Sequence[str], delimiter: str | None = None) -> bool:
    """Return True for a label, or a list with one, that --drop_labels names; -1, - and nan mean empty cells as well."""
    left_out = {_whole(name) for name in dropped}
    if label is None:
        return any(map(_says_nothing, left_out))
    whole = [label] if isinstance(label, str) else []
    return bool(left_out) and any(_whole(name) in left_out for name in (*whole, *split_label(label, delimiter)))


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
    if not labels_required and schema.kind == REGRESSION and all(label in (None, "-1") for label in written):
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


def place(origin: str, line: int, idx: int) -> str:
    """Return where a row stands, for messages: its line or row in the file, or its row in a data set of the Hub."""
    return f"{origin}, line {line}" if line > 0 else f"{origin}, row {-line or idx + 1}"


def _as_number(label: Any) -> float | None:
    """Return the finite number that a label is, with a decimal point or comma, or None."""
    try:
        number = float(DECIMAL_COMMA.sub(r"\1.\2", label.replace("\u2212", "-")))
    except (ValueError, AttributeError):
        return None
    return number if math.isfinite(number) and "_" not in label else None


def _are_decimals(labels: Iterable[str]) -> bool:
    numbers = [_as_number(label) for label in labels]
    return all(n is not None for n in numbers) and any(n is not None and n != int(n) for n in numbers)


def _whole(label: str) -> str:
    return WHOLE.sub(r"\1", label)


def _fold(name: str) -> str:
    """Return a name without what nobody sees: case, spaces, Unicode form, invisible characters, the 0 of 1.0."""
    seen = (char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
    return LEADING_ZEROS.sub("", _whole(" ".join("".join(seen).replace("\ufe0f", "").casefold().split())))


def _cell_delimiter(written: Iterable[Any], arguments: DataArguments) -> str | None:
    """Return what separates the labels of a cell: what the user says, or "[" where cells hold lists as text."""
    if arguments.label_delimiter:
        return arguments.label_delimiter
    cells = [label for label in written if isinstance(label, str)]
    bracketed = bool(cells) and all(cell[:1] + cell[-1:] in ("[]", "()", "{}") for cell in cells)
    # "[wet]" is a word; a list has quotes or commas in some row, or is of the 0 and 1 that NumPy writes.
    return "[" if bracketed and any(LIST.fullmatch(cell) for cell in cells) else None


def _kind(written: Sequence[Any], arguments: DataArguments, origin: str) -> str:
    asked = REGRESSION if arguments.do_regression else arguments.problem_type
    lists = [label for label in written if isinstance(label, list)]
    one_each = all(len(label) == 1 for label in lists)
    if (asked == REGRESSION and lists) or (asked == SINGLE and not one_each):
        raise UserError(f"--problem_type {asked}: the labels in {origin} are lists.", "Use multi_label_classification.")
    several = bool(lists or _cell_delimiter(written, arguments))
    if asked == MULTI and written and not several:
        warning(
            f"{origin} has no lists of labels: each row has the one label that is written there, whole; "
            "--label_delimiter says what separates several."
        )
    if asked != "auto":
        return asked
    if lists and one_each:
        info(f"{origin}: every list has one label; --problem_type {SINGLE} makes each a class.")
    if several:
        return MULTI
    if written and not arguments.class_names and not arguments.label_map and _are_decimals(written):
        alone = {label for label in written if "," not in label}
        commas = [label for label in written if "," in label]
        if not alone.isdisjoint(part for label in commas for part in label.split(",")):
            raise UserError(
                f"{origin}: the label {commas[0]!r} may be a number with a decimal comma, or two labels.",
                "--do_regression reads numbers, --label_delimiter , several labels.",
            )
        info("the labels are decimal numbers: this is a regression (--problem_type says otherwise).")
        return REGRESSION
    return SINGLE


def _are_vectors(lists: Sequence[Sequence[str]]) -> bool:
    """Return True for vectors of 0 and 1, one for each class: all of one length."""
    lengths = {len(labels) for labels in lists}
    return len(lengths) == 1 and min(lengths) > 1 and all(i.casefold() in ZERO_ONE for labels in lists for i in labels)


def _vector_schema(schema: LabelSchema, size: int, model_names: Sequence[str], origin: str) -> LabelSchema:
    """Return the schema of vectors of 0 and 1, whose classes are named by the user, the model, or their place."""
    numbered = tuple(map(str, range(size)))
    names = schema.class_names or (tuple(model_names) if len(model_names) == size else numbered)
    if len(names) != size:
        raise UserError(
            f"{origin}: the labels are vectors of {size} times 0 or 1, and {len(names)} classes are named.",
            "Name as many with --class_names, in the order of the vectors.",
        )
    info(f"{origin}: the labels are vectors of 0 and 1, a place for each class (--class_names names them).")
    return replace(schema, class_names=names, vectors=True)


def _declared_schema(
    schema: LabelSchema, model_names: Sequence[str], arguments: DataArguments, origin: str
) -> LabelSchema:
    """Return the schema where no training label is counted: of the declared names, or else of the model's."""
    names = schema.class_names or tuple(model_names)
    if not names:
        raise UserError(
            f"{origin}: no training labels are counted, so nothing says which classes there are.",
            "Name them with --class_names or --label_map, name a model that was fine-tuned for them, or pass "
            "--do_regression.",
        )
    if schema.kind == SINGLE and len(names) == 1:
        raise UserError(
            f"the model has one output, {names[0]!r}, and no classes.", "If it gives scores, pass --do_regression."
        )
    _check_twins(names, origin)
    return replace(schema, class_names=names, names_by_id=names, fixed=not arguments.class_names)


def _class_schema(schema: LabelSchema, counts: Mapping[str, int], arguments: DataArguments, origin: str) -> LabelSchema:
    """Return the schema of the classes that training labels stand for: as declared, else sorted; of numbers 1.0 is 1.

    A label that is not among declared names is refused where it stands, by `assign_labels`.
    """
    classes = {schema.resolve(label) for label in counts}
    are_numbers = all(_as_number(name) is not None for name in classes)
    if are_numbers:
        classes = {_whole(name) for name in classes}
    names = schema.class_names or tuple(
        sorted(classes, key=lambda name: (_as_number(name) if are_numbers else 0, name))
    )
    _check_twins(names, origin)
    if schema.kind == MULTI and _are_decimals(names):
        raise UserError(f"{origin}: the labels are lists of decimal numbers, not of classes.", "Round them to 0 and 1.")
    if schema.kind == SINGLE:
        _refuse_constant(classes, classes, origin)
        _check_classes(names, sum(counts.values()), arguments, origin)
    if not schema.delimiter:
        _warn_of_joined(set(counts), origin)
    return replace(schema, class_names=names)


def _as_in_model(schema: LabelSchema, model_names: Sequence[str]) -> LabelSchema:
    """Return the schema with the names and the order of the model, where its classes are the same, case aside."""
    by_fold = {_fold(name): name for name in model_names}
    rename = {name: by_fold.get(_fold(name), "") for name in schema.class_names}
    if len(rename) != len(model_names) or set(rename.values()) != set(model_names):
        return schema
    label_map = {label: rename[name] for label, name in schema.label_map.items() if name in rename}
    label_map |= {name: new for name, new in rename.items() if name != new}
    by_id = tuple(rename[name] for name in schema.names_by_id) or tuple(model_names)
    return replace(schema, class_names=tuple(model_names), names_by_id=by_id, label_map=label_map)


def _says_nothing(label: str) -> bool:
    """Return True for what stands where there is no label: NULL, n/a, a dash, -1."""
    return label.casefold() in NOTHING or _whole(label) == NO_GOLD


def _check_suspects(train: "Dataset", schema: LabelSchema, counts: Mapping[str, int], origin: str) -> None:
    """Refuse labels that are hardly classes, and warn of those that may be none, unless the user names them."""
    if schema.class_names:  # then others are refused where they stand
        return
    unnamed = [label for label in counts if label not in {*schema.label_map, *schema.label_map.values()}]
    missing, doubtful = _missing(unnamed, counts)
    for label in doubtful:
        left_out = f"--drop_labels {label} leaves them out"
        warning(f"{origin}: {label!r} is a class; if it marks rows without a label, {left_out}.")
    is_single = schema.kind == SINGLE
    lone = _lone(unnamed, counts) if is_single else []
    words = [label for label in unnamed if _as_number(label) is None and label not in missing]
    decimals = [label for label in counts if (_as_number(label) or 0) % 1]
    for suspects, why in (
        (missing, "usually says that a label is missing"),
        (words if is_single and len(decimals) > len(words) else [], "is no number beside decimal numbers"),
        (lone, "stands in one row only beside classes of many, as part of a torn line or a misspelling would"),
    ):
        if suspects:
            _refuse_suspects(train, suspects, schema, counts, origin, why)


def _refuse_suspects(
    train: "Dataset", suspects: Sequence[str], schema: LabelSchema, counts: Mapping[str, int], origin: str, why: str
) -> None:
    row = next(row for row in train if set(suspects) & set(split_label(row["label"], schema.delimiter)))
    rows = sum(counts[label] for label in suspects)
    keep = shlex.join(f"{label}={label}" for label in suspects)
    raise UserError(
        f"{place(origin, row['line'], row['idx'])}: the label {suspects[0]!r} {why} "
        f"({rows} row{'s' * (rows != 1)} with {', '.join(map(repr, suspects))}).",
        f"--drop_labels {shlex.join(suspects)} leaves such rows out; --label_map {keep} makes a class of it.",
    )


def _missing(labels: Sequence[str], counts: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return the labels that say that there is none, and those that may: `none`, and -1 beside 0 and 1."""
    marks = any(not any(char.isalnum() for char in label) for label in counts if label.casefold() not in NOTHING)
    others = {_whole(label) for label in counts} - {NO_GOLD}
    are_words = any(_as_number(other) is None for other in others)
    are_ids = len(others) > 1 and others == {str(index) for index in range(len(others))}
    found = [
        label
        for label in labels
        if (label.casefold() in NOTHING and not (marks and label in "---?"))
        or (_whole(label) == NO_GOLD and (are_words or are_ids))
    ]
    return ([], found) if found == ["none"] or (are_ids and len(others) == 2) else (found, [])


def _lone(labels: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Return the labels of one row each beside classes of many; of fewer rows where these are numbers or shorter."""
    others = {label: rows for label, rows in counts.items() if rows > 1}
    fewest = min(others.values(), default=0)
    lone = [label for label in labels if counts[label] == 1 and _as_number(label) is None]
    if fewest >= MANY_ROWS or not others:
        return lone if others else []
    # A number has no word, so any word is one more.
    words = {label: len(label.split()) if _as_number(label) is None else 0 for label in (*others, *lone)}
    most = max(words[label] for label in others)
    return [label for label in lone if fewest >= ROWS_PER_CLASS and words[label] > most]


def _check_twins(names: Sequence[str], origin: str) -> None:
    """Refuse class names that look the same."""
    first: dict[str, str] = {}
    twins = [(twin, name) for name in names if (twin := first.setdefault(_fold(name), name)) != name]
    if twins:
        twin, name = twins[0]
        are_seen = all(char.isascii() for char in twin + name) or twin.casefold().split() == name.casefold().split()
        how = "case" if twin.casefold() == name.casefold() else "spaces or case"
        how = "zeros before the number" if twin.isdecimal() and name.isdecimal() else how
        how, show = (how, repr) if are_seen else ("Unicode form or invisible characters", ascii)
        raise UserError(
            f"{origin}: the labels {show(twin)} and {show(name)} differ in {how} only.",
            f"Merge them with --label_map {shlex.join(f'{name}={twin}' for twin, name in twins)}.",
        )


def _check_classes(names: Sequence[str], rows: int, arguments: DataArguments, origin: str) -> None:
    """Refuse so many classes that nobody can have meant them, and warn of numbers that look like a scale."""
    decimals, is_asked = _are_decimals(names), arguments.problem_type == SINGLE
    # Even of few labels, most are there more than once.
    too_rare = rows < ROWS_PER_CLASS * len(names) if len(names) > MANY_CLASSES else len(names) > max(SCALE, rows - 1)
    if (too_rare and not is_asked) or (decimals and rows < ROWS_PER_CLASS * len(names)):
        settled = "or pass --problem_type regression" if decimals else f"or, if it is one, pass --problem_type {SINGLE}"
        raise UserError(
            f"{origin}: {len(names)} different {'decimal numbers' if decimals else 'labels'} in {rows} rows; "
            "that is hardly a class column.",
            f"Name the right one with --label_column_name, {settled}.",
        )
    declared = is_asked or arguments.class_names or arguments.label_map
    if len(names) > SCALE and not declared and all(_as_number(name) is not None for name in names):
        warning(
            f"{origin}: the {len(names)} numbers from {names[0]} to {names[-1]} are classes; if they are a scale, "
            "pass --do_regression."
        )


def _warn_of_joined(labels: set[str], origin: str) -> None:
    """Warn of labels that look like several with a delimiter between: their parts are labels too."""
    for delimiter in DELIMITERS:
        joined = {label for label in labels if delimiter in label}
        parts = {part.strip() for label in joined for part in label.split(delimiter)}
        alone = labels - joined
        if joined and (parts <= alone or len(parts | alone) < len(labels)):
            warning(
                f"{origin}: labels with {delimiter!r} look like several and are one class each; --label_delimiter "
                f"{shlex.quote(delimiter)} separates them."
            )


def _warn_of_map(schema: LabelSchema, counts: Mapping[str, int], elsewhere: set[str]) -> None:
    """Name keys of --label_map that no row has, and numbers that it leaves beside names that are words."""
    label_map = schema.label_map
    present, keys = {_whole(label) for label in {*counts, *elsewhere}}, {_whole(key) for key in label_map}
    unused = [key for key in label_map if _whole(key) not in present]
    if unused:
        warning(f"--label_map: no training row has the label {' or '.join(map(repr, unused))}.")
    named = {*keys, *label_map.values()}
    left = [label for label in counts if _as_number(label) is not None and not {label, _whole(label)} & named]
    if left and not schema.class_names and any(_as_number(name) is None for name in label_map.values()):
        warning(
            f"--label_map leaves {', '.join(map(repr, left[:SHOWN]))} as classes of their own; "
            f"--drop_labels {shlex.join(left[:SHOWN])} leaves such rows out."
        )
