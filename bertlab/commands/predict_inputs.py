"""The texts or pairs that `predict` is given: words of the command line, lines of text, or the columns of a table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertlab.cli.arguments import DataArguments, setting
from bertlab.cli.flag_rules import Rule
from bertlab.console import info, warning
from bertlab.data import delimited, readers, sources
from bertlab.data.columns import TEXT_COLUMNS, Columns, cell_text, split_names
from bertlab.data.data_file import DataFile, format_suffix
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


RULES = (
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
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(f"--{name}: {text[:60]!a} holds bytes that are no text.", "Write it in UTF-8.")


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
    inner = Path(path.stem) if path.suffix.casefold() == ".gz" else path
    suffix = inner.suffix and format_suffix(path)
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
    """Return True for a .txt of rows, which begins with the names of the columns of the training."""
    if Path(options.file).suffix.casefold() != ".txt" or options.pairs or options.rank is not None:
        return False
    with open_text(Path(options.file), options.encoding) as stream:
        names = {cell.strip(' "') for cell in re.split(r"[,;\t|]", next(stream).strip())}
    trained = set(input_format.text_column_names)
    return len(names) > 1 and (names >= trained if trained else not names.isdisjoint(TEXT_COLUMNS))


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
    delimiter, source = options.text_column_delimiter, input_format.source_column_name
    arguments = DataArguments(
        text_column_names=options.text_column_names or list(trained if set(trained) <= set(names) else ()),
        text_column_delimiter=input_format.text_column_delimiter if delimiter is None else delimiter,
        label_column_name=[name for name in input_format.label_column_name if name in names],
        source_column_name=source if source in names else None,
    )
    if len(names) == 1 and not arguments.text_column_names and names[0] not in TEXT_COLUMNS:
        warning(
            f"{options.file}: its first line, {names[0][:60]!r}, is taken for the name of the one column. A file of "
            "texts without names has the suffix .txt."
        )
    return sources.columns_of_file(file, arguments)


def check_pairs(pairs: bool, model: str, input_format: InputFormat) -> None:
    """Refuse pairs for a model of single texts, and single texts for one of pairs.

    Raises:
        UserError: so it is, and the model's folder says so.
    """
    if input_format.pairs and not pairs:
        raise UserError(
            f"{model} was trained on pairs, and this is one text a row.",
            "Give two: --pair A B, --pairs for lines with a tab, or two --text_column_names.",
        )
    if input_format.pairs is False and pairs:
        raise UserError(
            f"{model} was trained on single texts, and these are pairs.",
            "Give one text a row (--text), or join columns with --text_column_delimiter.",
        )


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
        yield from ((options.rank, line) for _, line in _lines(options) if line.strip())
    else:
        for place, line in _lines(options):
            row = _tab_pair(place, line) if options.pairs else (line,)
            _refuse_missing(row, place, options.on_missing)
            yield row


def _table(options: PredictArguments, input_format: InputFormat) -> DataFile:
    quoting = options.quoting or input_format.quoting
    return DataFile(
        Path(options.file),
        options.delimiter,
        quoting,
        tuple(options.column_names) or None,
        options.encoding,
        ragged_as_empty=options.on_missing == "empty",
    )


def _lines(options: PredictArguments) -> Iterator[tuple[str, str]]:
    if options.file == "-":
        where, opened = "standard input", standard_input(options.encoding)
    else:
        where, opened = options.file, open_text(Path(options.file), options.encoding)
    with opened as stream:
        for number, line in enumerate(delimited.whole_lines(stream), 1):
            yield f"{where}, line {number}", line.rstrip("\r\n")


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
