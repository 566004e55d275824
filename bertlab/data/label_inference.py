"""What the labels of a run can be, decided from all training labels and what user, data set and model declare."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import DataArguments
from bertlab.console import info, warning
from bertlab.data import label_checks
from bertlab.data.label_text import (
    DECIMAL_COMMA,
    LIST,
    THOUSANDS,
    ZERO_ONE,
    are_decimals,
    as_number,
    as_whole,
    fold,
    split_label,
)
from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema, is_generic
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset


def infer_labels(
    train: "Dataset | None",
    arguments: DataArguments,
    declared: Sequence[str],
    model_names: Sequence[str],
    origin: str,
    elsewhere: Sequence[Any] = (),
) -> LabelSchema:
    """Return what the labels of a run can be.

    `declared` are class names that the data set itself brings, renamed as --label_map says; `model_names` those of an
    already fine-tuned model, whose order wins when they are the same names, case aside. Without training rows, and if
    nothing is declared, the model's names are the classes. `elsewhere` are the labels of the other splits, and the
    first ones of a stream.

    Raises:
        UserError: the training labels are missing, are one class only, or cannot be classes; or there are neither
            training labels nor names.
    """
    if train is None:
        # Lists elsewhere, also as text, say whether there are several labels, and how written.
        seen = [label for label in elsewhere if isinstance(label, list)]
        if not seen and _are_lists(elsewhere):
            seen = [label for label in elsewhere if label is not None]
    else:
        seen = [label for label in train["label"][:] if label is not None] if "label" in train.column_names else []
        if not seen:
            raise UserError(f"{origin} has no labels to train on.", "Name the column with --label_column_name.")
    kind = _kind(seen, arguments, origin, elsewhere)
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
        label_checks.check_suspects(train, schema, counts, origin)
        others = {name for label in elsewhere for name in split_label(label, delimiter)}
        label_checks.warn_of_map(schema, counts, others)
        schema = _as_in_model(_class_schema(schema, counts, arguments, origin), model_names)
    return _with_positive(schema, arguments.positive_label)


def check_head(schema: LabelSchema, model_names: Sequence[str]) -> None:
    """Raise UserError for class names that would rename the outputs of a head that is not trained."""
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


def _kind(written: Sequence[Any], arguments: DataArguments, origin: str, elsewhere: Sequence[Any]) -> str:
    asked = REGRESSION if arguments.do_regression else arguments.problem_type
    lists = [label for label in written if isinstance(label, list)]
    one_each = all(len(label) == 1 for label in lists)
    if (asked == REGRESSION and lists) or (asked == SINGLE and not one_each):
        raise UserError(f"--problem_type {asked}: the labels in {origin} are lists.", "Use multi_label_classification.")
    several = bool(lists or _cell_delimiter(written, arguments))
    delimiter = arguments.label_delimiter
    if delimiter and written and not lists and not any(delimiter in str(label) for label in written):
        warning(f"{origin}: no label has the --label_delimiter {delimiter!r}, so each row has one label.")
    if asked == MULTI and written and not several:
        warning(
            f"{origin} has no lists of labels: each row has the one label that is written there, whole; "
            "--label_delimiter says what separates several."
        )
    if asked == REGRESSION:
        _refuse_thousands((*written, *elsewhere), origin)
    if asked != "auto":
        return asked
    if lists and one_each:
        info(f"{origin}: every list has one label; --problem_type {SINGLE} makes each a class.")
    if several:
        return MULTI
    if not written or arguments.class_names or arguments.label_map or not are_decimals(written):
        return SINGLE
    _refuse_thousands((*written, *elsewhere), origin, "; --label_delimiter , reads several labels")
    _refuse_two_labels(written, origin)
    info("the labels are decimal numbers: this is a regression (--problem_type says otherwise).")
    return REGRESSION


def _refuse_two_labels(written: Sequence[str], origin: str) -> None:
    """Refuse numbers with a comma whose parts are labels of other rows."""
    alone = {label for label in written if "," not in label}
    commas = [label for label in written if "," in label]
    if not alone.isdisjoint(part for label in commas for part in label.split(",")):
        raise UserError(
            f"{origin}: the label {commas[0]!r} may be a number with a decimal comma, or two labels.",
            "--do_regression reads numbers, --label_delimiter , several labels.",
        )


def _refuse_thousands(labels: Iterable[Any], origin: str, or_lists: str = "") -> None:
    """Refuse numbers with a comma of which none shows that it marks decimals."""
    commas = [label for label in labels if isinstance(label, str) and "," in label]
    if commas and all(THOUSANDS.fullmatch(label) for label in commas):
        raise UserError(
            f"{origin}: the comma in the label {commas[0]!r} may separate thousands.",
            f"Write numbers with a decimal point and without thousands separators{or_lists}.",
        )


def _cell_delimiter(written: Iterable[Any], arguments: DataArguments) -> str | None:
    """Return what separates the labels of a cell: what the user says, or "[" where cells hold lists as text."""
    return arguments.label_delimiter or ("[" if _are_lists(written) else None)


def _are_lists(written: Iterable[Any]) -> bool:
    """Return True for cells that hold lists as text."""
    cells = [label for label in written if isinstance(label, str)]
    bracketed = bool(cells) and all(cell[:1] + cell[-1:] in ("[]", "()", "{}") or cell == "set()" for cell in cells)
    # "[wet]" is a word; a list has quotes or commas in some row, or is of the 0 and 1 that NumPy writes.
    return bracketed and any(LIST.fullmatch(cell) for cell in cells)


def _regression(schema: LabelSchema, written: Sequence[Any], origin: str) -> LabelSchema:
    numbers = {as_number(label) for label in written}
    if written and None not in numbers:
        label_checks.refuse_constant(numbers, written, origin)
    if any(DECIMAL_COMMA.match(label) for label in written):
        info(f"{origin}: 3,5 is read as the number 3.5; --label_delimiter , reads two labels.")
    return replace(schema, class_names=(), names_by_id=())


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
    label_checks.check_twins(names, origin)
    return replace(schema, class_names=names, names_by_id=names, fixed=not arguments.class_names)


def _class_schema(schema: LabelSchema, counts: Mapping[str, int], arguments: DataArguments, origin: str) -> LabelSchema:
    """Return the schema of the classes that training labels stand for: as declared, else sorted; of numbers 1.0 is 1.

    A label that is not among declared names is refused where it stands, by `assign_labels`.
    """
    classes = {schema.resolve(label) for label in counts}
    are_numbers = all(as_number(name) is not None for name in classes)
    if are_numbers:
        classes = {as_whole(name) for name in classes}
    names = schema.class_names or tuple(sorted(classes, key=lambda name: (as_number(name) if are_numbers else 0, name)))
    label_checks.check_twins(names, origin)
    if schema.kind == MULTI and are_decimals(names):
        raise UserError(f"{origin}: the labels are lists of decimal numbers, not of classes.", "Round them to 0 and 1.")
    if schema.kind == SINGLE:
        label_checks.refuse_constant(classes, classes, origin)
        label_checks.check_classes(names, sum(counts.values()), arguments, origin)
    if not schema.delimiter:
        label_checks.warn_of_joined(set(counts), origin)
    return replace(schema, class_names=names)


def _as_in_model(schema: LabelSchema, model_names: Sequence[str]) -> LabelSchema:
    """Return the schema with the names and the order of the model, where its classes are the same, case aside."""
    by_fold = {fold(name): name for name in model_names}
    rename = {name: by_fold.get(fold(name), "") for name in schema.class_names}
    if len(rename) != len(model_names) or set(rename.values()) != set(model_names):
        return schema
    label_map = {label: rename[name] for label, name in schema.label_map.items() if name in rename}
    label_map |= {name: new for name, new in rename.items() if name != new}
    by_id = tuple(rename[name] for name in schema.names_by_id) or tuple(model_names)
    return replace(schema, class_names=tuple(model_names), names_by_id=by_id, label_map=label_map)


def _with_positive(schema: LabelSchema, positive: str | None) -> LabelSchema:
    if positive is None:
        return schema
    name = schema.resolve(positive)
    if schema.positive_class is None or name not in schema.class_names:
        of_two = "" if schema.positive_class is not None else " and there must be two"
        near = did_you_mean(positive, schema.class_names)
        raise UserError(f"--positive_label {positive}: no such class{of_two}.", near)
    return replace(schema, positive_label=name)
