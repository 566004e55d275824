"""From arguments to checked splits with one label space: read, check, label, cut, limit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.cli.arguments import DataArguments
from bertlab.console import info, say, warning
from bertlab.data import labels, sources, splits
from bertlab.data.labels import LabelSchema
from bertlab.data.stream import Stream
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainingArguments


SELECTION = "selection"


TextReader = Callable[[Mapping[str, list[Any]]], list[list[str]]]


def text_columns(rows: Mapping[str, list[Any]]) -> list[list[str]]:
    """Return the texts of a batch of rows, or its first and second segments."""
    return [rows[name] for name in ("text", "text_pair") if name in rows]


@dataclass(frozen=True)
class Data:
    """The splits of a run and their roles.

    Every split has `idx`, perhaps `source`, `labels` where they are known, and whatever `read` makes texts from: by
    default `text` and, in pair tasks, `text_pair`. `train` and `selection` name splits or are None; `validation` and
    `test` are reported on. `stream` gives the training rows where they are not a split. `mlm_metrics` are measured
    of masked words, beside `metrics`.
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

    @property
    def eval_split(self) -> str | None:
        """The split that is evaluated while training goes on: the selection split, or the first reported one."""
        return self.selection or next(iter(self.validation), None)

    def texts(self, name: str) -> list[list[str]]:
        """Return all texts of a split, as [texts] or [first segments, second segments]."""
        return self.read(self.splits[name][:])

    @property
    def selection_splits(self) -> tuple[str, ...]:
        """The selection split, if there is one: temperature and thresholds are fitted on it."""
        return (self.selection,) if self.selection else ()

    def reported_splits(self, args: "TrainingArguments") -> tuple[str, ...]:
        """Return the splits to report on, as --do_eval and --do_predict say."""
        return (self.validation if args.do_eval else ()) + (self.test if args.do_predict else ())

    @property
    def evaluation_splits(self) -> tuple[str, ...]:
        """The splits that predictions are made for, in order."""
        return (*self.validation, *self.test)


def load(
    arguments: DataArguments, model_names: Sequence[str], *, training: bool, cache_dir: str | None, token: str | None
) -> Data:
    """Return the checked splits of a run.

    `model_names` are the class names of an already fine-tuned model, in its order, or nothing.

    Raises:
        UserError: the source, a column, a text, a label or a split is not as it must be.
    """
    return arrange(sources.read(arguments, cache_dir, token), arguments, model_names, training=training)


def arrange(raw: sources.RawData, arguments: DataArguments, model_names: Sequence[str], *, training: bool) -> Data:
    """Return the splits of raw data checked, labelled, cut and limited, as `load` does.

    Raises:
        UserError: a column, a text, a label or a split is not as it must be.
    """
    counts = (f"{len(split):,} rows in {Path(raw.origin[name]).name} ({name})" for name, split in raw.splits.items())
    say(", ".join(counts))
    train, validation, test = _roles(raw, arguments, training)
    needed = list(dict.fromkeys(name for name in (train, *validation, *test) if name))
    unlabelled = set(test) - {train}  # where a label may be missing
    origin = dict(raw.origin)

    def complete(name: str, schema: LabelSchema | None) -> "Dataset":
        return _complete(raw.splits[name], origin[name], name not in unlabelled, arguments.on_missing, schema)

    rows_of_train = complete(train, labels.declared(arguments, raw.class_names)) if train else None
    schema = labels.infer_labels(rows_of_train, arguments, raw.class_names, model_names, origin[train or needed[0]])
    found, dropped = {}, {}
    for name in needed:
        rows = rows_of_train if rows_of_train is not None and name == train else complete(name, schema)
        dropped[name] = len(raw.splits[name]) - len(rows)
        found[name] = labels.assign(rows, schema, origin[name], labels_required=name not in unlabelled)
    metrics = tuple(dict.fromkeys(arguments.metric_name)) or schema.default_metrics()
    data = Data(
        splits=found,
        train=train,
        selection=None,
        validation=validation,
        test=test,
        schema=schema,
        metrics=metrics,
        origin=origin,
        dropped={name: count for name, count in dropped.items() if count},
    )
    return _limit(_cut(data, arguments), arguments)


def _roles(
    raw: sources.RawData, arguments: DataArguments, training: bool
) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Return the names of the training, validation and test splits that the source has."""
    train = arguments.train_split_name if arguments.train_split_name in raw.splits else None
    if training and train is None:
        raise UserError(
            f"there is no training split {arguments.train_split_name!r}, only {', '.join(raw.splits)}.",
            "Name it with --train_split_name or --train_file; to evaluate a trained model pass --do_eval.",
        )
    validation = _named_or_usual(raw.splits, arguments.validation_split_name, "validation", arguments)
    test = _named_or_usual(raw.splits, arguments.test_split_name, "test", arguments)
    both = sorted(set(validation) & set(test))
    if both:
        raise UserError(
            f"the split {both[0]!r} is named for validation and for test.",
            "Leave it out of --validation_split_name or of --test_split_name.",
        )
    for role, names in (("validation", validation), ("test", test)):
        if train in names:
            warning(f"the split {train!r} is also named for {role}: such scores say nothing of new text.")
    for name in _to_cut(arguments):
        if name in (train, *validation, *test):
            raise UserError(
                f"--{name}_fraction: the data already has a split {name!r}.",
                f"Leave the flag out, or leave the split out with --remove_splits {name}.",
            )
    if train is None and not validation and not test:
        raise UserError("there is no split to work on.", f"The data has {', '.join(raw.splits)}.")
    return train, validation, test


def _to_cut(arguments: DataArguments) -> list[str]:
    """Return the names of the splits that are to be cut off the training split."""
    return [name for name in ("test", "validation", SELECTION) if getattr(arguments, f"{name}_fraction")]


def _named_or_usual(
    found: dict[str, "Dataset"], named: Sequence[str], usual: str, arguments: DataArguments
) -> tuple[str, ...]:
    will_be_cut = _to_cut(arguments)
    for name in named:
        if name not in found and name not in will_be_cut:
            raise UserError(f"--{usual}_split_name: there is no split {name!r}.", did_you_mean(name, found))
    if named:
        return tuple(dict.fromkeys(name for name in named if name in found))
    return tuple(name for name in found if name == usual or name.startswith(f"{usual}_"))


def _complete(split: "Dataset", origin: str, labelled: bool, on_missing: str, schema: LabelSchema | None) -> "Dataset":
    """Return the rows that have every text, and a label where one is needed; or refuse the first that has not.

    Where the label `space` is known, -1 is no label unless a class has that name.
    """
    columns = [name for name in ("text", "text_pair", "label") if name in split.column_names]
    kept = np.ones(len(split), dtype=bool)
    for name in columns:
        if name == "label" and not labelled:
            continue
        present = split.with_format("arrow")[:][name].is_valid().to_numpy(zero_copy_only=False)
        if name == "label" and schema is not None:
            present = ~np.fromiter((labels.is_unknown(label, schema) for label in split[name][:]), dtype=bool)
        if not present.all() and on_missing == "error":
            first = split[int(np.flatnonzero(~present)[0])]
            place = labels.where(origin, first["line"]) if first["line"] else f"{origin}, row {first['idx']}"
            what, count = "label" if name == "label" else "text", int((~present).sum())
            raise UserError(
                f"{place}: the {what} is missing ({count} such row{'s' * (count != 1)}).",
                "Pass --on_missing drop to leave such rows out."
                + (" A test split may have them." if what == "label" else ""),
            )
        kept &= present
    if kept.all():
        return split
    if not kept.any():
        raise UserError(f"{origin}: no row has both text and label.", "Check the column names.")
    info(f"{origin}: {int((~kept).sum())} of {len(split)} rows without text or label are left out.")
    return split.select(np.flatnonzero(kept))


def _cut(data: Data, arguments: DataArguments) -> Data:
    """Cut test, validation and selection splits off the training split, as asked."""
    fractions = {name: getattr(arguments, f"{name}_fraction") for name in _to_cut(arguments)}
    if data.train is None or not fractions:
        return data
    train = data.splits[data.train]
    stratify = arguments.stratify and data.schema.kind == labels.SINGLE
    rows = splits.cut(
        _groups(train, arguments.keep_duplicates_together),
        train["labels"][:] if stratify else None,
        fractions,
        shuffle=arguments.split_shuffle,
        seed=arguments.split_seed,
    )
    parts = {name: train.select(indices) for name, indices in rows.items() if name != "train"}
    found = {**data.splits, data.train: train.select(rows["train"]), **parts}
    origin = {**data.origin, **{name: f"{data.origin[data.train]} ({name} cut)" for name in parts}}
    return replace(
        data,
        splits=found,
        selection=SELECTION if SELECTION in parts else None,
        validation=_with("validation", parts, arguments.validation_split_name, data.validation),
        test=_with("test", parts, arguments.test_split_name, data.test),
        origin=origin,
    )


def _with(name: str, parts: dict[str, "Dataset"], order: Sequence[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Add a split that was cut to those of its role, in the order the user named them."""
    joined = (name, *names) if name in parts else names
    return tuple(sorted(joined, key=order.index)) if order and set(joined) <= set(order) else joined


def _groups(split: "Dataset", by_text: bool) -> Sequence[int]:
    if not by_text:
        return range(len(split))
    numbers: dict[tuple[str, ...], int] = {}
    texts = sources.rows_of(split, ["text", "text_pair"])
    return [numbers.setdefault(row, len(numbers)) for row in zip(*texts.values(), strict=True)]


def _limit(data: Data, arguments: DataArguments) -> Data:
    """Apply --max_train_samples, --max_eval_samples and --max_predict_samples.

    The first rows are taken, as Hugging Face's scripts do, but of a split that was cut here a random part: its rows
    are in the order of the file, and the first of them may be of one class.
    """
    found, cut = dict(data.splits), _to_cut(arguments)
    if data.train and arguments.shuffle_train_dataset:
        found[data.train] = found[data.train].shuffle(seed=arguments.shuffle_seed)
    limits = {
        **dict.fromkeys(data.test, arguments.max_predict_samples),
        **dict.fromkeys([*data.validation, *filter(None, [data.selection])], arguments.max_eval_samples),
        **dict.fromkeys(filter(None, [data.train]), arguments.max_train_samples),
    }
    for name, most in limits.items():
        if most is not None and most < len(found[name]):
            rows: Sequence[int] = range(most)
            if name in cut:
                drawn = np.random.default_rng(arguments.split_seed).permutation(len(found[name]))[:most]
                rows = np.sort(drawn).tolist()
            found[name] = found[name].select(rows)
    if data.train and arguments.max_train_samples and data.schema.kind == labels.SINGLE:
        lost = set(data.splits[data.train]["labels"][:]) - set(found[data.train]["labels"][:])
        if lost:
            names = ", ".join(repr(data.schema.class_names[index]) for index in sorted(lost)[:3])
            warning(
                f"--max_train_samples {arguments.max_train_samples}: the first rows have none of {names}; "
                "--shuffle_train_dataset takes random ones."
            )
    return replace(data, splits=found)
