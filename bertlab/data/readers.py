"""Rows of labelled-data files: delimited text, JSON, JSON lines and Parquet."""

import csv
import functools
import io
import itertools
import json
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from bertlab.data.files import COMPRESSED_SUFFIXES, open_binary, open_text, zip_member
from bertlab.errors import UserError

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITED, *JSON_LINES, ".json", ".parquet")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
# What other tools keep data in, and what can run code when it is loaded.
RUNS_CODE = (".py", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".npy", ".npz", ".rds", ".rdata")
DELIMITERS = ",;\t|"

# A stray quote makes one cell of the rest of the file. So many characters of it are held (four bytes each)
# before it is an error.
MAX_CELL = 1 << 26
# How many lines a delimiter, or the keys of JSON rows, are found from.
HEAD_ROWS = 100
# How many lines the use of quotes is found from: one pass over all but the largest files.
QUOTED_ROWS = 1_000_000
# What pandas calls a column without a name, and its index in Parquet and JSON.
NO_TEXT = re.compile(r"Unnamed: \d+|__index_level_\d+__|index|level_0")
# The line that tells Excel the delimiter.
_SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# How messages call the values of JSON that are no object.
_KINDS = {"str": "a text", "list": "a list", "int": "a number", "float": "a number", "bool": "true or false"}
_PARQUET_BATCH = 1000


@dataclass(frozen=True)
class DataFile:
    """A labelled-data file and how it is written; the format follows the suffix before `.gz` or `.zip`.

    All but `path` and `encoding` is about delimited text. `delimiter` is one character; without it `.tsv` has the
    tab, and others the one of `, ; tab |` that a line `sep=;` names or the first records agree on. `quoting`
    "standard" reads double quotes as CSV does, "none" as characters (as in GLUE); "auto" is "standard", but for a
    `.tsv` that no writer of CSV has quoted. `columns` names the columns of a file without a header line. With
    `ragged_as_empty` a record of too few fields, two of which a line break within a row leaves, or of too many is a
    row of empty cells.
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

    - `.csv`, `.tsv`, `.txt`: values are text as written ("NA", "01"); blank lines are skipped, and so are empty
      fields beyond the last column. As in pandas a column without a name is called `Unnamed: 2`, and the second
      `text` is `text.1`.
    - `.jsonl`, `.ndjson`: one object a line. `.json`: a list of objects, an object with exactly one list of
      objects among its values, what pandas' `to_json` writes (but "values"), one object, or JSON lines; it is held
      in memory whole, while every other format streams. JSON's NaN and Infinity are read as floats.
    - `.parquet`: in batches of 1000 rows; ids that `datasets` wrote become the names of its class label.
    - a folder of one folder per class, a text in each `.txt`: columns `text` and `label`.

    Raises UserError at once for an unknown suffix or setting, and while reading for all that `open_text`
    refuses, too few or too many fields, a quote out of place, and broken JSON or Parquet.
    """
    if class_folders(file.path):
        return _folder_rows(file)
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


def class_folders(path: Path) -> list[Path]:
    """Return the folders of a folder that has one per class, with a text in each `.txt`, or nothing."""
    inner = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    folders = [each for each in inner if next(each.glob("*.txt"), None)]
    return folders if len(folders) > 1 else []


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


def remarks(file: DataFile) -> list[str]:
    """Return what was inferred about a delimited file and its names, beyond what its suffix says."""
    names = column_names(file)
    found = []
    if unnamed := [name for name in names if name.startswith("Unnamed: ")]:
        found.append(f"{', '.join(unnamed[:4])} had no name in the header, as pandas writes its index.")
    if not file.path.is_dir() and format_suffix(file.path) in DELIMITED:
        options = _csv_options(file)
        if file.quoting == "auto" and format_suffix(file.path) == ".tsv" and "quoting" not in options:
            found.append("cells are quoted as in CSV and read so; --quoting none keeps the quotes.")
        if options.get("skipinitialspace"):
            found.append("blanks before a cell are left out, as some stand before an opening quote.")
        if options.get("escapechar"):
            found.append("a backslash before a quote is read as its escape.")
    return found


def names_for_no_header(file: DataFile) -> list[str]:
    """Return names to try where the first line looks like data, or nothing where it looks like a header."""
    with closing(read_rows(file)) as rows:
        cells = [row.values for row in itertools.islice(rows, HEAD_ROWS)]
    names = list(cells[0]) if cells else []
    if not any(_is_data(name, [row[name] for row in cells]) for name in names):
        return []
    values = {name: [name, *(str(row[name] or "") for row in cells)] for name in names}
    text = max(names, key=lambda name: sum(map(len, values[name])))
    kinds = {name: len({*values[name]} - {""}) for name in names if name != text}
    # Of a label there are a few kinds; what is always the same comes after that.
    label = min(kinds, key=lambda name: (not 1 < kinds[name] <= max(2, len(cells) / 2), kinds[name]), default=None)
    return ["text" if n == text else "label" if n == label else f"column_{i}" for i, n in enumerate(names, 1)]


def _is_data(name: str, cells: list[Any]) -> bool:
    """Return True for a cell of the first line that is a number, a sentence, or a value of the lines below."""
    return bool(re.fullmatch(r"[+-]?\d+([.,]\d+)?", name)) or len(name.split()) > 4 or name in cells


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
    """Return a file with its settings checked, and its suffix."""
    suffix = format_suffix(file.path)
    # A shell passes '\t' on as a backslash and a t.
    delimiter = "\t" if file.delimiter in ("\\t", "tab") else file.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise UserError(f"The delimiter {delimiter!r} is not one character.", "Name one, such as ';' or 'tab'.")
    columns = file.columns
    if columns is not None:
        if suffix not in DELIMITED:
            raise UserError(f"{file.path} names its own columns.", "Leave out --column_names.")
        if "" in columns or len(set(columns)) < len(columns) or not columns:
            raise UserError(f"--column_names ({', '.join(columns)}): a name is empty or repeated.", "Name each once.")
        columns = tuple(columns)
    return replace(file, delimiter=delimiter or ("\t" if suffix == ".tsv" else None), columns=columns), suffix


def _delimited_rows(file: DataFile) -> Generator[Row]:
    options = _csv_options(file)
    with open_text(file.path, file.encoding) as stream:
        records = _records(file, stream, options)
        names = _header(file, records)
        header = names if len(names) > 1 and not file.columns else None
        named = max((i for i, name in enumerate(names, 1) if not name.startswith("Unnamed: ")), default=1)
        for line, record in records:
            if file.columns and record == names:
                raise UserError(
                    f"{file.path}, line {line}: the file names its own columns.", "Leave out --column_names."
                )
            if record == header:  # of another file, of which this one is made as well
                record = [""] * len(names)
            if len(record) > len(names) and not any(cell.strip() for cell in record[len(names) :]):
                record = record[: len(names)]
            elif named <= len(record):
                record = record + [""] * (len(names) - len(record))
            if len(record) == len(names):
                yield Row(line, dict(zip(names, [cell or None for cell in record], strict=True)))
            elif len(record) == 1 and record[0].isspace():
                continue
            elif file.ragged_as_empty:
                yield Row(line, dict.fromkeys(names))
            else:
                raise _ragged(file, line, record, names, options)


def _csv_options(file: DataFile) -> dict[str, Any]:
    """Return how `csv.reader` is to read a file, found once for each state of it."""
    file, suffix = _checked(file)
    open_binary(file.path).close()
    state = file.path.stat()
    return dict(_found_options(file, suffix, (state.st_mtime_ns, state.st_size)))


@functools.lru_cache(maxsize=16)
def _found_options(file: DataFile, suffix: str, state: tuple[int, int]) -> dict[str, Any]:
    """Return the usual options, or those of other habits if these leave fewer records ragged, torn or with quotes."""
    with open_text(file.path, file.encoding) as stream:
        head = list(itertools.islice(stream, HEAD_ROWS))
        has_quotes = any('"' in line for line in itertools.islice(itertools.chain(head, stream), QUOTED_ROWS))
    named = _SEP_LINE.fullmatch(head[0].strip())
    delimiter = file.delimiter or (named[1] if named else _detected(head, file.quoting, len(file.columns or ())))
    standard, none = {"delimiter": delimiter}, {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}
    plain_tabs = file.quoting == "auto" and suffix == ".tsv" and not (has_quotes and _is_quoted_as_csv(file, standard))
    if file.quoting == "none" or plain_tabs:
        return none
    if not has_quotes:
        return standard
    blank, backslash = {"skipinitialspace": True}, {"escapechar": "\\"}
    habits = [standard, standard | blank, standard | backslash, standard | blank | backslash]
    if file.quoting == "auto" and delimiter == "\t":
        habits.append(none)
    flaws = [_flaws(file, standard)]
    if flaws[0]:
        flaws += [_flaws(file, habit) for habit in habits[1:]]
    return habits[flaws.index(min(flaws))]


def _is_quoted_as_csv(file: DataFile, options: dict[str, Any]) -> bool:
    """Return True where the names stand in quotes, or a writer of CSV would write every quoted record as it stands."""
    try:
        for number, (raw, cells) in enumerate(_raw_records(file, options)):
            if not number and all(re.fullmatch('".+"', cell) for cell in raw.split(options["delimiter"])):
                return True
            written = io.StringIO()
            csv.writer(written, lineterminator="", **options).writerow(cells)
            if '"' in raw and written.getvalue() != raw:
                return False
    except csv.Error:
        return False
    return True


def _flaws(file: DataFile, options: dict[str, Any]) -> float:
    """Return how many records are ragged or have a cell whose quote follows a blank; infinity if `csv` refuses one."""
    blank_before_quote = re.compile(rf'(^|{re.escape(options["delimiter"])})\s+"')
    width, flaws = len(file.columns or ()), 0
    try:
        for raw, cells in _raw_records(file, options):
            width = width or len(cells)
            is_blank_read = any(cell[:1].isspace() and cell.lstrip()[:1] == '"' for cell in cells)
            flaws += bool(cells) and (len(cells) != width or bool(is_blank_read and blank_before_quote.search(raw)))
    except csv.Error:
        return float("inf")
    return flaws


def _raw_records(file: DataFile, options: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the first records of a file: as they stand, without the line end, and their cells."""
    taken: list[str] = []
    with open_text(file.path, file.encoding) as stream:
        lines = (taken.append(line) or line for line in itertools.islice(stream, QUOTED_ROWS))  # type: ignore[func-returns-value]
        for cells in _reader(lines, options):
            yield "".join(taken).rstrip("\r\n"), cells
            taken.clear()


def _detected(lines: list[str], quoting: str, width: int) -> str:
    """Return the delimiter with which most of the first records have `width` (or the header's) fields."""

    def agreement(delimiter: str, quote: int) -> tuple[float, int]:
        try:
            reader = _reader(lines, {"delimiter": delimiter, "quoting": quote}, strict=False)
            records = [record for record in reader if record]
        except csv.Error:
            return 0.0, 0
        if len(lines) == HEAD_ROWS:
            records = records[: max(1, len(records) - 1)]  # the last one may go on
        fields = width or (len(records[0]) if records else 1)
        if fields == 1:
            return 0.0, 1
        return sum(len(record) == fields for record in records) / max(1, len(records)), fields

    quotes = {"none": [csv.QUOTE_NONE], "standard": [csv.QUOTE_MINIMAL]}.get(
        quoting, [csv.QUOTE_MINIMAL, csv.QUOTE_NONE]
    )
    return max(DELIMITERS, key=lambda delimiter: max(agreement(delimiter, quote) for quote in quotes))


def _reader(lines: Iterable[str], options: dict[str, Any], *, strict: bool = True) -> Any:
    csv.field_size_limit(MAX_CELL)
    lines = whole_lines(lines, quoted=options.get("quoting") != csv.QUOTE_NONE)
    first = next(lines, "")
    # An empty line keeps the number of those after it.
    first = "\n" if _SEP_LINE.fullmatch(first.strip()) else first
    return csv.reader(itertools.chain([first], lines), strict=strict, **options)


def whole_lines(lines: Iterable[str], quoted: bool = False) -> Iterator[str]:
    """Yield lines; a lone carriage return outside quotes is a space where the first line ends otherwise."""
    held, is_end, in_quotes = "", None, False
    for line in lines:
        is_end = line.endswith("\r") if is_end is None else is_end
        in_quotes ^= quoted and line.count('"') % 2 == 1
        if line.endswith("\r") and not is_end and not in_quotes:
            held += line[:-1] + " "
        else:
            yield held + line
            held = ""
    if held:
        yield held


def _records(file: DataFile, lines: Iterable[str], options: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not a blank line, with the line it starts on."""
    reader = _reader(lines, options)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise _misquoted(file, line, reader.line_num, str(error), options) from None
        if record is None:
            return
        if record:
            yield line, record


def _header(file: DataFile, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the names of the columns: the given ones, or those in the first record that is not blank."""
    if file.columns:
        return list(file.columns)
    line, record = next((record for record in records if any(cell.strip() for cell in record[1])), (0, []))
    if not record:
        raise _blank(file.path)
    names = [cell.strip().lstrip("\ufeff").strip() for cell in record]
    place = f"{file.path}, line {line}"
    if all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        raise UserError(f"{place}: the column names stand in quotes.", "Read quotes as such: --quoting standard.")
    if names[0].casefold().startswith(("<!doctype", "<html", "<?xml")):
        raise UserError(f"{place}: this is an HTML page, not a table.", "Fetch the file itself.")
    if names[0].startswith("__label__"):
        raise UserError(
            f"{place}: this is a fastText file, whose lines begin with their label.",
            r"Make a table of it, sed -E 's/^__label__(\S+) /\1\t/' FILE > FILE.tsv, and read that with "
            "--column_names label text.",
        )
    return _as_pandas_names(names)


def _as_pandas_names(names: list[str]) -> list[str]:
    """Return names that are unique and not empty: `Unnamed: 2`, `text.1`."""
    unique: dict[str, None] = {}
    for place, name in enumerate(names):
        name = name or f"Unnamed: {place}"
        others = (f"{name}.{number}" for number in itertools.count(1))
        unique[next(each for each in itertools.chain([name], others) if each not in unique)] = None
    return list(unique)


def _misquoted(file: DataFile, start: int, end: int, reason: str, options: dict[str, Any]) -> UserError:
    if "end of data" in reason:
        what = "a double quote is opened here and never closed"
    elif "field limit" in reason:
        what = f"a cell of more than {MAX_CELL} characters starts here, as after a quote that is not closed"
    else:
        what = f"in the record that starts here, text follows a closing double quote (line {end})"
    hint = 'Write a quote within a quoted cell twice ("").'
    if not _flaws(file, options | {"quoting": csv.QUOTE_NONE}):
        hint = "Read quotes as characters: --quoting none."
    return UserError(f"{file.path}, line {start}: {what}.", hint)


def _ragged(file: DataFile, line: int, record: list[str], names: list[str], options: dict[str, Any]) -> UserError:
    fields = f"{len(record)} field{'s' * (len(record) != 1)}"
    hint = "Pass --on_missing drop to leave ragged rows out, or quote cells that hold the delimiter."
    if len(names) == 1:
        hint = "If the first line is no header, take it out."
    delimiters = [each for each in DELIMITERS if each == options["delimiter"] or any(each in name for name in names)]
    for delimiter, quoting in itertools.product(delimiters, ("none", "standard")):
        quote = {"quoting": csv.QUOTE_NONE} if quoting == "none" else {}
        if not _flaws(file, {"delimiter": delimiter, **quote}):
            hint = f"All its lines agree with --delimiter {delimiter!r} --quoting {quoting}."
            break
    return UserError(f"{file.path}, line {line}: {fields}, expected {len(names)} ({', '.join(names[:8])}).", hint)


def _blank(path: Path) -> UserError:
    return UserError(f"{path} holds only blank lines.")


def _folder_rows(file: DataFile) -> Generator[Row]:
    texts = [(folder.name, path) for folder in class_folders(file.path) for path in sorted(folder.glob("*.txt"))]
    for number, (label, path) in enumerate(texts, 1):
        text = None
        if path.stat().st_size:
            with open_text(path, file.encoding) as stream:
                text = stream.read()
        yield Row(number, {"text": text, "label": label}, "row")


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
            if is_blank and re.match(r"\s*\[\s*(\{|$)", text):
                hint = "Let its name end in .json."
                raise UserError(f"{path} is one JSON document and not an object a line.", hint)
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
    if rest and _is_object(first):
        return "line", _json_lines(path, io.StringIO(text, newline=""))
    document = _parsed(path, text, 1)
    return "row", enumerate(document if isinstance(document, list) else _document_rows(path, document), 1)


def _document_rows(path: Path, document: object) -> list[Any]:
    """Return the rows of a document that is no list; the orients are those of pandas' `to_json`."""
    values = document if isinstance(document, dict) else {}
    lists = {key: value for key, value in values.items() if _is_rows(value)}
    is_row = isinstance(values.get("text"), str)
    if not isinstance(document, dict) or (len(lists) > 1 and not is_row):
        what = f"{len(lists)} lists of objects ({', '.join(lists)})" if lists else "no list of objects"
        raise UserError(f"{path} holds {what}, expected one.", "Write one object a line, as JSON lines.")
    if lists and not is_row:
        return next(iter(lists.values()))
    if values.keys() >= {"columns", "data"}:  # orient="split"
        return [dict(zip(values["columns"], row, strict=False)) for row in values["data"]]
    inner = list(values.values())
    if inner and all(isinstance(value, list) for value in inner) and len(set(map(len, inner))) == 1:  # orient="list"
        return [dict(zip(values, row, strict=True)) for row in zip(*inner, strict=True)]
    if not inner or not all(isinstance(value, dict) for value in inner):
        return [values]
    # orient="columns" has the rows' labels within, orient="index" the columns' names.
    if any(isinstance(cell, (list, dict)) for cell in inner[0].values()) or not _are_columns(values):
        return inner
    return [{name: column.get(row) for name, column in values.items()} for row in inner[0]]


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _are_columns(document: dict[str, Any]) -> bool:
    """Return True for columns of rows rather than rows of columns: rows are numbered, or there are more of them."""
    inside = next(iter(document.values()))
    numbered = [all(key.isdecimal() for key in keys) for keys in (document, inside)]
    return numbered[1] if numbered[0] != numbered[1] else len(inside) >= len(document)


def _is_object(line: str) -> bool:
    """Return True for a line that holds an object whole."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(path: Path, text: str, line: int) -> object:
    hint = ""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        reason = f"not JSON: {error.msg} (column {error.colno})"
        if re.match(r"\s*,", text[error.pos :]) or re.search(r",\s*$", text[: error.pos]):
            reason = f"not JSON: a comma follows the last value (column {error.colno})"
            hint = "JSON lines have no comma between objects, and a list has none after its last one."
    except RecursionError:
        reason = "not readable JSON: nested too deeply"
    except ValueError as error:  # Python refuses to read an integer of more than 4300 digits
        reason = f"not readable JSON: {error}"
    raise UserError(f"{path}, line {line}: {reason}.", hint)


def _object(path: Path, where: str, item: object) -> dict[str, Any]:
    if isinstance(item, dict):
        return item
    raise UserError(
        f"{path}, {where}: {_KINDS.get(type(item).__name__, 'null')} instead of an object.",
        'Write every row as an object: {"text": …, "label": …}.',
    )


def _parquet_rows(path: Path) -> Generator[Row]:
    number = itertools.count(1)
    with _parquet(path) as parquet:
        columns = _as_pandas_names(parquet.schema_arrow.names)
        labels = _label_names(parquet.schema_arrow)
        for batch in parquet.iter_batches(batch_size=_PARQUET_BATCH):
            for values in batch.rename_columns(columns).to_pylist():
                values |= {column: to_class_name(values[column], names) for column, names in labels.items()}
                yield Row(next(number), values, "row")


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
    return {name: label["names"] for name, label in labels.items() if isinstance(label, dict) and label.get("names")}


def to_class_name(value: Any, names: Sequence[str]) -> Any:
    """Return the name of the id of a class label, or those of a list of ids, as `datasets` numbers them."""
    if isinstance(value, list):
        return [to_class_name(item, names) for item in value]
    if names and value == -1:  # what `datasets` writes where a class label is not known
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
