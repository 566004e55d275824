"""The texts or pairs that `predict` is given: words of the command line, lines of text, or the columns of a table."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertlab.cli.arguments import DataArguments, setting
from bertlab.cli.flag_rules import Rule
from bertlab.console import info, warning
from bertlab.data import delimited, readers, sources
from bertlab.data.columns import (
    LABEL_COLUMNS,
    NO_TEXT,
    PAIR_COLUMNS,
    TEXT_COLUMNS,
    Columns,
    cell_text,
    find_columns,
    split_names,
)
from bertlab.data.data_file import DELIMITED, DataFile, format_suffix
from bertlab.data.files import open_binary, open_text, standard_input
from bertlab.errors import UserError
from bertlab.inference.inference_config import InputFormat
from bertlab.inference.predictor import Row


@dataclass
class PredictArguments:
    """Which model predicts, what it reads, and how that is printed."""

    model: str = setting(
        None, "a folder of a run, a model or an ONNX export; package:…/path; a Hub name", positional=True
    )
    text: list[str] = setting([], "texts to label", repeatable=True)
    pair: list[str] = setting([], "a pair to label: two texts; may be repeated", count=2, repeatable=True)
    file: str = setting("-", "one text a line, or CSV, TSV, JSON lines, Parquet; - is standard input")
    pairs: bool = setting(False, "lines of --file are two texts with a tab between")
    rank: str | None = setting(None, "rank the lines of --file as continuations of this text")
    text_column_names: list[str] = setting([], "columns of --file (default: as trained)")
    column_names: list[str] = setting([], "names of the columns of a CSV or TSV file without a header line")
    on_missing: Literal["empty", "error"] = setting(
        "empty", "empty: a row without text, or a ragged one, has an empty prediction; error: stop there"
    )
    abstain_below: float = setting(
        0.0,
        "leave a prediction empty where its class has a lower probability; says how many of the run's own that keeps",
        minimum=0,
        maximum=1,
    )
    format: Literal["jsonl", "table", "tsv"] = setting("table", "how to print")
    max_seq_length: int | None = setting(None, "longest input in tokens (default: as trained)")
    delimiter: str | None = setting(None, "field delimiter of --file")
    text_column_delimiter: str | None = setting(
        None, "join the columns with this into one text (default: as trained)", may_be_empty=True
    )
    quoting: Literal["auto", "none", "standard"] | None = setting(
        None, "how --file uses double quotes (default: as trained)"
    )
    encoding: str | None = setting(None, "text encoding of --file or standard input")
    model_revision: str = setting("main", "branch, tag or commit of the model on the Hub")
    token: str | None = setting(None, "access token for the Hub")
    trust_remote_code: bool = setting(False, "allow code from the model's repository to run on this machine")


OF_TABLES = "--text_column_names --text_column_delimiter --column_names --delimiter --quoting"
RULES = (
    Rule(OF_TABLES, "requires", "--file", "only a file has columns", "Save a table and name it with --file."),
    Rule("--text", "conflicts with", "--pair --rank --file --pairs", "only one of them can be read"),
    Rule("--pair", "conflicts with", "--rank --file --pairs", "only one of them can be read"),
    Rule("--rank", "conflicts with", "--pairs --format jsonl tsv", "it pairs one text with each line, as a table"),
    Rule("--rank", "conflicts with", "--abstain_below", "it prints every candidate"),
)


def check_texts(options: PredictArguments) -> None:
    """Refuse a typed text without content, or one that is not text.

    Raises:
        UserError: there is one.
    """
    typed = {"text": options.text, "pair": options.pair, "rank": [] if options.rank is None else [options.rank]}
    for name, texts in typed.items():
        for text in texts:
            if not text.strip():
                raise UserError(f"--{name}: {text!r} is no text.", "Give one with words in it.")
            if not is_text(text):
                raise UserError(f"--{name}: {text[:60]!a} holds bytes that are no text.", "Write it in UTF-8.")


def is_text(value: object) -> bool:
    """Return True for a text, False for another type and for one with half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_table(options: PredictArguments) -> bool:
    """Return True where --file has columns: by its suffix, or because columns are named.

    Raises:
        UserError: there is no reader for the file, or a flag is for lines of text.
    """
    if options.file == "-":
        return False
    path = Path(options.file)
    if readers.class_folders(path) and not (options.pairs or options.rank):
        return True
    open_binary(path).close()
    suffix = _suffix(path)
    lines = ("", ".txt", ".tsv") if options.pairs else ("", ".txt")
    if suffix in lines and not (options.text_column_names or options.delimiter or options.column_names):
        return False
    if options.pairs or options.rank:
        flag = "--pairs" if options.pairs else "--rank"
        raise UserError(
            f"{flag} reads lines of text, and {path} is a table.",
            "Leave it out and name the columns with --text_column_names; --column_names where there is no header."
            if options.pairs
            else "Give one candidate a line.",
        )
    return True


def is_trained_table(options: PredictArguments, input_format: InputFormat) -> bool:
    """Return True for a .txt of rows, whose first line has the names of the text columns."""
    path = Path(options.file)
    if options.file == "-" or options.pairs or options.rank is not None or _suffix(path) != ".txt":
        return False
    with open_text(path, options.encoding) as stream:
        return _is_header(next(stream), input_format)


def _suffix(path: Path) -> str:
    """Return the suffix that names the format of a file, packed or not; nothing where it has none."""
    inner = Path(path.stem) if path.suffix.casefold() == ".gz" else path
    return inner.suffix and format_suffix(path)


def _is_header(line: str, input_format: InputFormat) -> bool:
    """Return True for a line with the names of the text columns of the training, or usual ones."""
    names = {cell.strip(' "') for cell in re.split(r"[,;\t|]", line.strip())}
    usual = (*((name,) for name in TEXT_COLUMNS), *PAIR_COLUMNS)
    trained = input_format.text_column_names
    return any(names.issuperset(columns) for columns in ((trained,) if trained else usual))


def is_delimited(options: PredictArguments) -> bool:
    """Return True for a table whose rows may have too few or too many fields."""
    path = Path(options.file)
    return not path.is_dir() and format_suffix(path) in DELIMITED


def columns(options: PredictArguments, input_format: InputFormat) -> Columns:
    """Return the text columns of a table: the named ones, else those of the training, else the usual ones.

    Raises:
        UserError: a named column is missing, or the text column is ambiguous.
    """
    file = _table(options, input_format)
    names = readers.column_names(file)
    for remark in readers.remarks(file):
        info(f"{file.path}: {remark}")
    trained = split_names(input_format.text_column_names, names)
    present = find_columns(trained, names)
    delimiter, source = options.text_column_delimiter, input_format.source_column_name
    # Of two columns of one usual name neither is read here, so that neither need be named.
    labels = find_columns(input_format.label_column_name, names) or find_columns(LABEL_COLUMNS, names)[:1]
    arguments = DataArguments(
        text_column_names=options.text_column_names or (present if len(present) == len(trained) else []),
        text_column_delimiter=input_format.text_column_delimiter if delimiter is None else delimiter,
        label_column_name=labels,
        source_column_name=source if source in names else None,
    )
    chosen = sources.columns_of_file(file, arguments)
    named = [name for name in names if not NO_TEXT.fullmatch(name)]
    taken = " and ".join(repr(name[:60]) for name in chosen.text)
    usual = () if trained and len(named) > 1 else (*TEXT_COLUMNS, *itertools.chain(*PAIR_COLUMNS))
    if arguments.text_column_names or {*map(str.casefold, chosen.text)} <= {*map(str.casefold, (*trained, *usual))}:
        return chosen
    if len(named) == 1 and is_delimited(options):
        warning(
            f"{options.file}: its first line, {taken}, is taken for the name of the one column. A file of texts "
            "without names has the suffix .txt."
        )
    else:
        missing = f"there is no column {' and '.join(map(repr, trained))}" if trained else "no column has a usual name"
        warning(
            f"{options.file}: {missing}, so {taken} is taken for the text. If that is wrong, name another column with "
            "--text_column_names, or give another file."
        )
    return chosen


def check_pairs(pairs: bool, model: str, input_format: InputFormat, give_pairs: str, give_texts: str) -> None:
    """Refuse pairs for a model of single texts, and single texts for one of pairs; `give_…` are the hints.

    Raises:
        UserError: so it is, and the model's folder says so.
    """
    if input_format.pairs and not pairs:
        raise UserError(f"{model} was trained on pairs, and this is one text a row.", give_pairs)
    if input_format.pairs is False and pairs:
        raise UserError(f"{model} was trained on single texts, and these are pairs.", give_texts)


def read_rows(options: PredictArguments, chosen: Columns | None, input_format: InputFormat) -> Iterator[Row]:
    """Yield the texts or pairs to predict; of a table the `chosen` columns, not yet joined.

    A row without text is empty where it has none.

    Raises:
        UserError: a file cannot be read, or a row has no text and --on_missing is error.
    """
    if options.text:
        yield from ((text,) for text in options.text)
    elif options.pair:
        yield from zip(options.pair[::2], options.pair[1::2], strict=True)
    elif chosen is not None:
        yield from _table_rows(_table(options, input_format), chosen, options.on_missing)
    elif options.rank is not None:
        yield from ((options.rank, line) for _, line in _lines(options, input_format) if line.strip())
    else:
        for place, line in _lines(options, input_format):
            row = _tab_pair(place, line) if options.pairs else (line,)
            _refuse_missing(row, place, options.on_missing)
            yield row


def _table(options: PredictArguments, input_format: InputFormat) -> DataFile:
    quoting = options.quoting or input_format.quoting
    return DataFile(
        Path(options.file),
        options.delimiter,
        quoting,
        split_names(options.column_names, ()) or None,
        options.encoding,
        ragged_as_empty=options.on_missing == "empty",
        ragged_hint="Pass --on_missing empty for an empty prediction of each ragged row",
    )


def _lines(options: PredictArguments, input_format: InputFormat) -> Iterator[tuple[str, str]]:
    if options.file == "-":
        where, opened = "standard input", standard_input(options.encoding)
    else:
        where, opened = options.file, open_text(Path(options.file), options.encoding)
    with opened as stream:
        for number, line in enumerate(delimited.whole_lines(stream), 1):
            place = f"{where}, line {number}"
            if number == 1 and _is_header(line, input_format):
                warning(
                    f"{place}: {line.strip()[:60]!r} looks like the names of columns and is read as a text. Take it "
                    "out, or save a table as .csv and name it with --file."
                )
            yield place, line.rstrip("\r\n")


def _tab_pair(place: str, line: str) -> Row:
    first, tab, second = line.partition("\t")
    if line.strip() and not tab:
        raise UserError(f"--pairs: {place}: there is no tab.", "Put one between the two texts.")
    return first, second.split("\t")[0]


def _table_rows(file: DataFile, columns: Columns, on_missing: str) -> Iterator[Row]:
    for row in readers.read_rows(file):
        place = f"{file.path}, {row.where}"
        texts = tuple(cell_text(row.values[name], f"{place}: {name!r}") for name in columns.text)
        _refuse_missing(texts if columns.is_pair else ("".join(texts),), place, on_missing)
        yield texts


def _refuse_missing(row: Row, place: str, on_missing: str) -> None:
    if on_missing == "error" and not all(text.strip() for text in row):
        raise UserError(f"{place}: the text is missing.", "--on_missing empty gives such a row an empty prediction.")
