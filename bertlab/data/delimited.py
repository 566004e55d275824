"""Rows of delimited text: which delimiter, quotes and escapes a file has, and its records with their lines."""

import csv
import functools
import itertools
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from bertlab.data.data_file import (
    FASTTEXT,
    HEAD_ROWS,
    DataFile,
    Row,
    as_pandas_names,
    blank_error,
    checked,
    fasttext_error,
)
from bertlab.data.files import open_binary, open_text
from bertlab.errors import UserError

DELIMITERS = ",;\t|"
# A stray quote makes one cell of the rest of the file. A cell of more characters (four bytes each) is an error.
MAX_CELL = 1 << 26
# How many lines are searched for quotes: all, but in the largest files.
QUOTED_ROWS = 1_000_000
# The delimiter of lines that are one cell each: a NUL, which no text holds.
WHOLE_LINES = "\0"
# The line that tells Excel the delimiter.
_SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


def read(file: DataFile) -> Generator[Row]:
    """Yield the rows of delimited text, whose settings have been checked."""
    options = csv_options(file)
    with open_text(file.path, file.encoding) as stream:
        records = _records(file, stream, options)
        header = _header(file, records)
        names = as_pandas_names(header)
        named = max((i for i, name in enumerate(names, 1) if not name.startswith("Unnamed: ")), default=1)
        for line, record in records:
            if record[-1].strip() == header[-1] and _as_header(record) == header:
                if file.columns:
                    raise UserError(
                        f"{file.path}, line {line}: the file names its own columns.", "Leave out --column_names."
                    )
                if len(names) > 1:  # of another file, of which this one is made as well
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


def csv_options(file: DataFile) -> dict[str, Any]:
    """Return how `csv.reader` is to read a file, found once for each state of it."""
    file, suffix = checked(file)
    open_binary(file.path).close()
    state = file.path.stat()
    return dict(_found_options(file, suffix, (state.st_mtime_ns, state.st_size)))


@functools.lru_cache(maxsize=16)
def _found_options(file: DataFile, suffix: str, state: tuple[int, int]) -> dict[str, Any]:
    """Return the usual options, or those of a dialect with which fewer records are malformed or keep their quotes."""
    with open_text(file.path, file.encoding) as stream:
        head = list(itertools.islice(stream, HEAD_ROWS))
        has_quotes = any('"' in line for line in itertools.islice(itertools.chain(head, stream), QUOTED_ROWS))
    named = _SEP_LINE.fullmatch(head[0].strip(" \r\n"))
    usual = "\t" if suffix == ".tsv" else DELIMITERS
    delimiter = file.delimiter or (named[1] if named else _detected(head, file.quoting, len(file.columns or ()), usual))
    standard, none = {"delimiter": delimiter}, {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}
    plain_tabs = file.quoting == "auto" and suffix == ".tsv" and not (has_quotes and _is_quoted_as_csv(file, standard))
    if file.quoting == "none" or plain_tabs:
        return none
    if not has_quotes:
        return standard
    blank, backslash = {"skipinitialspace": True}, {"escapechar": "\\"}
    dialects = [standard, standard | blank, standard | backslash, standard | blank | backslash]
    if file.quoting == "auto" and delimiter == "\t":
        dialects.append(none)
    flaws = [_flaws(file, standard)]
    if flaws[0]:
        flaws += [_flaws(file, dialect) for dialect in dialects[1:]]
    return dialects[flaws.index(min(flaws))]


def _is_quoted_as_csv(file: DataFile, options: dict[str, Any]) -> bool:
    """Return True where the names stand in quotes, or all those cells do that pandas, or that Excel, would quote."""
    delimiter = options["delimiter"]
    of_pandas = '"\r\n\t' + delimiter
    of_excel = of_pandas + ","  # whatever the delimiter
    possible = {of_pandas, of_excel}
    try:
        for number, (raw, cells) in enumerate(_raw_records(file, options)):
            if not number and all(re.fullmatch('".+"', cell) for cell in raw.split(delimiter)):
                return True
            if '"' in raw:
                possible = {each for each in possible if raw == delimiter.join(_quoted(cell, each) for cell in cells)}
            elif "," in raw:
                possible.discard(of_excel)
            if not possible:
                return False
    except csv.Error:
        return False
    return True


def _quoted(cell: str, quoted_for: str) -> str:
    """Return a cell as it is written: in quotes where it holds one of some characters."""
    return cell if set(quoted_for).isdisjoint(cell) else '"' + cell.replace('"', '""') + '"'


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


def _detected(lines: list[str], quoting: str, width: int, candidates: str) -> str:
    """Return the delimiter with which most of the first records have `width` (or the header's) fields.

    Where that is one field, lines are whole, unless all others agree that a delimiter is in them.
    """

    def agreement(delimiter: str, quote: int) -> tuple[float, int]:
        try:
            reader = _reader(lines, {"delimiter": delimiter, "quoting": quote}, strict=False)
            records = [record for record in reader if any(cell.strip() for cell in record)]
        except csv.Error:
            return 0.0, 0
        if len(lines) == HEAD_ROWS:
            records = records[: max(1, len(records) - 1)]  # the last one may go on
        fields = width or (len(records[0]) if records else 1)
        if fields == 1:
            return 0.0, min(map(len, records if width else records[1:]), default=1)
        return sum(len(record) == fields for record in records) / max(1, len(records)), fields

    quotes = {"none": [csv.QUOTE_NONE], "standard": [csv.QUOTE_MINIMAL]}.get(
        quoting, [csv.QUOTE_MINIMAL, csv.QUOTE_NONE]
    )
    found = {delimiter: max(agreement(delimiter, quote) for quote in quotes) for delimiter in candidates}
    best = max(found, key=lambda delimiter: found[delimiter])
    return WHOLE_LINES if found[best] == (0.0, 1) else best


def _reader(lines: Iterable[str], options: dict[str, Any], *, strict: bool = True) -> Any:
    csv.field_size_limit(MAX_CELL)
    lines = whole_lines(lines, quoted=options.get("quoting") != csv.QUOTE_NONE)
    if "escapechar" in options:  # csv drops the backslash before any character: C:\new would be C:new
        kept = re.compile(rf'\\(["\\\r\n{re.escape(options["delimiter"])}])|\\')
        lines = (kept.sub(lambda found: found[0] if found[1] else r"\\", line) for line in lines)
    first = next(lines, "")
    # An empty line keeps the number of those after it.
    first = "\n" if _SEP_LINE.fullmatch(first.strip(" \r\n")) else first
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
    """Return the names of the columns as written: the given ones, or those in the first record that is not blank."""
    if file.columns:
        return list(file.columns)
    line, record = next((record for record in records if any(cell.strip() for cell in record[1])), (0, []))
    if not record:
        raise blank_error(file.path)
    names = _as_header(record)
    place = f"{file.path}, line {line}"
    if all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        raise UserError(f"{place}: the column names stand in quotes.", "Read quotes as such: --quoting standard.")
    if names[0].casefold().startswith(("<!doctype", "<html", "<?xml")):
        raise UserError(f"{place}: this is an HTML page, not a table.", "Fetch the file itself.")
    if names[0].startswith(FASTTEXT):
        raise fasttext_error(file.path)
    return names


def _as_header(record: list[str]) -> list[str]:
    """Return the cells of a record without blanks and byte-order marks, as the names of columns are read."""
    return [cell.strip().lstrip("\ufeff").strip() for cell in record]


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
    hint = f"{file.ragged_hint}, or quote cells that hold the delimiter."
    if len(names) == 1:
        hint = "If the first line is no header, take it out; if each line is a text, write it in double quotes."
    delimiters = [each for each in DELIMITERS if each == options["delimiter"] or any(each in name for name in names)]
    for delimiter, quoting in itertools.product(delimiters, ("none", "standard")):
        quote = {"quoting": csv.QUOTE_NONE} if quoting == "none" else {}
        if not _flaws(file, {"delimiter": delimiter, **quote}):
            hint = f"All its lines agree with --delimiter {delimiter!r} --quoting {quoting}."
            break
    return UserError(f"{file.path}, line {line}: {fields}, expected {len(names)} ({', '.join(names[:8])}).", hint)
