"""From the Hub, a known folder or local files to raw splits, whose rows `columns` describes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bertlab import __version__, hub
from bertlab.cli.arguments import DataArguments
from bertlab.console import info
from bertlab.data import cache, file_layouts, labels, parquet, readers
from bertlab.data.columns import Columns, choose_columns, require_columns, split_names
from bertlab.data.data_file import DataFile, format_suffix
from bertlab.data.files import file_digest, open_binary
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

T = TypeVar("T")
Rows = Callable[[], Iterator[dict[str, Any]]]

# A file's name may have 255 bytes; the split's is part of it, also while the file is written under another one.
LONGEST_NAME = 200


@dataclass(frozen=True)
class RawData:
    """Raw splits by name, and the names of files or data set they came from (for messages and run.json).

    With --streaming the training rows are not a split: `train_rows` reads them, again from the start at each call.
    All splits of `one_data_set` have its name for origin.
    """

    splits: dict[str, "Dataset"]
    origin: dict[str, str]
    class_names: tuple[str, ...]
    columns: Columns
    train_rows: Rows | None = None
    one_data_set: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for a split whose name cannot be that of a file of predictions."""
        _check_split_names(self.splits, "Leave it out with --remove_splits.")

    def place(self, split: str) -> str:
        """Return what messages call a split: its file, or its name in the data set."""
        return _place(split, self.origin[split]) if self.one_data_set else self.origin[split]


def read_source(arguments: DataArguments, cache_dir: str | None, token: str | None, *, streaming: bool) -> RawData:
    """Read every split of the run's source; when `streaming`, the training split only as its rows are needed.

    Raises:
        UserError: no source is named, something in it cannot be read, or the cache cannot be written.
    """
    from datasets import config as datasets_config

    cache.make_folder(Path(cache_dir or datasets_config.HF_DATASETS_CACHE))
    files = _files(arguments)
    if files:
        return _from_files(files, arguments, cache_dir, streaming)
    if arguments.dataset_name:
        return _from_hub(arguments, cache_dir, token, streaming)
    raise UserError(
        "there is no data to work on.",
        "Name a --task, a --train_file, a --dataset_name, or --data_dir with --data_layout.",
    )


def check_exists(arguments: DataArguments) -> None:
    """Raise UserError for a file or folder that is not there or has no reader, before anything slow is imported."""
    for file in _files(arguments).values():
        if not readers.class_folders(file.path):
            open_binary(file.path).close()
            format_suffix(file.path)
    name = hub_name(arguments)
    if name and hub.is_path(name):
        folder = Path(name)
        if not folder.exists():
            beside = [path.name for path in folder.parent.glob("[!.]*/")]
            raise UserError(
                f"--dataset_name {folder}: no such folder.", did_you_mean(folder.name, beside, folder.parent)
            )


def hub_name(arguments: DataArguments) -> str | None:
    """Return the data set that is read from the Hub, or None if the data is on this disk."""
    return None if _files_named(arguments) or arguments.data_dir else arguments.dataset_name


def _files_named(arguments: DataArguments) -> bool:
    return bool(arguments.train_file or arguments.validation_file or arguments.test_file)


def _check_split_names(names: Iterable[str], hint: str) -> None:
    """Refuse names of splits that would not be plain files of that name: predictions/<split>.tsv."""
    for name in names:
        plain = name.strip() and name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")
        if not plain or len(name.encode()) > LONGEST_NAME:
            raise UserError(f"the split name {name!r} cannot be the name of a file.", hint)


def _kept_splits(splits: dict[str, T], arguments: DataArguments) -> dict[str, T]:
    """Return the splits that --remove_splits leaves."""
    removed = split_names(arguments.remove_splits, splits)
    for split in removed:
        if split not in splits:
            raise UserError(f"--remove_splits: there is no split {split!r}.", did_you_mean(split, splits))
    if set(removed) == set(splits):
        raise UserError("--remove_splits leaves no split.", f"The data has {', '.join(splits)}.")
    return {split: value for split, value in splits.items() if split not in removed}


def _no_train(arguments: DataArguments, splits: Iterable[str]) -> UserError:
    return UserError(
        f"--streaming: there is no training split {arguments.train_split_name!r}, only {', '.join(splits) or 'none'}.",
        "Name it with --train_file or --train_split_name.",
    )


# Local files


def _files(arguments: DataArguments) -> dict[str, DataFile]:
    """Return the files of a run by the name of their split; none where it reads a data set."""
    if _files_named(arguments):
        return _kept_splits(_named_files(arguments), arguments)
    return _kept_splits(_layout_files(arguments), arguments) if arguments.data_dir else {}


def _from_files(
    files: dict[str, DataFile], arguments: DataArguments, cache_dir: str | None, streaming: bool
) -> RawData:
    named = (arguments.train_split_name, *arguments.validation_split_name, *arguments.test_split_name)
    _check_split_names(named, "Write a name such as validation_2.")
    first = next(iter(files.values()))
    if _files_named(arguments):
        columns = columns_of_file(first, arguments)
    else:
        layout = file_layouts.find_layout(arguments.data_layout or "")
        require_columns(filter(None, [arguments.group_column]), readers.column_names(first), str(first.path))
        kept = layout.source, arguments.group_column, tuple(arguments.clean)
        columns = Columns(layout.text, None, layout.label, *kept)
    class_names = parquet.class_names(first, columns.label)
    origin = {split: str(file.path) for split, file in files.items()}
    rows: Rows | None = None
    if streaming:
        train = files.pop(arguments.train_split_name, None)
        if train is None:
            raise _no_train(arguments, files)
        columns = _columns_of(train, columns)
        rows = partial(_file_rows, train, columns)
    splits = {split: _read_file(split, file, columns, cache_dir) for split, file in files.items()}
    return RawData(splits, origin, class_names, columns, rows)


def columns_of_file(file: DataFile, arguments: DataArguments) -> Columns:
    """Return which of a file's columns are text, label and source, as `choose_columns` does.

    Raises:
        UserError: as there, with another hint where the first line looks like data.
    """
    try:
        return choose_columns(readers.column_names(file), arguments, str(file.path))
    except UserError as error:
        names = readers.names_for_no_header(file) if file.columns is None else []
        if not names:
            raise
        raise UserError(
            f"{error.problem} The first line looks like data, as in a file without a header.",
            f"If it is, name the columns: --column_names {' '.join(names)}.",
        ) from None


def _named_files(arguments: DataArguments) -> dict[str, DataFile]:
    validation, test = arguments.validation_split_name or ["validation"], arguments.test_split_name or ["test"]
    paths = (
        (arguments.train_split_name, arguments.train_file),
        (validation[0], arguments.validation_file),
        (test[0], arguments.test_file),
    )
    files: dict[str, DataFile] = {}
    for split, path in paths:
        if not path:
            continue
        if "://" in path:
            hint = "Fetch it first; data sets of the Hub: --dataset_name."
            raise UserError(f"{path} is an address, not a file.", hint)
        if _is_saved(Path(path)):
            raise UserError(f"{path} is a data set that save_to_disk wrote.", f"Read it with --dataset_name {path}.")
        if split in files:
            raise UserError(f"{files[split].path} and {path} are both the split {split!r}.", "Name splits apart.")
        columns = split_names(arguments.column_names, ()) or None
        files[split] = _data_file(path, arguments, arguments.delimiter, arguments.quoting, columns)
    return files


def _is_saved(folder: Path) -> bool:
    """Return True for a folder that `save_to_disk` of a data set, or of one with several splits, wrote."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _layout_files(arguments: DataArguments) -> dict[str, DataFile]:
    if not arguments.data_layout:
        raise UserError(
            "--data_dir says where the files are, but not how they are laid out.",
            f"Name a --task or a --data_layout: {', '.join(file_layouts.LAYOUTS)}; or give --train_file.",
        )
    layout = file_layouts.find_layout(arguments.data_layout)
    return {
        split: _data_file(path, arguments, "\t", "none", layout.headerless.get(split))
        for split, path in file_layouts.find_files(layout, Path(arguments.data_dir or "")).items()
    }


def _data_file(
    path: str | Path, arguments: DataArguments, delimiter: str | None, quoting: str, columns: tuple[str, ...] | None
) -> DataFile:
    """Return a file of a run; --on_missing drop leaves its ragged rows out with others that lack text or label."""
    label = split_names(arguments.label_column_name, ())
    return DataFile(
        Path(path),
        delimiter,
        quoting,
        columns,
        arguments.encoding,
        ragged_as_empty=arguments.on_missing == "drop",
        indicators=label if len(label) > 1 else (),
    )


def _columns_of(file: DataFile, columns: Columns) -> Columns:
    """Return the columns that a file has, and whether its labels are lists, as its first one says.

    An evaluation or test file without its label or source column is read without it.

    Raises:
        UserError: a text column is missing, or the file has no rows, which `datasets` cannot hold.
    """
    for remark in readers.remarks(file):
        info(f"{file.path}: {remark}")
    try:
        columns = columns.present_in(readers.column_names(file), str(file.path))
    except UserError as error:
        if not readers.names_for_no_header(file):
            raise
        hint = "If it has no header, write the line of column names of the other files above it."
        raise UserError(f"{error.problem} Its first line looks like data.", hint) from None
    if columns.label is None:
        return columns
    written = (row.values[columns.label] for row in readers.read_rows(file))
    first = next((label for label in written if label is not None), None)
    return replace(columns, multi_label=isinstance(first, list))


def _file_rows(file: DataFile, columns: Columns, digest: str = "") -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in the form that `columns` describes.

    `digest` is this package's version and the file's content hash: the cache of `datasets` follows them, not the
    file's name.
    """
    for index, row in enumerate(readers.read_rows(file)):
        line = row.line if row.unit == "line" else -row.line
        yield columns.row(row.values, index, line, f"{file.path}, {row.where}")


def _read_file(name: str, file: DataFile, columns: Columns, cache_dir: str | None) -> "Dataset":
    from datasets import Dataset, NamedSplit
    from datasets import config as datasets_config
    from datasets.exceptions import DatasetGenerationError

    columns = _columns_of(file, columns)
    try:
        return Dataset.from_generator(
            _file_rows,
            gen_kwargs={"file": file, "columns": columns, "digest": f"{__version__} {file_digest(file.path)}"},
            features=columns.features(),
            cache_dir=cache_dir,
            split=NamedSplit(re.sub(r"\W", "_", name)),
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, OSError):
            raise cache.not_writable(cache_dir or datasets_config.HF_DATASETS_CACHE, error.__cause__) from error
        raise


# The Hub


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Raise UserError for whatever the Hub's libraries raise, a dozen types; all mean: not loaded."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise hub.dataset_error(name, error) from error


def _from_hub(arguments: DataArguments, cache_dir: str | None, token: str | None, streaming: bool) -> RawData:
    from datasets import Dataset, load_dataset, load_from_disk
    from datasets import config as datasets_config

    name, configuration = arguments.dataset_name or "", arguments.dataset_config_name
    folder = Path(name)
    roots = [each for each in (folder, *sorted(folder.glob("*/"))) if readers.class_folders(each)]
    if roots:
        train = next((each for each in roots if "train" in each.name), roots[0])
        other = next((f" --validation_file {each}" for each in roots if each not in (folder, train)), "")
        hint = f"Name the splits: --train_file {train}{other}."
        raise UserError(f"--dataset_name {name} has a folder per class.", hint)
    with _hub_errors(name):
        if _is_saved(folder):
            saved = load_from_disk(folder)
            loaded = {arguments.train_split_name: saved} if isinstance(saved, Dataset) else dict(saved)
            loaded = {split: data.to_iterable_dataset() for split, data in loaded.items()} if streaming else loaded
        else:
            loaded = load_dataset(name, configuration, cache_dir=cache_dir, token=token, streaming=streaming)
    splits = _kept_splits(dict(loaded), arguments)
    if streaming:
        return _streamed(splits, arguments, name)
    # `datasets` would write into the folder of the data, which others may own.
    cached_in = Path(cache_dir or datasets_config.HF_DATASETS_CACHE) if _is_saved(folder) else None
    return from_dataset_dict(splits, arguments, name, cached_in=cached_in)


def from_dataset_dict(
    loaded: Mapping[str, "Dataset"],
    arguments: DataArguments,
    name: str,
    features: Mapping[str, Any] | None = None,
    cached_in: Path | None = None,
) -> RawData:
    """Return the raw splits of data sets that are already in memory or on disk, labels as their names.

    `features` are the columns, where those of the training or else the first split do not say. `cached_in` is the
    cache, where it is not that of the data set.
    """
    if features is None:
        features = (loaded.get(arguments.train_split_name) or next(iter(loaded.values()))).features
    columns = choose_columns(list(features), arguments, f"the data set {name}")
    names = _class_names(features, columns).get(columns.label or "", ())
    splits = {split: _read_split(data, columns, _place(split, name), cached_in) for split, data in loaded.items()}
    return RawData(splits, dict.fromkeys(splits, name), names, columns, one_data_set=True)


def _streamed(loaded: dict[str, "IterableDataset"], arguments: DataArguments, name: str) -> RawData:
    from datasets import Dataset

    loaded = {split: data.decode(False) if data.features else data for split, data in loaded.items()}
    train = loaded.pop(arguments.train_split_name, None)
    if train is None:
        raise _no_train(arguments, loaded)
    # Other splits, which may be large, are not fetched.
    used = (*arguments.validation_split_name, *arguments.test_split_name)
    evaluated = [split for split in loaded if split in used or split.startswith(("validation", "test"))]
    with _hub_errors(name):
        whole = {split: Dataset.from_list(list(loaded[split]), loaded[split].features) for split in evaluated}
        # Files without a description say what their columns are only when they are read.
        sample = train.features or next(iter(train))
    raw = from_dataset_dict(whole, arguments, name, sample)
    columns = replace(raw.columns, multi_label=_is_list(sample.get(raw.columns.label)))
    names = _class_names(sample, columns)

    def rows() -> Iterator[dict[str, Any]]:
        """Yield the training rows from the start."""
        with _hub_errors(name):
            for index, values in enumerate(train):
                yield _row(values, columns, names, index, _place(arguments.train_split_name, name))

    return replace(raw, origin={arguments.train_split_name: name, **raw.origin}, columns=columns, train_rows=rows)


def row_place(place: str, row: Mapping[str, Any]) -> str:
    """Return where a row of a split stands: its line or row, or its own file in a folder per class."""
    texts = readers.class_texts(Path(place))
    return str(texts[row["idx"]]) if texts else labels.place(place, row["line"], row["idx"])


def _place(split: str, name: str) -> str:
    return f"the split {split} of {name}"


def _is_list(feature: Any) -> bool:
    """Return True for a list, or the type of a column of lists."""
    from datasets import LargeList, List

    return isinstance(feature, (list, List, LargeList))


def _class_names(features: Mapping[str, Any], columns: Columns) -> dict[str, tuple[str, ...]]:
    """Return the names of each class label, or list of them, that is read; columns of 0 and 1 stay numbers."""
    read = {name: features.get(name) for name in columns.read if name is not None and name not in columns.indicators}
    named = {name: getattr(getattr(feature, "feature", feature), "names", None) for name, feature in read.items()}
    return {name: tuple(names) for name, names in named.items() if names}


def _row(
    values: dict[str, Any], columns: Columns, names: Mapping[str, tuple[str, ...]], index: int, place: str
) -> dict[str, Any]:
    """Return row `index` of a split in the form that `columns` describes; ids become `names`."""
    named = {column: parquet.to_class_name(values.get(column), of_column) for column, of_column in names.items()}
    return columns.row({**values, **named}, index, 0, f"{place}, row {index + 1}")


def _read_split(data: "Dataset", columns: Columns, place: str, cached_in: Path | None) -> "Dataset":
    """Return a split of a data set in the form that `columns` describes; ids become its own names of classes."""
    from datasets.fingerprint import Hasher

    columns = columns.present_in(data.column_names, place)
    if columns.label is not None:
        columns = replace(columns, multi_label=_is_list(data.features[columns.label]))
    names = _class_names(data.features, columns)
    # What nobody reads is not decoded: pictures, sound.
    data = data.select_columns([name for name in data.column_names if name in columns.read])

    def convert(batch: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        """Return a batch of rows in the form that `columns` describes."""
        rows = [
            _row(dict(zip(batch, values, strict=True)), columns, names, index, place)
            for index, values in zip(indices, zip(*batch.values(), strict=True), strict=True)
        ]
        return {column: [row[column] for row in rows] for column in rows[0]}

    key = Hasher.hash([data._fingerprint, columns, names, __version__])
    folder = cached_in and cached_in / f"saved-{data._fingerprint}"
    with cache.folder_lock(folder) if folder else cache.cache_lock(data):
        return data.map(
            convert,
            batched=True,
            with_indices=True,
            remove_columns=data.column_names,
            features=columns.features(),
            cache_file_name=str(folder / f"cache-{key}.arrow") if folder else None,
            new_fingerprint=key,
            desc="Reading",
        )
