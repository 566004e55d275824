"""Rows of Parquet files, with the names that `datasets` or pandas gave to their classes."""

import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertlab.data.data_file import DataFile, Row, as_pandas_names
from bertlab.data.files import open_binary
from bertlab.errors import UserError

BATCH_ROWS = 1000


def read(file: DataFile) -> Generator[Row]:
    """Yield the rows of a file, in batches, with the names of class labels in place of their ids."""
    number = itertools.count(1)
    with _parquet(file.path) as parquet:
        columns = as_pandas_names(parquet.schema_arrow.names)
        labels = _label_names(parquet.schema_arrow)
        labels = {column: names for column, names in labels.items() if column not in file.indicators}
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            for values in batch.rename_columns(columns).to_pylist():
                values |= {column: to_class_name(values[column], names) for column, names in labels.items()}
                yield Row(next(number), values, "row")


def class_names(file: DataFile, column: str | None) -> tuple[str, ...]:
    """Return the class names in the order of their ids that a Parquet file brings, or nothing.

    They are those of a class label of `datasets`, or the ordered categories of pandas that a row has.

    Raises UserError when the file is damaged.
    """
    if file.path.suffix.casefold() != ".parquet" or column is None:
        return ()
    with _parquet(file.path) as parquet:
        schema = parquet.schema_arrow
        if names := _label_names(schema).get(column):
            return tuple(names)
        if column not in schema.names or not getattr(schema.field(column).type, "ordered", False):
            return ()
        labels = parquet.read(columns=[column]).column(0).unify_dictionaries()
        present = set(labels.unique().to_pylist())
        return tuple(name for name in labels.chunk(0).dictionary.to_pylist() if name in present)


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file; damage, also that found while it is read, is a UserError."""
    # Imported late: pyarrow takes 0.3 s, which reading CSV need not pay.
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with open_binary(path) as file:
            yield ParquetFile(file)
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or not Parquet: {reason}.", "Fetch or write it again.") from None


def _label_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the class labels, or lists of them, that `datasets` wrote into the metadata."""
    written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = written.get("info", {}).get("features") or {}
    labels = {name: feature.get("feature", feature) for name, feature in features.items() if isinstance(feature, dict)}
    return {
        name: label["names"]
        for name, label in labels.items()
        # A column that was taken out of a table stays in its metadata.
        if name in schema.names and isinstance(label, dict) and label.get("names")
    }


def to_class_name(value: Any, names: Sequence[str]) -> Any:
    """Return the name of the id of a class label, or those of a list of ids, as `datasets` numbers them."""
    if isinstance(value, list):
        return [to_class_name(item, names) for item in value]
    if names and value == -1:  # what `datasets` writes where a class label is not known
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
