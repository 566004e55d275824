"""Which columns of a source are text and label, and rows that look alike whatever the source.

Every row becomes:

    idx        int64           its number in the split, from 0: the order of predictions
    line       int64           where it stands in its file, for messages: line 7 is 7, row 7 is -7 (0 on the Hub)
    text       string          the first segment, None where it is missing
    text_pair  string          the second segment, in pair tasks only
    label      string          the label as written, None where there is none; a list in multi-label data
    source     string          what the report breaks scores down by, where it is named
    group      string          what the row belongs to, such as a patient, where it is named
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from numbers import Number
from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import DataArguments
from bertlab.data.delimited import DELIMITERS
from bertlab.data.label_text import ZERO_ONE, as_whole, is_no_gold
from bertlab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Features

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
# What pandas calls a column without a name, and its index in Parquet and JSON.
NO_TEXT = re.compile(r"Unnamed: \d+|__index_level_\d+__|index|level_0")
# Values that can be written in one way only; what messages call others.
SCALARS = (str, Number, date, time, timedelta)
_KINDS = {"list": "a list", "dict": "a nested object", "bytes": "bytes"}


@dataclass(frozen=True)
class Columns:
    """Which columns of a source are read, how the text is joined and cleaned, and whether labels are lists."""

    text: tuple[str, ...]
    text_column_delimiter: str | None = None
    label: str | None = None
    source: str | None = None
    group: str | None = None
    clean: tuple[str, ...] = ()
    multi_label: bool = False
    indicators: tuple[str, ...] = ()  # columns of 0 and 1, one for each class; `label` is the first
    unread: tuple[str, ...] = ()  # the source's other columns
    guessed: tuple[str, ...] = ()  # those of text and label that nobody has named, and that must not be there twice

    @property
    def is_pair(self) -> bool:
        """True where a row has two texts, which stay two segments."""
        return len(self.text) == 2 and self.text_column_delimiter is None

    @property
    def read(self) -> tuple[str | None, ...]:
        """The source's columns that are read."""
        return (*self.text, *self.indicators, self.label, self.source, self.group)

    def present_in(self, names: Sequence[str], where: str) -> "Columns":
        """Return the columns as a split has them: text, label, source, group where it has them; Text is taken for text.

        Raises:
            UserError: a text column, or one of several label columns, is missing, or it is not clear which one is read.
        """

        def find(column: str | None) -> str | None:
            """Return what the split calls a column, None where it has none."""
            return next(iter(find_columns([column] if column else [], names)), None)

        text, label = [find(column) or column for column in self.text], find(self.label)
        require_columns((*text, *(self.indicators if any(map(find, self.indicators)) else ())), names, where)
        for name in filter(None, map(find, self.guessed)):
            if f"{name}.1" in names:
                flag, all_named = ("text_column_names", text) if name in text else ("label_column_name", [name])
                raise UserError(
                    f"{where} has two columns {name!r}; the second is called '{name}.1'.",
                    f"Name the one to read: --{flag} {' '.join(all_named)}.",
                )
        return replace(self, text=tuple(text), label=label, source=find(self.source), group=find(self.group))

    def features(self) -> "Features":
        """Return the types of the columns of a split."""
        from datasets import Features, List, Value

        text = Value("string")
        features: dict[str, Any] = {"idx": Value("int64"), "line": Value("int64"), "text": text}
        if self.is_pair:
            features["text_pair"] = text
        if self.label is not None:
            features["label"] = List(text) if self.multi_label or self.indicators else text
        features |= {name: text for name in ("source", "group") if getattr(self, name) is not None}
        return Features(features)

    def row(self, values: dict[str, Any], index: int, line: int, place: str) -> dict[str, Any]:
        """Return row number `index` in the form described at the top of this module.

        Raises:
            UserError: a cell holds no text, or labels are lists in some rows only.
        """
        cells = (cell_text(values.get(name), f"{place}: {name!r}") for name in self.text)
        texts = [text if text.strip() else None for text in (clean_text(cell, self.clean) for cell in cells)]
        row: dict[str, Any] = {"idx": index, "line": line}
        if self.is_pair:
            row["text"], row["text_pair"] = texts
        else:
            delimiter = " " if self.text_column_delimiter is None else self.text_column_delimiter
            row["text"] = delimiter.join(text for text in texts if text) or None
        if self.indicators and self.label is not None:
            row["label"] = indicated_labels({name: values.get(name) for name in self.indicators}, place)
        elif self.label is not None:
            written = values.get(self.label)
            row["label"] = label_text(written, f"{place}: {self.label!r}")
            if row["label"] is not None and isinstance(row["label"], list) != self.multi_label:
                raise UserError(
                    f"{place}: the label {written!r} does not fit the first row's.", "Labels must be all lists or none."
                )
        for name in ("source", "group"):
            if (column := getattr(self, name)) is not None:
                row[name] = as_whole(cell_text(values.get(column), f"{place}: {column!r}").strip())
        return row


def label_text(value: Any, place: str) -> str | list[str] | None:
    """Return a label as written: 1, 1.0 and "1" are the same label, and an empty cell is none.

    Raises:
        UserError: the value is not a text, a number or a list of them.
    """
    if isinstance(value, (list, tuple)):
        return [text for item in value if (text := _scalar_label(item, place)) is not None]
    return _scalar_label(value, place)


def indicated_labels(cells: dict[str, Any], place: str) -> list[str] | None:
    """Return the names of the columns that hold 1, or None where every one is empty or -1.

    Raises:
        UserError: a cell is neither 0 nor 1.
    """
    written = {name: label_text(value, f"{place}: {name!r}") for name, value in cells.items()}
    if all(value is None or is_no_gold(value) for value in written.values()):
        return None
    for name, value in written.items():
        if str(value).casefold() not in ZERO_ONE:
            raise UserError(
                f"{place}: {name!r} is {repr(value) if value else 'empty'}, neither 0 nor 1.",
                "Several --label_column_name are columns of 0 and 1.",
            )
    return [name for name, value in written.items() if ZERO_ONE[str(value).casefold()]]


def _scalar_label(value: Any, place: str) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return cell_text(value, place).strip() or None


def clean_text(text: str, steps: Sequence[str]) -> str:
    """Return a text after the `steps` of --clean."""
    if "html" in steps:
        text = html.unescape(TAG.sub(" ", text))
    if "whitespace" in steps:
        text = " ".join(text.split())
    return text


def cell_text(value: Any, place: str) -> str:
    """Return a cell as text; an empty cell, which some writers of JSON and Parquet turn into NaN, is empty.

    Raises:
        UserError: it holds a list, an object, bytes, or half of a surrogate pair.
    """
    if value is None or value != value:
        return ""
    if not isinstance(value, SCALARS):
        what = _KINDS.get(type(value).__name__, f"{type(value).__name__} values")
        raise UserError(f"{place} holds {what}, not text.", "Write one text in each row, or name another column.")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{place} holds half of a surrogate pair, which is no character.") from None
    return text


def choose_columns(names: Sequence[str], arguments: DataArguments, where: str) -> Columns:
    """Return which of a source's columns are text, label, source and group.

    Raises:
        UserError: a named column is not there, or the text column is not clear.
    """
    removed = split_names(arguments.remove_columns, names)
    text = split_names(arguments.text_column_names, names)
    labels = split_names(arguments.label_column_name, names)
    others = tuple(filter(None, [arguments.source_column_name, arguments.group_column]))
    used = (*text, *labels, *others)
    require_columns((*used, *removed), names, where)
    for flag, columns in (("text_column_names", text), ("label_column_name", labels)):
        if len(set(columns)) < len(columns):
            raise UserError(f"--{flag} has {max(columns, key=columns.count)!r} twice.", "Name each column once.")
    for column in used:
        if column in removed:
            raise UserError(f"the column {column!r} is named to be read and to be removed.", "Drop one of the two.")
    names = [name for name in names if name not in removed]
    label = next(iter(labels or find_columns(LABEL_COLUMNS, names)), None)
    guessed = [] if labels or label is None else [label]
    if not text:
        text = _guess_text([name for name in names if name not in labels[1:]], label, arguments, where)
        guessed += text
    for column in {*labels, label or ""} & set(text):
        raise UserError(f"the column {column!r} is named as text and as label.", f"{where} has {', '.join(names)}.")
    joined_by = arguments.text_column_delimiter
    if len(text) > 2 and joined_by is None:
        joined_by = " "
    indicators = labels if len(labels) > 1 else ()
    read = {*text, *labels, label, *others}
    unread = tuple(name for name in names if name not in read and not NO_TEXT.fullmatch(name))
    kept = arguments.source_column_name, arguments.group_column, tuple(arguments.clean)
    single = tuple(name for name in guessed if f"{name}.1" not in removed)
    found = Columns(text, joined_by, label, *kept, indicators=indicators, unread=unread, guessed=single)
    return found.present_in(names, where)


def require_columns(columns: Iterable[str], names: Sequence[str], where: str) -> None:
    """Raise UserError for a column that is not among the `names` of a source."""
    for column in columns:
        if column not in names:
            raise UserError(f"{where} has no column {column!r}.", _columns_hint(column, names))


def find_columns(wanted: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the wanted columns that are there, in that order; Text is taken for text where no other column is."""
    called = {name.casefold(): name for name in names} | {name: name for name in names}
    found = (called.get(name, called.get(name.casefold())) for name in wanted)
    return [name for name in found if name is not None]


def _guess_text(names: Sequence[str], label: str | None, arguments: DataArguments, where: str) -> tuple[str, ...]:
    for pair in PAIR_COLUMNS:
        if len(found := find_columns(pair, names)) == 2:
            return found[0], found[1]
    if len(names) == 1 and set(names[0]) & set(DELIMITERS):
        raise UserError(f"{where} has no column that is clearly text.", _columns_hint("", names))
    known = (label, arguments.source_column_name, arguments.group_column)
    left = [n for n in names if n not in known and not NO_TEXT.fullmatch(n)]
    usual = find_columns(TEXT_COLUMNS, left)
    if len(usual) == 1 or len(left) == 1:
        return ((usual or left)[0],)
    raise UserError(
        f"{where} has the columns {', '.join(names)}: which holds the text?", "Name it with --text_column_names."
    )


def split_names(given: Iterable[str], present: Iterable[str]) -> tuple[str, ...]:
    """Return names one by one: `a,b` is two, as in Hugging Face's scripts, unless one is really called that."""
    present = set(present)
    parts = ([text] if text in present else [part.strip() for part in text.split(",")] for text in given)
    return tuple(name for names in parts for name in names if name or len(names) == 1)


def _columns_hint(column: str, names: Sequence[str]) -> str:
    if len(names) == 1 and not names[0].isidentifier():
        return f"It has one, {names[0]!r}; if that is a whole line, the delimiter is another: --delimiter."
    near = did_you_mean(column, names)
    return near if near.startswith("Did") else f"It has {', '.join(names)}."
