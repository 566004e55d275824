"""Labels that are hardly classes: refused, or warned of, unless the user names them."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import DataArguments
from bertlab.console import warning
from bertlab.data.label_text import NO_GOLD, NOTHING, are_decimals, as_number, as_whole, fold, split_label
from bertlab.data.labels import SHOWN, SINGLE, LabelSchema, place
from bertlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

# Beyond this many classes with fewer than this many rows each, the column is taken for something else.
MANY_CLASSES, ROWS_PER_CLASS = 200, 3
# Beside classes of this many rows a class of a single row is probably a mistake.
MANY_ROWS = 5
# More whole numbers than this, without names, look like a scale.
SCALE = 10
DELIMITERS = ",;|/#"


def refuse_constant(values: Collection[Any], written: Iterable[Any], origin: str) -> None:
    """Refuse labels that all have one value."""
    if len(values) < 2:
        raise UserError(
            f"{origin}: every row has the label {next(iter(written))!r}; there is nothing to learn.",
            "Check the label column.",
        )


def check_suspects(train: "Dataset", schema: LabelSchema, counts: Mapping[str, int], origin: str) -> None:
    """Refuse labels that are hardly classes, warn of those that may mark missing ones, unless the user names them."""
    if schema.class_names:  # then others are refused where they stand
        return
    unnamed = [label for label in counts if label not in {*schema.label_map, *schema.label_map.values()}]
    missing, doubtful = _missing(unnamed, counts)
    for label in doubtful:
        left_out = f"--drop_labels {label} leaves them out"
        warning(f"{origin}: {label!r} is a class; if it marks rows without a label, {left_out}.")
    is_single = schema.kind == SINGLE
    lone = _lone(unnamed, counts) if is_single else []
    words = [label for label in unnamed if as_number(label) is None and label not in missing]
    decimals = [label for label in counts if (as_number(label) or 0) % 1]
    for suspects, why in (
        (missing, "usually says that a label is missing"),
        (words if is_single and len(decimals) > len(words) else [], "is no number beside decimal numbers"),
        (lone, "occurs in one row only, while other classes have many, as in a broken line or a misspelling"),
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
    others = {as_whole(label) for label in counts} - {NO_GOLD}
    are_words = any(as_number(other) is None for other in others)
    are_ids = len(others) > 1 and others == {str(index) for index in range(len(others))}
    found = [
        label
        for label in labels
        if (label.casefold() in NOTHING and not (marks and label in "---?"))
        or (as_whole(label) == NO_GOLD and (are_words or are_ids))
    ]
    return ([], found) if found == ["none"] or (are_ids and len(others) == 2) else (found, [])


def _lone(labels: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Return the labels of one row each beside classes of many; of fewer rows where these are numbers or shorter."""
    others = {label: rows for label, rows in counts.items() if rows > 1}
    fewest = min(others.values(), default=0)
    are_words = all(as_number(label) is None for label in others)
    lone = [label for label in labels if counts[label] == 1 and (are_words or as_number(label) is None)]
    if fewest >= MANY_ROWS or not others:
        return lone if others else []
    # A number has no word, so any word is one more.
    words = {label: len(label.split()) if as_number(label) is None else 0 for label in (*others, *lone)}
    most = max(words[label] for label in others)
    return [label for label in lone if fewest >= ROWS_PER_CLASS and words[label] > most]


def check_twins(names: Sequence[str], origin: str) -> None:
    """Refuse class names that look the same."""
    first: dict[str, str] = {}
    twins = [(twin, name) for name in names if (twin := first.setdefault(fold(name), name)) != name]
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


def check_classes(names: Sequence[str], rows: int, arguments: DataArguments, origin: str) -> None:
    """Refuse so many classes that nobody can have meant them, and warn of numbers that look like a scale."""
    decimals, is_asked = are_decimals(names), arguments.problem_type == SINGLE
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
    if len(names) > SCALE and not declared and all(as_number(name) is not None for name in names):
        warning(
            f"{origin}: the {len(names)} numbers from {names[0]} to {names[-1]} are classes; if they are a scale, "
            "pass --do_regression."
        )


def warn_of_joined(labels: set[str], origin: str) -> None:
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


def warn_of_map(schema: LabelSchema, counts: Mapping[str, int], elsewhere: set[str]) -> None:
    """Name keys of --label_map that no row has, and numbers that it leaves beside names that are words."""
    label_map = schema.label_map
    present, keys = {as_whole(label) for label in {*counts, *elsewhere}}, {as_whole(key) for key in label_map}
    unused = [key for key in label_map if as_whole(key) not in present]
    if unused:
        warning(f"--label_map: no training row has the label {' or '.join(map(repr, unused))}.")
    named = {*keys, *label_map.values()}
    left = [label for label in counts if as_number(label) is not None and not {label, as_whole(label)} & named]
    if left and not schema.class_names and any(as_number(name) is None for name in label_map.values()):
        warning(
            f"--label_map leaves {', '.join(map(repr, left[:SHOWN]))} as classes of their own; "
            f"--drop_labels {shlex.join(left[:SHOWN])} leaves such rows out."
        )
