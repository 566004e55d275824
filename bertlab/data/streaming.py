"""Training rows read as they are needed: for data that has no length, or more of it than the disk should hold twice.

The rows come in the order of their file, a buffer at a time, and again from the start when it ends; --max_steps says
when to stop. A buffer is shuffled and grouped by length as a whole split is, and ends where the file does. Every
process reads all rows and takes its own of each global batch; the collator tokenizes those alone. Evaluation splits
are read whole, as without it.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import IterableDataset

from bertlab import hub
from bertlab.cli.arguments import DataArguments, ModelArguments
from bertlab.cli.parser import Arguments
from bertlab.console import notice, say
from bertlab.data import dataset, labels, long_texts, sources
from bertlab.data.labels import REGRESSION, LabelSpace
from bertlab.errors import UserError, did_you_mean
from bertlab.report.summary import global_batch
from bertlab.training.collators import PaddingCollator
from bertlab.training.sampling import LengthGroupedOrder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase, TrainingArguments

Rows = Callable[[], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Stream:
    """Raw training rows that can be read again from the start, in the form of `sources`, and their label space."""

    rows: Rows
    origin: str
    space: LabelSpace
    arguments: DataArguments

    def pass_over(self) -> Iterator[dict[str, Any]]:
        """Yield every row once: its text, or two, and the number, id or vector it is trained on.

        Raises:
            UserError: a row lacks text or label, its label is unknown, or there is no row.
        """
        found = 0
        for row in itertools.islice(self.rows(), self.arguments.max_train_samples):
            place = labels.where(self.origin, row["line"]) if row["line"] else f"{self.origin}, row {row['idx'] + 1}"
            texts: dict[str, Any] = {name: row[name] for name in ("text", "text_pair") if name in row}
            missing = (
                "text"
                if None in texts.values()
                else "label"
                if labels.is_unknown(row.get("label"), self.space)
                else None
            )
            if missing is None:
                found += 1
                yield {**texts, "labels": self._number(row["label"], place)}
            elif self.arguments.on_missing == "error":
                raise UserError(
                    f"{place}: the {missing} is missing.", "Pass --on_missing drop to leave such rows out."
                )
        if not found:
            raise UserError(f"{self.origin}: no row has both text and label.", "Check the column names.")

    def _number(self, label: Any, place: str) -> Any:
        if self.space.kind != REGRESSION:
            for one in label if isinstance(label, list) else [label]:
                if labels.resolve(one, self.space) not in self.space.class_names:
                    raise UserError(
                        f"{place}: the label {one!r} is not among {', '.join(self.space.class_names[:8])}.",
                        did_you_mean(one, self.space.class_names) + " --class_names and --label_map name labels.",
                    )
        return labels.to_number(label, self.space, place)


class StreamedRows(IterableDataset):
    """An endless training set of a stream's rows: in buffers, each shuffled and grouped by length.

    The order follows the seed, the buffer's number and the global batch alone, so it is the same on every process and
    when a run is resumed.
    """

    def __init__(self, stream: Stream, buffer: int, global_batch: int, seed: int, grouped: bool) -> None:
        self.stream = stream
        # Whole global batches, or those of the next buffer would mix lengths.
        self.buffer = -(-buffer // global_batch) * global_batch
        self.global_batch = global_batch
        self.seed = seed
        self.grouped = grouped

    def __iter__(self) -> Iterator[dict[str, Any]]:
        seen, numbers = 0, itertools.count()
        while True:
            rows = self.stream.pass_over()
            if not self.buffer:
                yield from rows
                continue
            # Buffers begin with a global batch: the one that the pass before left unfinished is filled up first.
            first = list(itertools.islice(rows, -seen % self.global_batch))
            yield from first
            seen += len(first)
            # And end with a pass: a copy of a row could come before other rows have come at all.
            while buffer := list(itertools.islice(rows, self.buffer)):
                yield from (buffer[index] for index in self._order(buffer, next(numbers)))
                seen += len(buffer)

    def _order(self, rows: list[dict[str, Any]], number: int) -> Sequence[int]:
        if not self.grouped:
            return np.random.default_rng([self.seed, number]).permutation(len(rows)).tolist()
        # In characters, which leave more padding than tokens would: only the process that takes a row tokenizes it.
        lengths = np.asarray([sum(len(row.get(name, "")) for name in ("text", "text_pair")) for row in rows])
        order = LengthGroupedOrder(lengths, self.global_batch, self.seed)
        order.set_epoch(number)
        return list(order)


class TokenizingCollator:
    """Tokenizes streamed rows and pads them; rows that are encoded already, of evaluation splits, are only padded."""

    def __init__(self, pad: PaddingCollator, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> None:
        self.pad = pad
        # Evaluation batches are made by rows, not by tokens, where every row is padded to one length.
        self.pad_to = pad.pad_to
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, rows: list[dict[str, Any]]) -> "dict[str, torch.Tensor]":
        return self.pad(rows if "input_ids" in rows[0] else self._encoded(rows))

    def _encoded(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        texts = dataset.text_columns({name: [row[name] for row in rows] for name in rows[0]})
        columns = long_texts.tokenize(texts, self.tokenizer, self.max_length).inputs
        return [
            {**{name: values[index] for name, values in columns.items()}, "labels": row["labels"]}
            for index, row in enumerate(rows)
        ]


# Each process takes its own rows and pads them; by default the first deals out tensors, all of one length.
TRAINING_VALUES: dict[str, Any] = {
    "accelerator_config": {"dispatch_batches": False},
    "remove_unused_columns": False,
}


def check(arguments: Arguments) -> None:
    """Refuse what a stream cannot do, before anything is read.

    Raises:
        UserError: no --max_steps, a split cut from train, class weights, an order that needs every length, or several
            reading processes.
    """
    training, rows, model = arguments.training, arguments[DataArguments], arguments[ModelArguments]
    if not rows.streaming:
        if "shuffle_buffer" in arguments.given:
            notice("--shuffle_buffer has no effect without --streaming.")
        return
    if (training.get("max_steps") or -1) < 1:
        raise UserError("--streaming: nobody knows how many rows there are.", "Say where to stop with --max_steps.")
    for name in ("validation_fraction", "selection_fraction", "test_fraction", "shuffle_train_dataset"):
        if getattr(rows, name):
            raise UserError(
                f"--streaming reads the training rows once: --{name} needs all of them.",
                "Leave it out, or name files of held-out rows.",
            )
    if model.class_weights != "none":
        raise UserError("--class_weights balanced counts the labels before training.", "Leave --streaming out.")
    if training["train_sampling_strategy"] == "batch_rebalance":
        raise UserError(
            "--train_sampling_strategy batch_rebalance needs the length of every row.",
            "With --streaming, choose group_by_length, random or sequential.",
        )
    if training.get("dataloader_num_workers"):
        raise UserError(
            "--dataloader_num_workers: each worker would read every row of a stream.",
            "Leave it out with --streaming.",
        )


def load(
    arguments: DataArguments, model_names: Sequence[str], *, training: bool, cache_dir: str | None, token: str | None
) -> dataset.Data:
    """Return the evaluation splits of a run, read whole, with the stream of its training rows; see data.load.

    Raises:
        UserError: there are no training rows, nothing says which labels they can have, or as data.load does.
    """
    if not training:
        return dataset.load(arguments, model_names, training=False, cache_dir=cache_dir, token=token)
    if sources.hub_name(arguments) is None:
        rows, origin, raw = _from_files(arguments, cache_dir)
    else:
        rows, origin, raw = _from_hub(arguments, token)
    if raw.columns.label is None:
        raise UserError(f"{origin} has no labels to train on.", "Name the column with --label_column_name.")
    space = _label_space(arguments, raw.class_names, model_names, origin)
    named = replace(arguments, class_names=list(space.class_names))
    held_out = dataset.arrange(raw, named, model_names, training=False) if raw.splits else _nothing(space, arguments)
    say(f"training rows are read from {origin} as they are needed")
    if arguments.on_missing == "drop":
        notice("rows of the stream without text or label are left out and not counted.")
    return replace(held_out, stream=Stream(rows, origin, space, arguments))


def training_set(stream: Stream, args: "TrainingArguments") -> StreamedRows:
    """Return the training set of a stream, ordered as --train_sampling_strategy says within each buffer."""
    strategy = args.train_sampling_strategy
    buffer = 0 if strategy == "sequential" else stream.arguments.shuffle_buffer
    seed = args.seed if args.data_seed is None else args.data_seed
    return StreamedRows(stream, buffer, global_batch(args), seed, grouped=strategy == "group_by_length")


def _label_space(
    arguments: DataArguments, declared: Sequence[str], model_names: Sequence[str], origin: str
) -> LabelSpace:
    """Return the label space, which cannot be found by counting."""
    mapped = tuple(dict.fromkeys(arguments.label_map.values()))
    scores = arguments.do_regression or arguments.problem_type == REGRESSION
    if not (declared or mapped or arguments.class_names or model_names or scores):
        raise UserError(
            f"--streaming: nobody has counted the labels of {origin}.",
            "Name them with --class_names (or --label_map), or pass --do_regression.",
        )
    if mapped and not (declared or arguments.class_names):
        arguments = replace(arguments, class_names=list(mapped))
    return labels.decide(None, arguments, declared, model_names, origin)


def _from_files(arguments: DataArguments, cache_dir: str | None) -> tuple[Rows, str, sources.RawData]:
    files, columns = sources.local_files(arguments)
    train = files.pop(arguments.train_split_name, None)
    if train is None:
        raise _no_train(arguments, files)
    here, multi_label = sources.columns_in(train, columns)
    rows = partial(sources.canonical_rows, train, here, multi_label, "")
    return rows, str(train.path), sources.read_files(files, columns, cache_dir)


def _from_hub(arguments: DataArguments, token: str | None) -> tuple[Rows, str, sources.RawData]:
    from datasets import Dataset, load_dataset

    name = arguments.dataset_name or ""
    try:
        splits = dict(load_dataset(name, arguments.dataset_config_name, token=token, streaming=True))
        train = splits.pop(arguments.train_split_name, None)
        whole = {
            split: Dataset.from_list(list(splits[split]), features=splits[split].features)
            for split in _reported(splits, arguments)
        }
        # Files without a description say what their columns are only when they are read.
        found = [] if train is None else list(train.features or next(iter(train)))
    except Exception as error:  # the Hub's libraries raise a dozen types; all mean: not loaded
        raise hub.dataset_error(name, error) from error
    if train is None:
        raise _no_train(arguments, splits)
    columns = sources.choose_columns(found, arguments, f"the data set {name}")
    sources.refuse_no_text(train.features or {}, columns, name)
    names = sources.class_names(train.features or {}, columns)

    def rows() -> Iterator[dict[str, Any]]:
        fetched = enumerate(_fetched(name, train))
        return (sources.canonical_values(row, columns, names, index) for index, row in fetched)

    held_out = {split: sources.canonical_split(part, columns, names) for split, part in whole.items()}
    return rows, name, sources.RawData(held_out, dict.fromkeys(held_out, name), names, columns)


def _fetched(name: str, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows of the Hub; a connection that breaks in their midst is the user's to know."""
    try:
        yield from rows
    except Exception as error:  # the Hub's libraries raise a dozen types
        raise hub.dataset_error(name, error) from error


def _reported(splits: Iterable[str], arguments: DataArguments) -> list[str]:
    """Return the splits that a run evaluates or predicts; others, which may be large, are not fetched."""
    named = (*arguments.validation_split_name, *arguments.test_split_name)
    usual = [split for split in splits if split in named or split.startswith(("validation", "test"))]
    return [split for split in usual if split not in arguments.remove_splits]


def _no_train(arguments: DataArguments, splits: dict[str, Any]) -> UserError:
    found = ", ".join(splits) or "none"
    return UserError(
        f"--streaming: there is no training split {arguments.train_split_name!r}, only {found}.",
        "Name it with --train_file or --train_split_name.",
    )


def _nothing(space: LabelSpace, arguments: DataArguments) -> dataset.Data:
    metrics = tuple(arguments.metric_name) or space.default_metrics()
    return dataset.Data({}, None, None, (), (), space, metrics, {}, {})
