"""Training rows read as they are needed: for data that has no length, or more of it than the disk should hold twice.

The rows come in the order of their file, a buffer at a time, and again from the start when it ends; --max_steps says
when to stop. A buffer is shuffled and grouped by length as a whole split is, and ends where the file does. Every
process reads all rows and takes its own of each global batch; the collator tokenizes those alone. Evaluation splits
are read whole, as without it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bertlab import hub
from bertlab.cli.arguments import DataArguments, ModelArguments
from bertlab.console import info, say, warning
from bertlab.data import dataset, labels, sources
from bertlab.data.labels import REGRESSION, LabelSchema
from bertlab.data.stream import Rows, Stream
from bertlab.errors import UserError

if TYPE_CHECKING:
    pass


def check(rows: DataArguments, model: ModelArguments, training: Mapping[str, Any], given: Collection[str]) -> None:
    """Refuse what a stream cannot do, before anything is read.

    Raises:
        UserError: no --max_steps, a split cut from train, class weights, an order that needs every length, or several
            reading processes.
    """
    if not rows.streaming:
        if "shuffle_buffer" in given:
            warning("--shuffle_buffer has no effect without --streaming.")
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
    schema = _label_schema(arguments, raw.class_names, model_names, origin)
    named = replace(arguments, class_names=list(schema.class_names))
    held_out = dataset.arrange(raw, named, model_names, training=False) if raw.splits else _nothing(schema, arguments)
    say(f"training rows are read from {origin} as they are needed")
    if arguments.on_missing == "drop":
        info("rows of the stream without text or label are left out and not counted.")
    return replace(held_out, stream=Stream(rows, origin, schema, arguments))


def _label_schema(
    arguments: DataArguments, declared: Sequence[str], model_names: Sequence[str], origin: str
) -> LabelSchema:
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
    return labels.infer_labels(None, arguments, declared, model_names, origin)


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


def _nothing(schema: LabelSchema, arguments: DataArguments) -> dataset.Data:
    metrics = tuple(arguments.metric_name) or schema.default_metrics()
    return dataset.Data({}, None, None, (), (), schema, metrics, {}, {})
