"""Rows of labelled-data files: delimited text, JSON, JSON lines and Parquet."""

import csv
import io
import itertools
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TextIO

from bertlab.data.files import COMPRESSED_SUFFIXES, open_binary, open_text, zip_member
from bertlab.errors import UserError

if TYPE_CHECKING:
    from _csv import Reader

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITED, *JSON_LINES, ".json", ".parquet")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
# What other tools keep data in, and what can run code when it is loaded.
RUNS_CODE = (".py", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".npy", ".npz", ".rds", ".rdata")
DELIMITERS = ",;\t|"
QUOTINGS = ("auto", "none", "standard")

# A stray quote makes one cell of the rest of the file. So many characters of it are held (four bytes each)
# before it is an error.
MAX_CELL = 1 << 26
# How many lines a delimiter, or the keys of JSON rows, are found from.
HEAD_ROWS = 100
# What pandas calls the index column that it writes without a name.
UNNAMED_INDEX = "Unnamed: 0"
# How messages call the values of JSON that are no object.
_KINDS = {"str": "a text", "list": "a list", "int": "a number", "float": "a number", "bool": "true or false"}
_PARQUET_BATCH = 1000


@dataclass(frozen=True)
class DataFile:
    """A labelled-data file and how it is written; the format follows the suffix before `.gz` or `.zip`.

    All but `path` and `encoding` is about delimited text. `delimiter` is one character; without it `.tsv` has the
    tab, and others the one of `, ; tab |` that the first records agree on. `quoting` "standard" reads double quotes
    as CSV does, "none" as characters (as in GLUE), "auto" is "none" for `.tsv` and "standard" for the others.
    `columns` names the columns of a file without a header line. With `ragged_as_empty` a record of too few fields,
    two of which a line break within a row leaves, is a row of empty cells.
    """

    path: Path
    delimiter: str | None = None
    quoting: str = "auto"
    columns: tuple[str, ...] | None = None
    encoding: str | None = None
    ragged_as_empty: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One record: the place where it starts and its values by column name.

    `line` is the 1-based line of the file; where `unit` is "row" (Parquet, a JSON list), the 1-based row.
    """

    line: int
    values: dict[str, Any]
    unit: str = "line"

    @property
    def where(self) -> str:
        """The place for messages: `line 17` or `row 17`."""
        return f"{self.unit} {self.line}"


def read_rows(file: DataFile) -> Generator[Row]:
    """Yield the rows of a file in order; every name that `column_names` returns is a key of every row.

    None is an empty cell or a missing key.

    - `.csv`, `.tsv`, `.txt`: values are text as written ("NA", "01"); blank lines are skipped. A first column
      without a name is called `Unnamed: 0`.
    - `.jsonl`, `.ndjson`: one object a line. `.json`: a list of objects, an object with exactly one list of
      objects among its values, or JSON lines; it is held in memory whole, while every other format streams.
      JSON's NaN and Infinity are read as floats.
    - `.parquet`: in batches of 1000 rows.

    Raises UserError at once for an unknown suffix or setting, and while reading for all that `open_text`
    refuses, too few or too many fields, a quote out of place, a missing or repeated column name, and broken JSON
    or Parquet.
    """
    file, suffix = _checked(file)
    if suffix in DELIMITED:
        return _delimited_rows(file)
    return _parquet_rows(file.path) if suffix == ".parquet" else _json_rows(file, suffix)


def column_names(file: DataFile) -> list[str]:
    """Return the column names of a file: those of its header, or the keys of its first rows.

    Raises UserError when it has no rows, and for what `read_rows` refuses and the first rows show.
    """
    with closing(read_rows(file)) as rows:
        first = next(rows, None)
    if first is None:
        raise UserError(f"{file.path} has no rows.", "Give a file with data.")
    return list(first.values)


def format_suffix(path: Path) -> str:
    """Return the suffix that names the format, in small letters; for `archive.zip` it is that of the file inside.

    Raises UserError when no reader has it, or the archive holds not exactly one plain file.
    """
    suffix = outer = path.suffix.casefold()
    if outer in COMPRESSED_SUFFIXES:
        suffix = Path(path.stem).suffix.casefold()
        if outer == ".zip" and suffix not in SUFFIXES:
            suffix = PurePosixPath(zip_member(path)).suffix.casefold()
    if suffix in RUNS_CODE:
        raise UserError(
            f"{path} is a script or a pickle; opening one can run any code, so none is opened.",
            f"Save the rows as {', '.join(SUFFIXES)}.",
        )
    if suffix not in SUFFIXES:
        open_binary(path).close()  # a folder or a file that is not there has no other error than that
        if suffix in SPREADSHEETS:
            raise UserError(f"{path}: no reader for spreadsheets ({suffix}).", "Save the sheet as CSV.")
        known = f"Known are {', '.join(SUFFIXES)}, text also as {' and '.join(COMPRESSED_SUFFIXES)}."
        raise UserError(f"{path}: no reader for the suffix {suffix!r}.", known)
    if suffix == ".parquet" != outer:
        raise UserError(f"{path}: Parquet is compressed within.", f"Unpack the {outer} first.")
    return suffix


def _checked(file: DataFile) -> tuple[DataFile, str]:
    """Return a file with its settings checked and "auto" resolved, and its suffix."""
    suffix = format_suffix(file.path)
    # A shell passes '\t' on as a backslash and a t.
    delimiter = "\t" if file.delimiter in ("\\t", "tab") else file.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise UserError(f"The delimiter {delimiter!r} is not one character.", "Name one, such as ';' or 'tab'.")
    if file.columns is not None:
        _refuse_names(f"The given columns ({', '.join(file.columns)})", file.columns, "Name each column once.")
        if suffix not in DELIMITED:
            raise UserError(f"{file.path} names its own columns.", "Give columns only for delimited text.")
    tabs = suffix == ".tsv"
    quoting = ("none" if tabs else "standard") if file.quoting == "auto" else file.quoting
    return replace(file, delimiter=delimiter or ("\t" if tabs else None), quoting=quoting), suffix


def _refuse_names(place: str, names: Sequence[str], hint: str) -> None:
    """Raise UserError when there is no name, an empty one, or one twice."""
    if "" in names or not names:
        raise UserError(f"{place}: column {list(names).index('') + 1 if names else 1} has no name.", hint)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{place}: the column name {repeated[0]!r} stands there more than once.", hint)


def _delimited_rows(file: DataFile) -> Generator[Row]:
    with open_text(file.path, file.encoding) as stream:
        head = list(itertools.islice(stream, HEAD_ROWS))
        delimiter = file.delimiter or _detected(head, file.quoting, len(file.columns or ()))
        records = _records(file, itertools.chain(head, stream), delimiter)
        names = list(file.columns or _header(file.path, records))
        for line, record in records:
            if len(record) == len(names):
                yield Row(line, dict(zip(names, [cell or None for cell in record], strict=True)))
            elif len(record) == 1 and record[0].isspace():
                continue
            elif file.ragged_as_empty and len(record) < len(names):
                yield Row(line, dict.fromkeys(names))
            else:
                raise _ragged(file, line, record, names, delimiter)


def _detected(lines: list[str], quoting: str, width: int) -> str:
    """Return the delimiter with which most of the first records have `width` (or the header's) fields."""

    def agreement(delimiter: str) -> tuple[float, int]:
        try:
            records = [record for record in _reader(lines, delimiter, quoting, strict=False) if record]
        except csv.Error:
            return 0.0, 0
        records = records[: max(1, len(records) - 1)]  # the last one may go on
        fields = width or (len(records[0]) if records else 1)
        if fields == 1:
            return 0.0, 1
        return sum(len(record) == fields for record in records) / max(1, len(records)), fields

    return max(DELIMITERS, key=agreement)


def _reader(lines: Iterable[str], delimiter: str, quoting: str, strict: bool) -> "Reader":
    csv.field_size_limit(MAX_CELL)
    if quoting == "none":
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)
    return csv.reader(lines, delimiter=delimiter, strict=strict)


def _records(file: DataFile, lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not a blank line, with the line it starts on."""
    reader = _reader(lines, delimiter, file.quoting, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise _misquoted(file.path, line, reader.line_num, str(error)) from None
        if record is None:
            return
        if record:
            yield line, record


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the names in the first record that is not blank."""
    line, record = next((record for record in records if any(cell.strip() for cell in record[1])), (0, []))
    if not record:
        raise _blank(path)
    names = [cell.strip().lstrip("\ufeff").strip() for cell in record]
    place = f"{path}, line {line}"
    if all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        raise UserError(f"{place}: the column names stand in quotes.", "Read quotes as such: --quoting standard.")
    if names[0].casefold().startswith(("<!doctype", "<html", "<?xml")):
        raise UserError(f"{place}: this is an HTML page, not a table.", "Fetch the file itself.")
    if names[0] == "" and len(names) > 1:
        names[0] = UNNAMED_INDEX
    _refuse_names(place, names, "Give every column of the header line a name of its own.")
    return names


def _misquoted(path: Path, start: int, end: int, reason: str) -> UserError:
    if "end of data" in reason:
        what = "a double quote is opened here and never closed"
    elif "field limit" in reason:
        what = f"a cell of more than {MAX_CELL} characters starts here, as after a quote that is not closed"
    else:
        what = f"in the record that starts here, text follows a closing double quote (line {end})"
    return UserError(
        f"{path}, line {start}: {what}.",
        'Write a quote within a quoted cell twice (""), or read quotes as characters: --quoting none.',
    )


def _ragged(file: DataFile, line: int, record: list[str], names: list[str], delimiter: str) -> UserError:
    other = "none" if file.quoting == "standard" else "standard"
    fields = f"{len(record)} field{'s' * (len(record) != 1)}"
    drop = " In training --on_missing drop leaves ragged rows out." if len(record) < len(names) else ""
    return UserError(
        f"{file.path}, line {line}: {fields}, expected {len(names)} ({', '.join(names[:8])}).",
        f"It was read with --delimiter {delimiter!r} --quoting {file.quoting}; try another or --quoting {other}.{drop}",
    )


def _blank(path: Path) -> UserError:
    return UserError(f"{path} holds only blank lines.")


def _json_rows(file: DataFile, suffix: str) -> Generator[Row]:
    path = file.path
    with open_text(path, file.encoding) as stream:
        unit, items = ("line", _json_lines(path, stream)) if suffix in JSON_LINES else _json_file(path, stream)
        rows = (Row(line, _object(path, f"{unit} {line}", item), unit) for line, item in items)
        head = list(itertools.islice(rows, HEAD_ROWS))
        missing: dict[str, Any] = dict.fromkeys(key for row in head for key in row.values)
        for row in itertools.chain(head, rows):
            yield Row(row.line, {**missing, **row.values}, unit)


def _json_lines(path: Path, stream: Iterable[str]) -> Iterator[tuple[int, object]]:
    is_blank = True
    for line, text in enumerate(stream, 1):
        if text.strip():
            is_blank = False
            # Without its line end: an object that is cut off ends on this line, not on the next.
            yield line, _parsed(path, text.rstrip(), line)
    if is_blank:
        raise _blank(path)


def _json_file(path: Path, stream: TextIO) -> tuple[str, Iterable[tuple[int, object]]]:
    """Return the unit and the numbered items of a `.json` file: JSON lines or one document."""
    text = stream.read()
    if not text.strip():
        raise _blank(path)
    first, _, rest = text.strip().partition("\n")
    record = _object_in(first)
    if record is not None and (rest or not _lists_of_objects(record)):
        return "line", _json_lines(path, io.StringIO(text, newline=""))
    document = _parsed(path, text, 1)
    if isinstance(document, list):
        return "row", enumerate(document, 1)
    lists = _lists_of_objects(document) if isinstance(document, dict) else {}
    if len(lists) != 1:
        what = f"{len(lists)} lists of objects ({', '.join(lists)})" if lists else "no list of objects"
        raise UserError(f"{path} holds {what}, expected one.", "Write one object a line, as JSON lines.")
    return "row", enumerate(next(iter(lists.values())), 1)


def _object_in(line: str) -> dict[str, Any] | None:
    """Return the object that a line holds whole, or None."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lists_of_objects(document: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        key: value
        for key, value in document.items()
        if isinstance(value, list) and all(isinstance(item, dict) for item in value)
    }


def _parsed(path: Path, text: str, line: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}, line {line + error.lineno - 1}"
        raise UserError(f"{place}: not JSON: {error.msg} (column {error.colno}).") from None
    except RecursionError:
        raise UserError(f"{path}, line {line}: not readable JSON: nested too deeply.") from None
    except ValueError as error:
        # Python refuses to read an integer of more than 4300 digits.
        raise UserError(f"{path}, line {line}: not readable JSON: {error}.") from None


def _object(path: Path, where: str, item: object) -> dict[str, Any]:
    if isinstance(item, dict):
        return item
    raise UserError(
        f"{path}, {where}: {_KINDS.get(type(item).__name__, 'null')} instead of an object.",
        'Write every row as an object: {"text": …, "label": …}.',
    )


def _parquet_rows(path: Path) -> Generator[Row]:
    # Imported late: pyarrow takes 0.3 s, which reading CSV need not pay.
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = itertools.count(1)
    try:
        with open_binary(path) as file:
            parquet = ParquetFile(file)
            _refuse_names(str(path), parquet.schema_arrow.names, "Write the file again with one name a column.")
            for batch in parquet.iter_batches(batch_size=_PARQUET_BATCH):
                for values in batch.to_pylist():
                    yield Row(next(number), values, "row")
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or not Parquet: {reason}.", "Fetch or write it again.") from None
