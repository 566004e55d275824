"""From the Hub, a known folder or local files to raw splits that all look alike.

Whatever the source, every row of every split becomes:

    idx        int64           its number in the split, from 0: the order of predictions
    line       int64           where it stands in its file, for messages: line 7 is 7, row 7 is -7 (0 on the Hub)
    text       string          the first segment, None where it is missing
    text_pair  string          the second segment, in pair tasks only
    label      string          the label as written, None where there is none; a list in multi-label data
    source     string          the group for the report, where one is named
"""

import html
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bertlab import __version__, hub
from bertlab.cli.arguments import DataArguments
from bertlab.console import info
from bertlab.data import cache, file_layouts, readers
from bertlab.data.files import file_digest
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset, Features

T = TypeVar("T")

# A tag starts with a letter, so that "x < 3" and "<3" stay; it becomes a space, or two words would run together. So
# does a comment; one that is never closed ends the search at the next, or many of them would take quadratic time.
TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--(?:(?!<!--).)*?-->", re.DOTALL)
PAIR_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
)
TEXT_COLUMNS = ("sentence", "text", "review", "content")
LABEL_COLUMNS = ("label", "labels")
# A file's name may have 255 bytes; the split's is part of it, also while the file is written under another one.
LONGEST_NAME = 200


@dataclass(frozen=True)
class Columns:
    """Which columns of a source are read, and how the text is joined and cleaned."""

    text: tuple[str, ...]
    text_column_delimiter: str | None
    label: str | None
    source: str | None
    clean: tuple[str, ...]

    @property
    def is_pair(self) -> bool:
        """True where a row has two texts, which stay two segments."""
        return len(self.text) == 2 and self.text_column_delimiter is None


@dataclass(frozen=True)
class SplitFile:
    """One local file of a split and how it is written."""

    path: Path
    delimiter: str | None = None
    quoting: str = "auto"
    headerless: tuple[str, ...] | None = None
    encoding: str | None = None
    torn: bool = False

    def reading(self) -> dict[str, Any]:
        """Return the keyword arguments of the readers."""
        return {
            "delimiter": self.delimiter,
            "quoting": self.quoting,
            "columns": self.headerless,
            "encoding": self.encoding,
            "torn": self.torn,
        }


@dataclass(frozen=True)
class RawData:
    """Raw splits by name, and the names of files or data set they came from (for messages and run.json)."""

    splits: dict[str, "Dataset"]
    origin: dict[str, str]
    class_names: tuple[str, ...]
    columns: Columns

    def __post_init__(self) -> None:
        """Refuse a split that predictions cannot be filed under.

        Raises:
            UserError: its name leads out of the folder, or cannot be a file's.
        """
        _refuse_no_file_name(self.splits, "Leave it out with --remove_splits.")


def read(arguments: DataArguments, cache_dir: str | None, token: str | None) -> RawData:
    """Read every split of the run's source.

    Raises:
        UserError: no source is named, something in it cannot be read, or the cache cannot be written.
    """
    if cache_dir is not None:
        _make_cache(Path(cache_dir))
    if _files_named(arguments) or arguments.data_dir:
        return read_files(*local_files(arguments), cache_dir)
    if arguments.dataset_name:
        return _from_hub(arguments, cache_dir, token)
    raise UserError(
        "there is no data to work on.",
        "Name a --task, a --train_file, a --dataset_name, or --data_dir with --data_layout.",
    )


def hub_name(arguments: DataArguments) -> str | None:
    """Return the data set that is read from the Hub, or None if the data is on this disk."""
    return None if _files_named(arguments) or arguments.data_dir else arguments.dataset_name


def local_files(arguments: DataArguments) -> tuple[dict[str, SplitFile], Columns]:
    """Return the local files of a run's splits, by name, and which of their columns are read.

    Raises:
        UserError: a file or column is not there, the layout is not known, or a split's name cannot be a file's.
    """
    named = (arguments.train_split_name, *arguments.validation_split_name, *arguments.test_split_name)
    _refuse_no_file_name(named, "Write a name such as validation_2.")
    if not _files_named(arguments):
        return _of_layout(arguments)
    files = kept(_named_files(arguments), arguments)
    first = next(iter(files.values()))
    names = readers.column_names(first.path, **first.reading())
    if not names:
        raise UserError(f"{first.path} has no rows.", "Give a file with data.")
    return files, choose_columns(names, arguments, str(first.path))


def _files_named(arguments: DataArguments) -> bool:
    return bool(arguments.train_file or arguments.validation_file or arguments.test_file)


def canonical_rows(file: SplitFile, columns: Columns, multi_label: bool, digest: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in the form described at the top of this module.

    `digest` is this package's version and the file's content hash: the cache of `datasets` follows them, not the
    file's name.

    Raises:
        UserError: a row cannot be read, or its label is a list where others are not.
    """
    for index, row in enumerate(readers.read_rows(file.path, **file.reading())):
        for name in columns.text:
            if isinstance(row.values.get(name), list):
                raise UserError(
                    f"{file.path}, {row.where}: {name!r} holds a list, not a text.", "Write one text in each row."
                )
        canonical = _canonical(row.values, columns, index, row.line if row.unit == "line" else -row.line)
        label = canonical.get("label")
        if label is not None and isinstance(label, list) != multi_label:
            written = row.values[columns.label or ""]
            raise UserError(
                f"{file.path}, {row.where}: the label {written!r} does not fit the first row's.",
                "Labels must be all lists or none.",
            )
        yield canonical


def _canonical(values: dict[str, Any], columns: Columns, index: int, line: int) -> dict[str, Any]:
    texts = [clean_text(values.get(name), columns.clean) for name in columns.text]
    row: dict[str, Any] = {"idx": index, "line": line}
    if columns.is_pair:
        row["text"], row["text_pair"] = texts
    else:
        text_column_delimiter = " " if columns.text_column_delimiter is None else columns.text_column_delimiter
        row["text"] = None if None in texts else text_column_delimiter.join(texts)  # type: ignore[arg-type]
    if columns.label is not None:
        row["label"] = label_text(values.get(columns.label))
    if columns.source is not None:
        row["source"] = _as_text(values.get(columns.source)).strip()
    return row


def label_text(value: Any) -> str | list[str] | None:
    """Return a label as written: 1, 1.0 and "1" are the same label, and an empty cell is none."""
    if isinstance(value, (list, tuple)):
        return [text for text in map(label_text, value) if isinstance(text, str)]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _as_text(value).strip() or None


def clean_text(value: Any, how: Sequence[str]) -> str | None:
    """Return a cell as clean text, or None if nothing is left: `how` names --clean steps."""
    text = _as_text(value)
    if "html" in how:
        text = html.unescape(TAG.sub(" ", text))
    if "whitespace" in how:
        text = " ".join(text.split())
    return text if text.strip() else None


def _as_text(value: Any) -> str:
    """Return a cell as text; an empty cell, which some writers of JSON and Parquet turn into NaN, is empty."""
    return "" if value is None or value != value else str(value)


def _named_files(arguments: DataArguments) -> dict[str, SplitFile]:
    validation, test = arguments.validation_split_name or ["validation"], arguments.test_split_name or ["test"]
    paths = (
        (arguments.train_split_name, arguments.train_file),
        (validation[0], arguments.validation_file),
        (test[0], arguments.test_file),
    )
    files: dict[str, SplitFile] = {}
    for split, path in paths:
        if path and "://" in path:
            raise UserError(
                f"{path} is an address, not a file.", "Fetch it first; data sets of the Hub: --dataset_name."
            )
        if path and split in files:
            raise UserError(f"{files[split].path} and {path} are both the split {split!r}.", "Name splits apart.")
        if path:
            files[split] = SplitFile(
                Path(path), arguments.delimiter, arguments.quoting, None, arguments.encoding, _keeps_torn(arguments)
            )
    return files


def _keeps_torn(arguments: DataArguments) -> bool:
    """Return True where torn rows are read as rows of empty cells, to be counted and left out like others."""
    return arguments.on_missing == "drop"


def _refuse_no_file_name(names: Iterable[str], hint: str) -> None:
    """Refuse names of splits that would not be plain files of that name: predictions/<split>.tsv."""
    for name in names:
        plain = name.strip() and name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")
        if not plain or len(name.encode()) > LONGEST_NAME:
            raise UserError(f"the split name {name!r} cannot be the name of a file.", hint)


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cache_error(str(folder), error) from error


def _cache_error(folder: str, error: OSError) -> UserError:
    return UserError(f"the cache {folder} cannot be written: {error.strerror}.", "Name another --cache_dir.")


def kept(splits: dict[str, T], arguments: DataArguments) -> dict[str, T]:
    """Return the splits that --remove_splits leaves."""
    removed = _names(arguments.remove_splits, splits)
    for split in removed:
        if split not in splits:
            raise UserError(f"--remove_splits: there is no split {split!r}.", did_you_mean(split, splits))
    if set(removed) == set(splits):
        raise UserError("--remove_splits leaves no split.", f"The data has {', '.join(splits)}.")
    return {split: value for split, value in splits.items() if split not in removed}


def _of_layout(arguments: DataArguments) -> tuple[dict[str, SplitFile], Columns]:
    if not arguments.data_layout:
        raise UserError(
            "--data_dir says where the files are, but not how they are laid out.",
            f"Name a --task or a --data_layout: {', '.join(file_layouts.LAYOUTS)}; or give --train_file.",
        )
    layout = file_layouts.find_layout(arguments.data_layout)
    files = {
        split: SplitFile(path, "\t", "none", layout.headerless.get(split), arguments.encoding, _keeps_torn(arguments))
        for split, path in kept(file_layouts.find_files(layout, Path(arguments.data_dir or "")), arguments).items()
    }
    return files, Columns(layout.text, None, layout.label, layout.source, tuple(arguments.clean))


def read_files(files: dict[str, SplitFile], columns: Columns, cache_dir: str | None) -> RawData:
    """Return the raw splits of local files."""
    splits = {split: _read_file(split, file, columns, cache_dir) for split, file in files.items()}
    return RawData(splits, {split: str(file.path) for split, file in files.items()}, (), columns)


def _read_file(name: str, file: SplitFile, columns: Columns, cache_dir: str | None) -> "Dataset":
    from datasets import Dataset, NamedSplit
    from datasets import config as datasets_config
    from datasets.exceptions import DatasetGenerationError

    columns, multi_label = columns_in(file, columns)
    try:
        return Dataset.from_generator(
            canonical_rows,
            gen_kwargs={
                "file": file,
                "columns": columns,
                "multi_label": multi_label,
                "digest": f"{__version__} {file_digest(file.path)}",
            },
            features=_features(columns, multi_label),
            cache_dir=cache_dir,
            split=NamedSplit(re.sub(r"\W", "_", name)),
        )
    except DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, OSError):
            raise _cache_error(cache_dir or str(datasets_config.HF_DATASETS_CACHE), cause) from error
        raise UserError(
            f"{file.path}: a value does not fit its column: {cause}.", "Write labels as text or numbers."
        ) from error


def columns_in(file: SplitFile, columns: Columns) -> tuple[Columns, bool]:
    """Return those of the columns that a file has, and whether its labels are lists.

    An evaluation or test file without its label or source column is read without it.

    Raises:
        UserError: a text column is missing, or the file has no rows.
    """
    names = readers.column_names(file.path, **file.reading())
    if names[:1] == [readers.UNNAMED_INDEX] and names[0] not in (*columns.text, columns.label, columns.source):
        info(f"{file.path}: the first column has no name, as pandas writes its index; it is left out.")
    _require(names, columns, str(file.path))
    label = columns.label if columns.label in names else None
    source = columns.source if columns.source in names else None
    here = Columns(columns.text, columns.text_column_delimiter, label, source, columns.clean)
    return here, _has_label_lists(file, label)


def choose_columns(names: Sequence[str], arguments: DataArguments, where: str) -> Columns:
    """Return which of a source's columns are text, label and source.

    Raises:
        UserError: a named column is not there, or the text column cannot be told.
    """
    removed = _names(arguments.remove_columns, names)
    text = _names(arguments.text_column_names, names)
    label = arguments.label_column_name or next((name for name in LABEL_COLUMNS if name in names), None)
    used = (*text, *filter(None, [arguments.label_column_name, arguments.source_column_name]))
    for column in (*used, *removed):
        if column not in names:
            raise UserError(f"{where} has no column {column!r}.", _columns_hint(column, names))
    for column in used:
        if column in removed:
            raise UserError(f"the column {column!r} is named to be read and to be removed.", "Drop one of the two.")
    names, label = [name for name in names if name not in removed], None if label in removed else label
    if not text:
        text = _guess_text(names, label, arguments, where)
    if label in text:
        raise UserError(f"the column {label!r} is named as text and as label.", f"{where} has {', '.join(names)}.")
    if len(set(text)) < len(text):
        raise UserError(f"--text_column_names has {max(text, key=text.count)!r} twice.", "Name each column once.")
    text_column_delimiter = arguments.text_column_delimiter
    if len(text) > 2 and text_column_delimiter is None:
        text_column_delimiter = " "
    return Columns(text, text_column_delimiter, label, arguments.source_column_name, tuple(arguments.clean))


def _guess_text(names: Sequence[str], label: str | None, arguments: DataArguments, where: str) -> tuple[str, ...]:
    for pair in PAIR_COLUMNS:
        if set(pair) <= set(names):
            return pair
    left = [n for n in names if n not in (label, arguments.source_column_name, readers.UNNAMED_INDEX)]
    if len(names) == 1 and set(names[0]) & set(readers.DELIMITERS):
        raise UserError(f"{where} has no text column that can be told.", _columns_hint("", names))
    known = [name for name in TEXT_COLUMNS if name in left]
    if len(known) == 1 or len(left) == 1:
        return ((known or left)[0],)
    raise UserError(
        f"{where} has the columns {', '.join(names)}: which holds the text?", "Say so with --text_column_names."
    )


def _names(given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return names one by one: `a,b` is two, as in Hugging Face's scripts, unless one is really called that."""
    known = set(known)
    return tuple(
        name for text in given for name in ([text] if text in known else (part.strip() for part in text.split(",")))
    )


def _require(names: Sequence[str], columns: Columns, where: str) -> None:
    for column in columns.text:
        if column not in names:
            raise UserError(f"{where} has no column {column!r}.", _columns_hint(column, names))


def _columns_hint(column: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"It has one, {names[0]!r}; if that is a whole line, the delimiter is another: --delimiter."
    near = did_you_mean(column, names)
    return near if near.startswith("Did") else f"It has {', '.join(names)}."


def _has_label_lists(file: SplitFile, label: str | None) -> bool:
    """Return True if the first label is a list; refuse a file without rows, which `datasets` cannot hold."""
    rows = readers.read_rows(file.path, **file.reading())
    first = next(rows, None)
    if first is None:
        raise UserError(f"{file.path} has no rows.", "Give a file with data.")
    if label is None:
        return False
    values = (row.values.get(label) for row in itertools.chain([first], rows))
    return isinstance(next((value for value in values if value is not None), None), list)


def _features(columns: Columns, multi_label: bool) -> "Features":
    from datasets import Features, List
    from datasets import Value as Type

    features: dict[str, Any] = {"idx": Type("int64"), "line": Type("int64"), "text": Type("string")}
    if columns.is_pair:
        features["text_pair"] = Type("string")
    if columns.label is not None:
        features["label"] = List(Type("string")) if multi_label else Type("string")
    if columns.source is not None:
        features["source"] = Type("string")
    return Features(features)


def _from_hub(arguments: DataArguments, cache_dir: str | None, token: str | None) -> RawData:
    from datasets import DatasetDict, load_dataset

    name = arguments.dataset_name or ""
    try:
        loaded = load_dataset(name, arguments.dataset_config_name, cache_dir=cache_dir, token=token)
    except Exception as error:  # the Hub's libraries raise a dozen types; all mean: not loaded
        raise hub.dataset_error(name, error) from error
    if not isinstance(loaded, DatasetDict):
        raise UserError(f"the data set {name} has no splits.", "Give --dataset_config_name.")
    return from_dataset_dict(kept(dict(loaded), arguments), arguments, name)


def from_dataset_dict(loaded: dict[str, "Dataset"], arguments: DataArguments, name: str) -> RawData:
    """Return the raw splits of data sets that are already in memory or on disk, labels as their names."""
    reference = loaded.get(arguments.train_split_name) or next(iter(loaded.values()))
    columns = choose_columns(reference.column_names, arguments, f"the data set {name}")
    refuse_no_text(reference.features, columns, name)
    names = class_names(reference.features, columns)
    splits = {split: canonical_split(data, columns, names) for split, data in loaded.items()}
    return RawData(splits, dict.fromkeys(splits, name), names, columns)


def refuse_no_text(features: "Features", columns: Columns, name: str) -> None:
    """Refuse a data set whose text column is known to hold lists, bytes, images or the like.

    Raises:
        UserError: so it is.
    """
    from datasets import Value as Type

    for column in columns.text:
        kind = features.get(column)
        if kind is not None and (not isinstance(kind, Type) or "binary" in kind.dtype):
            what = "bytes" if isinstance(kind, Type) else f"{type(kind).__name__} values"
            raise UserError(
                f"the data set {name}: {column!r} holds {what}, not text.",
                "Name another column with --text_column_names.",
            )


def class_names(features: "Features", columns: Columns) -> tuple[str, ...]:
    """Return the names that a class label, or a list of them, brings; a plain column has none."""
    label = features.get(columns.label or "")
    return tuple(getattr(label, "names", None) or getattr(getattr(label, "feature", None), "names", None) or ())


def canonical_values(values: dict[str, Any], columns: Columns, names: Sequence[str], index: int) -> dict[str, Any]:
    """Return row `index` of a data set in the form described at the top of this module; ids become `names`."""

    def to_name(value: Any) -> Any:
        if isinstance(value, list):
            return [to_name(item) for item in value]
        return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value

    if columns.label is not None:
        values = {**values, columns.label: to_name(values[columns.label])}
    return _canonical(values, columns, index, 0)


def canonical_split(data: "Dataset", columns: Columns, names: tuple[str, ...]) -> "Dataset":
    """Return a split of a data set in the form described at the top of this module; ids become `names`."""
    from datasets import List

    label = columns.label if columns.label in data.column_names else None
    here = Columns(columns.text, columns.text_column_delimiter, label, columns.source, columns.clean)
    multi_label = label is not None and isinstance(data.features[label], List)

    def convert(batch: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        rows = []
        for position, index in enumerate(indices):
            values = {name: column[position] for name, column in batch.items()}
            rows.append(canonical_values(values, here, names, index))
        return {name: [row[name] for row in rows] for name in rows[0]}

    with cache.cache_lock(data):
        return data.map(
            convert,
            batched=True,
            with_indices=True,
            remove_columns=data.column_names,
            features=_features(here, multi_label),
            desc="InputFormat",
        )


def rows_of(split: "Dataset", columns: Iterable[str]) -> dict[str, list[Any]]:
    """Return whole columns of a split as Python lists."""
    return {name: split[name][:] for name in columns if name in split.column_names}
