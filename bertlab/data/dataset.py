"""From arguments to checked splits with one label schema.

`sources` reads raw splits. Here they get their roles, rows without text or label are refused or left out, `labels`
decides what a label can be and assigns ids, parts are held out of the training split, and limits are applied.
"""

import itertools
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.cli.arguments import DataArguments
from bertlab.console import info, say, warning
from bertlab.data import file_layouts, groups, label_inference, labels, sources, splits
from bertlab.data.columns import PAIR_COLUMNS, TEXT_COLUMNS
from bertlab.data.data_file import HEAD_ROWS
from bertlab.data.label_text import is_dropped
from bertlab.data.labels import LabelSchema
from bertlab.data.streaming import Stream
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainingArguments

SELECTION = "selection"
# What the origin of a split ends with that was held out of the training split.
HELD_OUT = " (held out)"
# More columns than this that are not read are counted.
UNREAD_SHOWN = 5
TextReader = Callable[[Mapping[str, list[Any]]], list[list[str]]]


def text_columns(rows: Mapping[str, list[Any]]) -> list[list[str]]:
    """Return the texts of a batch of rows, or its first and second segments."""
    return [rows[name] for name in ("text", "text_pair") if name in rows]


@dataclass(frozen=True)
class Data:
    """The splits of a run and their roles.

    Every split has `idx`, perhaps `source` and `group`, `labels` where they are known, and whatever `read` makes texts
    from: by default `text` and, in pair tasks, `text_pair`. `train` and `selection` name splits or are None;
    `validation` and `test` are evaluation splits. `stream` gives the training rows where they are not a split.
    `mlm_metrics` are those of masked language modeling, beside `metrics`. With `text_is_group` rows that share a text
    are a group.
    """

    splits: dict[str, "Dataset"]
    train: str | None
    selection: str | None
    validation: tuple[str, ...]
    test: tuple[str, ...]
    schema: LabelSchema
    metrics: tuple[str, ...]
    origin: dict[str, str]
    dropped: dict[str, int]
    read: TextReader = text_columns
    stream: Stream | None = None
    mlm_metrics: tuple[str, ...] = ()
    text_is_group: bool = False

    @property
    def eval_split(self) -> str | None:
        """The split that is evaluated during training: the selection split, or the first validation split."""
        return self.selection or next(iter(self.validation), None)

    def texts(self, name: str) -> list[list[str]]:
        """Return all texts of a split, as [texts] or [first segments, second segments]."""
        return self.read(self.splits[name][:])

    @property
    def selection_splits(self) -> tuple[str, ...]:
        """The selection split, if there is one: temperature and thresholds are fitted on it."""
        return (self.selection,) if self.selection else ()

    def reported_splits(self, args: "TrainingArguments") -> tuple[str, ...]:
        """Return the evaluation splits that --do_eval and --do_predict ask for."""
        return (self.validation if args.do_eval else ()) + (self.test if args.do_predict else ())

    @property
    def evaluation_splits(self) -> tuple[str, ...]:
        """The splits that predictions are made for, in order."""
        return (*self.validation, *self.test)


def load_splits(
    arguments: DataArguments, model_names: Sequence[str], *, training: bool, cache_dir: str | None, token: str | None
) -> Data:
    """Return the checked splits of a run, and with --streaming the stream of its training rows.

    `model_names` are the class names of an already fine-tuned model, in its order, or nothing.

    Raises:
        UserError: the source, a column, a text, a label or a split is not as it must be.
    """
    raw = sources.read_source(arguments, cache_dir, token, streaming=arguments.streaming and training)
    return prepare_splits(raw, arguments, model_names, training=training)


def prepare_splits(
    raw: sources.RawData, arguments: DataArguments, model_names: Sequence[str], *, training: bool
) -> Data:
    """Return the splits of raw data checked, labelled, held out and limited, as `load_splits` does.

    Raises:
        UserError: a column, a text, a label or a split is not as it must be.
    """
    sizes = [f"{len(split):,} rows in {Path(raw.origin[name]).name} ({name})" for name, split in raw.splits.items()]
    if sizes:
        say(", ".join(sizes))
    train, validation, test = _roles(raw, arguments, training)
    may_lack_labels = set(test) - {train}

    rows = {
        name: _complete_rows(raw.splits[name], raw.place(name), name not in may_lack_labels, arguments)
        for name in dict.fromkeys([*filter(None, [train]), *validation, *test])
    }
    written = _written_labels(raw.splits)
    if raw.train_rows is None:
        _check_dropped(arguments.drop_labels, written, arguments.label_delimiter)
    else:  # of a stream, the first rows say how labels are written
        written = [*written, *(row.get("label") for row in itertools.islice(raw.train_rows(), HEAD_ROWS))]
    schema = _label_schema(rows.get(train or ""), raw, arguments, model_names, written)
    _say_what_is_read(raw, schema, arguments, written)
    dropped = {name: len(raw.splits[name]) - len(split) for name, split in rows.items()}
    data = Data(
        splits={
            name: labels.assign_labels(split, schema, raw.place(name), name not in may_lack_labels)
            for name, split in rows.items()
        },
        train=train,
        selection=None,
        validation=validation,
        test=test,
        schema=schema,
        metrics=tuple(dict.fromkeys(arguments.metric_name)) or schema.default_metrics(),
        origin=dict(raw.origin),
        dropped={name: count for name, count in dropped.items() if count},
        stream=_stream(raw, schema, arguments),
        text_is_group=arguments.keep_duplicates_together,
    )
    return _limit(_hold_out(data, arguments), arguments)


def _written_labels(splits: Mapping[str, "Dataset"]) -> list[Any]:
    """Return every label as written, each once."""
    present = (split["label"][:] for split in splits.values() if "label" in split.column_names)
    distinct = {json.dumps(label) for written in present for label in written}
    return [json.loads(label) for label in sorted(distinct)]


def _check_dropped(dropped: Sequence[str], written: Sequence[Any], delimiter: str | None) -> None:
    """Warn of a label of --drop_labels that no row has."""
    absent = [name for name in dropped if not any(is_dropped(label, [name], delimiter) for label in written)]
    if absent and written:
        warning(f"--drop_labels: no row has the label {' or '.join(map(repr, absent))}.")


def _say_what_is_read(
    raw: sources.RawData, schema: LabelSchema, arguments: DataArguments, written: Sequence[Any]
) -> None:
    """Say in one line which columns are text and label, and which class each id is."""
    columns = raw.columns
    usual = {*TEXT_COLUMNS, *(name for pair in PAIR_COLUMNS for name in pair)}
    is_usual = {name.casefold() for name in columns.text} <= usual
    is_guess = not (arguments.text_column_names or arguments.data_layout or is_usual)
    how = " (the only one left; --text_column_names names another)" if is_guess else ""
    message = f"text {_listed(columns.text)}{how}"
    if columns.unread and not arguments.text_column_names:
        more = f" and {len(columns.unread) - UNREAD_SHOWN} more" if len(columns.unread) > UNREAD_SHOWN else ""
        message += (
            f"; not read: {', '.join(columns.unread[:UNREAD_SHOWN])}{more} (--text_column_names names all to read)"
        )
    if columns.label:
        message += f"; label {_listed(columns.indicators or (columns.label,))}; {schema.describe(written)}"
    info(message)


def _listed(columns: Sequence[str]) -> str:
    return f"column{'s' * (len(columns) > 1)}: {', '.join(columns)}"


def _label_schema(
    train: "Dataset | None",
    raw: sources.RawData,
    arguments: DataArguments,
    model_names: Sequence[str],
    written: Sequence[Any],
) -> LabelSchema:
    """Return what labels can be; those of a stream are not counted, so --label_map names its classes as well."""
    declared = raw.columns.indicators or raw.class_names
    if raw.train_rows is not None and not (arguments.class_names or declared):
        arguments = replace(arguments, class_names=list(dict.fromkeys(arguments.label_map.values())))
    named = arguments.train_split_name
    origin = raw.place(named if named in raw.origin else next(iter(raw.origin)))
    if raw.columns.label is None and (train is not None or raw.train_rows is not None):
        others = f" {' or '.join(map(shlex.quote, raw.columns.unread))}" if raw.columns.unread else ""
        raise UserError(f"{origin} has no labels to train on.", f"Name the column with --label_column_name{others}.")
    schema = label_inference.infer_labels(train, arguments, declared, model_names, origin, written)
    if train is None and raw.train_rows is None:
        label_inference.check_head(schema, model_names)
    return schema


def _stream(raw: sources.RawData, schema: LabelSchema, arguments: DataArguments) -> Stream | None:
    if raw.train_rows is None:
        return None
    origin = raw.origin[arguments.train_split_name]
    say(f"training rows are read from {origin} as they are needed")
    if arguments.on_missing == "drop":
        info("rows of the stream without text or label are left out and not counted.")
    return Stream(raw.train_rows, origin, raw.place(arguments.train_split_name), schema, arguments)


def _roles(
    raw: sources.RawData, arguments: DataArguments, training: bool
) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Return the names of the training, validation and test splits that the source has."""
    train = arguments.train_split_name if arguments.train_split_name in raw.splits else None
    if training and train is None and raw.train_rows is None:
        raise UserError(
            f"there is no training split {arguments.train_split_name!r}, only {', '.join(raw.splits)}.",
            "Name it with --train_split_name or --train_file; to evaluate a trained model pass --do_eval.",
        )
    validation = _named_or_usual(raw.splits, arguments.validation_split_name, "validation", arguments)
    test = _named_or_usual(raw.splits, arguments.test_split_name, "test", arguments)
    if not arguments.test_split_name and set(validation) & set(test):
        info(f"the split {' '.join(name for name in test if name in validation)} is for validation, so not for test.")
        test = tuple(name for name in test if name not in validation)
    both = sorted(set(validation) & set(test))
    if both:
        raise UserError(
            f"the split {both[0]!r} is named for validation and for test.",
            "Leave it out of --validation_split_name or of --test_split_name.",
        )
    for role, names in (("validation", validation), ("test", test)):
        if train in names:
            warning(f"the split {train!r} is also named for {role}: such scores say nothing of new text.")
    for name in _held_out_names(arguments):
        if name in (train, *validation, *test):
            raise UserError(
                f"--{name}_fraction: the data already has a split {name!r}.",
                f"Leave the flag out, or leave the split out with --remove_splits {name}.",
            )
    if not (train or raw.train_rows or validation or test):
        raise UserError(
            "there is no split to work on.", f"Name one with --validation_split_name: {', '.join(raw.splits)}."
        )
    return train, validation, test


def _held_out_names(arguments: DataArguments) -> list[str]:
    """Return the names of the splits that are to be held out of the training split."""
    return [name for name in ("test", "validation", SELECTION) if getattr(arguments, f"{name}_fraction")]


def _named_or_usual(
    present: Mapping[str, "Dataset"], named: Sequence[str], usual: str, arguments: DataArguments
) -> tuple[str, ...]:
    # A task names its splits, and of their files only some may be there.
    of_layout = file_layouts.find_layout(arguments.data_layout).files if arguments.data_layout else ()
    absent = [name for name in named if name not in present and name in of_layout]
    if absent:
        info(f"--data_dir has no file of the split {' or '.join(absent)}.")
    for name in named:
        if name not in (*present, *absent, *_held_out_names(arguments)):
            raise UserError(f"--{usual}_split_name: there is no split {name!r}.", did_you_mean(name, present))
    if named:
        return tuple(dict.fromkeys(name for name in named if name in present))
    return tuple(name for name in present if name == usual or name.startswith(f"{usual}_"))


def _complete_rows(split: "Dataset", origin: str, label_required: bool, arguments: DataArguments) -> "Dataset":
    """Return the rows that have every text, and a label where one is required; or refuse the first that has not.

    Rows with a label of --drop_labels are left out first, except in a test split.
    """
    if label_required and arguments.drop_labels and "label" in split.column_names:
        split = _without_dropped(split, origin, arguments)
    complete = np.ones(len(split), dtype=bool)
    for name in ("text", "text_pair", *(["label"] if label_required else [])):
        if name not in split.column_names:
            continue
        present = split.with_format("arrow")[:][name].is_valid().to_numpy(zero_copy_only=False)
        what, flag = ("label", "label_column_name") if name == "label" else ("text", "text_column_names")
        if not present.any():
            malformed = "; --on_missing error says if rows are malformed" if arguments.on_missing == "drop" else ""
            raise UserError(
                f"{origin}: no row has a {what}.", f"Name the column that holds it with --{flag}{malformed}."
            )
        if not present.all() and arguments.on_missing == "error":
            first = split[int(np.flatnonzero(~present)[0])]
            count = int((~present).sum())
            raise UserError(
                f"{sources.row_place(origin, first)}: the {what} is missing ({count} such row{'s' * (count != 1)}).",
                "Pass --on_missing drop to leave such rows out."
                + (" A test split may have them." if what == "label" else ""),
            )
        complete &= present
    if complete.all():
        return split
    if not complete.any():
        raise UserError(
            f"{origin}: no row has both text and label.",
            "Check the column names; --on_missing error says what the first row lacks.",
        )
    left_out = f"{int((~complete).sum())} of {len(split)} rows are left out"
    info(f"{origin}: {left_out}, which lack text or label, or have too few or too many fields.")
    return split.select(np.flatnonzero(complete))


def _without_dropped(split: "Dataset", origin: str, arguments: DataArguments) -> "Dataset":
    """Return the rows whose label --drop_labels does not name; refuse to leave out all of them."""
    dropped, delimiter = arguments.drop_labels, arguments.label_delimiter
    kept = [i for i, label in enumerate(split["label"][:]) if not is_dropped(label, dropped, delimiter)]
    if len(kept) == len(split):
        return split
    what = f"{len(split) - len(kept)} of {len(split)} rows have a label of --drop_labels"
    if not kept:
        raise UserError(f"{origin}: {what}, so none is left.", "Name fewer labels.")
    info(f"{origin}: {what} and are left out.")
    return split.select(kept)


def _hold_out(data: Data, arguments: DataArguments) -> Data:
    """Hold test, validation and selection splits out of the training split, as asked."""
    fractions = {name: getattr(arguments, f"{name}_fraction") for name in _held_out_names(arguments)}
    if data.train is None or not fractions:
        return data
    train = data.splits[data.train]
    together = groups.row_groups(train, by_text=data.text_is_group)
    rows = splits.hold_out(
        range(len(train)) if together is None else together,
        _strata(train, data.schema, arguments),
        fractions,
        shuffle=arguments.split_shuffle,
        seed=arguments.split_seed,
    )
    parts = {name: train.select(indices) for name, indices in rows.items()}
    left = {data.train: parts.pop("train")}
    return replace(
        data,
        splits={**data.splits, **left, **parts},
        selection=SELECTION if SELECTION in parts else None,
        validation=_with("validation", parts, arguments.validation_split_name, data.validation),
        test=_with("test", parts, arguments.test_split_name, data.test),
        origin={**data.origin, **dict.fromkeys(parts, f"{data.origin[data.train]}{HELD_OUT}")},
    )


def _strata(train: "Dataset", schema: LabelSchema, arguments: DataArguments) -> list[Any] | None:
    """Return the class ids, or labels as 0 and 1, whose balance every part keeps, or None."""
    return train["labels"][:] if arguments.stratify and schema.kind != labels.REGRESSION else None


def _with(name: str, held_out: Iterable[str], order: Sequence[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Add a split that was held out to those of its role, in the order the user named them."""
    joined = (name, *names) if name in held_out else names
    return tuple(sorted(joined, key=order.index)) if set(joined) <= set(order) else joined


def _limit(data: Data, arguments: DataArguments) -> Data:
    """Apply --max_train_samples, --max_eval_samples and --max_predict_samples.

    The first rows are taken, as Hugging Face's scripts do; of a split that was held out, random ones: its rows are in
    the order of the file, and the first of them may be of one class.
    """
    limited, held_out = dict(data.splits), _held_out_names(arguments)
    if data.train and arguments.shuffle_train_dataset:
        train = limited[data.train]
        classes = _strata(train, data.schema, arguments)
        limited[data.train] = train.select(splits.nested_order(len(train), classes, arguments.shuffle_seed))
    limits = {
        **dict.fromkeys(data.test, arguments.max_predict_samples),
        **dict.fromkeys([*data.validation, *filter(None, [data.selection])], arguments.max_eval_samples),
        **dict.fromkeys(filter(None, [data.train]), arguments.max_train_samples),
    }
    for name, most in limits.items():
        if most is not None and most < len(limited[name]):
            rows: Sequence[int] = range(most)
            if name in held_out:
                drawn = np.random.default_rng(arguments.split_seed).permutation(len(limited[name]))[:most]
                rows = np.sort(drawn).tolist()
            limited[name] = limited[name].select(rows)
    if data.train and arguments.max_train_samples and data.schema.kind == labels.SINGLE:
        lost = set(data.splits[data.train]["labels"][:]) - set(limited[data.train]["labels"][:])
        if lost:
            names = ", ".join(repr(data.schema.class_names[index]) for index in sorted(lost)[:3])
            warning(
                f"--max_train_samples {arguments.max_train_samples}: the first rows have none of {names}; "
                "--shuffle_train_dataset takes random ones."
            )
    return replace(data, splits=limited)
