"""The texts or pairs that `predict` is given: words of the command line, lines of text, or the columns of a table."""

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bertlab.cli.arguments import DataArguments
from bertlab.console import info, warning
from bertlab.data import readers
from bertlab.data.files import open_text, standard_input
from bertlab.data.sources import TEXT_COLUMNS, Columns, choose_columns, clean_text
from bertlab.errors import UserError
from bertlab.inference.inference_config import InputFormat
from bertlab.inference.predictor import Row

ONE_OF_THESE = ("text", "pair", "rank")


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot be read together.

    Raises:
        UserError: several inputs are named, a flag is for another input, or a text is empty or not readable.
    """
    given = [f"--{name}" for name in ONE_OF_THESE if getattr(options, name) is not None]
    if options.file is not None and "--rank" not in given:
        given.append("--file")
    if len(given) > 1:
        raise UserError(f"{given[0]} and {given[1]} are both given, and only one can be read.", "Drop one of them.")
    if options.pairs and given not in ([], ["--file"]):
        raise UserError(f"--pairs is about the lines of a file, and {given[0]} is given.", "Drop --pairs.")
    if options.rank is not None and options.format != "table":
        raise UserError(
            f"--rank prints a ranking, not --format {options.format}.", "Leave --format out, or name the pairs."
        )
    given_texts: dict[str, Iterable[str]] = {
        "text": options.text or [],
        "pair": itertools.chain(*(options.pair or [])),
        "rank": [] if options.rank is None else [options.rank],
    }
    for name, texts in given_texts.items():
        for text in texts:
            if not text.strip():
                raise UserError(f"--{name}: {text!r} is no text.", "Give one with words in it.")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(f"--{name}: {text[:60]!a} holds bytes that are no text.", "Write it in UTF-8.")


def is_table(options: argparse.Namespace) -> bool:
    """Return True where --file has columns: by its suffix, or because columns are named.

    Raises:
        UserError: there is no reader for the file, or a flag is for lines of text.
    """
    if options.file in (None, "-"):
        return False
    path = Path(options.file)
    inner = Path(path.stem) if path.suffix.casefold() == ".gz" else path
    suffix = inner.suffix and readers.format_suffix(path)
    if suffix in ("", ".txt") and not (options.text_column_names or options.delimiter):
        return False
    if options.pairs or options.rank:
        flag = "--pairs" if options.pairs else "--rank"
        raise UserError(
            f"{flag} reads lines of text, and {path} is a table.",
            "Name its two columns with --text_column_names." if options.pairs else "Give one candidate a line.",
        )
    return True


def columns(options: argparse.Namespace, input_format: InputFormat) -> Columns:
    """Return the text columns of a table: the named ones, else those of the training, else the usual ones.

    Raises:
        UserError: a named column is not there, or the text column cannot be told.
    """
    names = readers.column_names(Path(options.file), **_settings(options, input_format))
    arguments = DataArguments(
        text_column_names=options.text_column_names or list(input_format.text_column_names),
        text_column_delimiter=options.text_column_delimiter,
        label_column_name=_among(names, input_format.label_column_name),
        source_column_name=_among(names, input_format.source_column_name),
    )
    if arguments.text_column_delimiter is None:
        arguments.text_column_delimiter = input_format.text_column_delimiter
    if not options.text_column_names and not _all_among(names, input_format.text_column_names):
        arguments.text_column_names = []
    if len(names) == 1 and not arguments.text_column_names and names[0] not in TEXT_COLUMNS:
        warning(
            f"{options.file}: its first line, {names[0][:60]!r}, is taken for the name of the one column. A file of "
            "texts without names has the suffix .txt."
        )
    return choose_columns(names, arguments, options.file)


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
            "Give one text a row, or join columns with --text_column_delimiter.",
        )


def read_rows(options: argparse.Namespace, chosen: Columns | None, input_format: InputFormat) -> Iterator[Row]:
    """Yield the texts or pairs to predict; of a table the `chosen` columns, not yet joined.

    Raises:
        UserError: a file cannot be read, or a row has no text.
    """
    if options.text:
        yield from ((text,) for text in options.text)
    elif options.pair:
        yield from (tuple(pair) for pair in options.pair)
    elif chosen is not None:
        yield from _table_rows(Path(options.file), chosen.text, _settings(options, input_format))
    else:
        for line in _lines(options):
            yield (options.rank, line) if options.rank is not None else _tab_pair(line) if options.pairs else (line,)


def _settings(options: argparse.Namespace, input_format: InputFormat) -> dict[str, Any]:
    return {
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "quoting": options.quoting or input_format.quoting,
    }


def _among(names: Sequence[str], name: str | None) -> str | None:
    return name if name in names else None


def _all_among(names: Sequence[str], columns: Sequence[str]) -> bool:
    # `a,b` is two names unless a column is really called that.
    return all(part.strip() in names for text in columns for part in ([text] if text in names else text.split(",")))


def _lines(options: argparse.Namespace) -> Iterator[str]:
    if options.file in (None, "-"):
        where, opened = "standard input", standard_input(options.encoding)
    else:
        where, opened = options.file, open_text(Path(options.file), options.encoding)
    blank = 0
    with opened as stream:
        for line in stream:
            if line.strip():
                yield line.rstrip("\r\n")
            else:
                blank += 1
    if blank:
        info(f"{where}: {blank} blank line{'s' * (blank != 1)} left out; idx counts the other lines.")


def _tab_pair(line: str) -> Row:
    first, tab, second = line.partition("\t")
    if not tab:
        raise UserError(f"--pairs: there is no tab in the line {line[:60]!r}.", "Put one between the two texts.")
    second = second.split("\t")[0]
    if not first.strip() or not second.strip():
        raise UserError(f"--pairs: a text is missing in the line {line[:60]!r}.", "Leave such lines out.")
    return first, second


def _table_rows(path: Path, names: Sequence[str], settings: dict[str, Any]) -> Iterator[Row]:
    for row in readers.read_rows(path, **settings):
        for name in names:
            value = row.values[name]
            if isinstance(value, list):
                raise UserError(f"{path}, {row.where}: {name!r} holds a list, not a text.", "Write one text a row.")
            if clean_text(value, ()) is None:
                raise UserError(f"{path}, {row.where}: the text in {name!r} is missing.", "Leave such rows out.")
        yield tuple(str(row.values[name]) for name in names)
