"""Rows of JSON lines and of the JSON documents that programs write, pandas' orients among them."""

import io
import itertools
import json
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from bertlab.data.data_file import HEAD_ROWS, JSON_LINES, DataFile, Row, blank_error
from bertlab.data.files import open_text
from bertlab.errors import UserError

# What messages call the values of JSON that are not objects.
_KINDS = {"str": "a text", "list": "a list", "int": "a number", "float": "a number", "bool": "true or false"}


def read(file: DataFile, suffix: str) -> Generator[Row]:
    """Yield the objects of a file as rows; the first rows say which keys there are."""
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
        raise blank_error(path)


def _json_file(path: Path, stream: TextIO) -> tuple[str, Iterable[tuple[int, object]]]:
    """Return the unit and the numbered items of a `.json` file: JSON lines or one document."""
    text = stream.read()
    if not text.strip():
        raise blank_error(path)
    first, _, rest = text.strip().partition("\n")
    if rest and _is_object(first):
        return "line", _json_lines(path, io.StringIO(text, newline=""))
    document = _parsed(path, text, 1)
    return "row", enumerate(document if isinstance(document, list) else _document_rows(path, document), 1)


def _document_rows(path: Path, document: object) -> list[Any]:
    """Return the rows of a document that is not a list; the orients are those of pandas' `to_json`."""
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
