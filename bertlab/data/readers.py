"""Rows of labelled-data files, whatever their format."""

import itertools
import re
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from bertlab.data import delimited, json_files, parquet
from bertlab.data.data_file import DELIMITED, HEAD_ROWS, DataFile, Row, checked, format_suffix
from bertlab.data.files import EmptyFileError, open_text
from bertlab.errors import UserError


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
    - a folder of one folder per class, a text in each `.txt`: columns `text` and `label`; hidden files are not read.

    Raises UserError at once for an unknown suffix or setting, and while reading for all that `open_text`
    refuses, too few or too many fields, a quote out of place, and broken JSON or Parquet.
    """
    if class_folders(file.path):
        return _folder_rows(file)
    file, suffix = checked(file)
    if suffix in DELIMITED:
        return delimited.read(file)
    return parquet.read(file) if suffix == ".parquet" else json_files.read(file, suffix)


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
    folders = [each for each in _inside(path) if any(map(_is_text, _inside(each)))]
    return folders if len(folders) > 1 else []


def class_texts(path: Path) -> list[Path]:
    """Return the texts of a folder that has one folder per class, in the order of its rows."""
    return [each for folder in class_folders(path) for each in _inside(folder) if _is_text(each)]


def _inside(folder: Path) -> list[Path]:
    """Return what is in a folder, in order, without what programs hide there: `._1.txt`, `.ipynb_checkpoints`."""
    return sorted(folder.glob("[!.]*"))


def _is_text(path: Path) -> bool:
    return path.suffix.casefold() == ".txt"


def remarks(file: DataFile) -> list[str]:
    """Return what was inferred about a delimited file and its names, or left out of a folder."""
    names = column_names(file)
    found = []
    if classes := class_folders(file.path):
        left_out = [each for each in _inside(file.path) if each.is_dir() and each not in classes]
        left_out += [each for folder in classes for each in _inside(folder) if not _is_text(each)]
        if left_out:
            listed = ", ".join(str(each.relative_to(file.path)) for each in left_out[:4])
            more = f" and {len(left_out) - 4} more" if len(left_out) > 4 else ""
            found.append(f"left out: {listed}{more}. Only .txt files directly in the folder of a class are read.")
    if unnamed := [name for name in names if name.startswith("Unnamed: ")]:
        index = ", as pandas writes its index" if unnamed == ["Unnamed: 0"] else ""
        found.append(f"{', '.join(unnamed[:4])} had no name in the header{index}.")
    if not file.path.is_dir() and format_suffix(file.path) in DELIMITED:
        options = delimited.csv_options(file)
        if file.quoting == "auto" and format_suffix(file.path) == ".tsv" and "quoting" not in options:
            found.append("cells are quoted as in CSV and read so; --quoting none keeps the quotes.")
        if options.get("skipinitialspace"):
            found.append("blanks before a cell are left out, as some stand before an opening quote.")
        if options.get("escapechar"):
            found.append(r"\" is read as a quote within a cell, and \\ as one backslash.")
    return found


def names_for_no_header(file: DataFile) -> list[str]:
    """Return names to try where the first line looks like data, or nothing where it looks like a header.

    Columns that are numbered from 0 have been given no names by pandas, which writes these numbers as the header.
    """
    if file.path.is_dir() or format_suffix(file.path) not in DELIMITED:
        return []
    with closing(read_rows(file)) as rows:
        cells = [row.values for row in itertools.islice(rows, HEAD_ROWS)]
    names = list(cells[0]) if cells else []
    named = [name for name in names if not name.startswith("Unnamed: ")]
    if named == [str(number) for number in range(len(named))]:
        return []
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


def _folder_rows(file: DataFile) -> Generator[Row]:
    for number, path in enumerate(class_texts(file.path), 1):
        text = None
        with suppress(EmptyFileError), open_text(path, file.encoding) as stream:
            text = stream.read()
        label = path.parent.name
        yield Row(number, {"text": text, "label": label}, "row", f"{label}/{path.name}")
