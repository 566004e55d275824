"""A labelled-data file and how it is written, its format, and one row of it."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from bertlab.data.files import COMPRESSED_SUFFIXES, open_binary, zip_member
from bertlab.errors import UserError

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITED, *JSON_LINES, ".json", ".parquet")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
# What other tools keep data in, and what can run code when it is loaded.
RUNS_CODE = (".py", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".npy", ".npz", ".rds", ".rdata")
# How a line of fastText's files begins, which may have any suffix.
FASTTEXT = "__label__"
# How many lines a delimiter, the keys of JSON rows, or the labels of a stream are found from.
HEAD_ROWS = 100


@dataclass(frozen=True)
class DataFile:
    """A labelled-data file and how it is written; the format follows the suffix before `.gz` or `.zip`.

    `indicators` are columns of 0 and 1, also where a Parquet file describes them as class labels; all others but `path`
    and `encoding` are about delimited text. `delimiter` is one character; without it `.tsv` has the tab, and others the
    one of `, ; tab |` that a line `sep=;` names or the first records agree on. `quoting` "standard" reads double quotes
    as CSV does, "none" as characters (as in GLUE); "auto" is "standard", except for a `.tsv` that was not quoted as CSV
    is. `columns` names the columns of a file without a header line. With `ragged_as_empty` a record of too many fields,
    or of too few (a line break within a row leaves two of these), is a row of empty cells; without, the error hints at
    `ragged_hint`.
    """

    path: Path
    delimiter: str | None = None
    quoting: str = "auto"
    columns: tuple[str, ...] | None = None
    encoding: str | None = None
    ragged_as_empty: bool = False
    ragged_hint: str = "Pass --on_missing drop to leave ragged rows out"
    indicators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One record: the place where it starts and its values by column name.

    `line` is the 1-based line of the file; where `unit` is "row" (Parquet, a JSON list), the 1-based row. A row that is
    a file of its own has its `name`.
    """

    line: int
    values: dict[str, Any]
    unit: str = "line"
    name: str = ""

    @property
    def where(self) -> str:
        """The place for messages: `line 17`, `row 17` or `pos/12.txt`."""
        return self.name or f"{self.unit} {self.line}"


def format_suffix(path: Path) -> str:
    """Return the suffix that names the format, in lower case; for `archive.zip` it is that of the file inside.

    Raises UserError when there is no reader for it, or the archive does not hold exactly one plain file.
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
        with open_binary(path) as file:  # a folder or a file that is not there has no other error than that
            if file.read(len(FASTTEXT)) == FASTTEXT.encode():
                raise fasttext_error(path)
        if suffix in SPREADSHEETS:
            raise UserError(f"{path}: no reader for spreadsheets ({suffix}).", "Save the sheet as CSV.")
        known = f"Known are {', '.join(SUFFIXES)}, text also as {' and '.join(COMPRESSED_SUFFIXES)}."
        raise UserError(f"{path}: no reader for the suffix {suffix!r}.", known)
    if suffix == ".parquet" != outer:
        raise UserError(f"{path}: Parquet is compressed within.", f"Unpack the {outer} first.")
    return suffix


def checked(file: DataFile) -> tuple[DataFile, str]:
    """Return a file with its settings checked, and its suffix."""
    suffix = format_suffix(file.path)
    # A shell passes '\t' on as a backslash and a t.
    delimiter = "\t" if file.delimiter in ("\\t", "tab") else file.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise UserError(f"the delimiter {delimiter!r} is not one character.", "Name one, such as ';' or 'tab'.")
    if file.columns is not None:
        if suffix not in DELIMITED:
            raise UserError(f"{file.path} names its own columns.", "Leave out --column_names.")
        if "" in file.columns or len(set(file.columns)) < len(file.columns):
            names = ", ".join(file.columns)
            raise UserError(f"--column_names ({names}): a name is empty or repeated.", "Name each once.")
    return replace(file, delimiter=delimiter), suffix


def as_pandas_names(names: list[str]) -> list[str]:
    """Return names that are unique and not empty: `Unnamed: 2`, `text.1`."""
    unique: dict[str, None] = {}
    for place, name in enumerate(names):
        name = name or f"Unnamed: {place}"
        others = (f"{name}.{number}" for number in itertools.count(1))
        unique[next(each for each in itertools.chain([name], others) if each not in unique)] = None
    return list(unique)


def blank_error(path: Path) -> UserError:
    """Return the error for a file without a row."""
    return UserError(f"{path} holds only blank lines.")


def fasttext_error(path: Path) -> UserError:
    """Return the error for a file of fastText's, with the command that makes a table of it."""
    return UserError(
        f"{path} is a fastText file, whose lines begin with their label.",
        r"Make a table of it, sed -E 's/^__label__(\S+) /\1\t/' FILE > FILE.tsv, and read that with "
        "--column_names label text.",
    )
