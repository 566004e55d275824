"""`python -m bertlab predict MODEL`: label and probabilities for texts, pairs, files or standard input."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertlab import secret
from bertlab.console import table
from bertlab.errors import UserError, exits_with_status_2
from bertlab.predictor import Predictor, Row, load
from bertlab.spreadsheet import guarded
from bertlab.subcommands import Parser

# Rows held at once, and their characters: what bounds memory, however long the file or its rows. A row is always
# held whole. Within them rows are sorted by length.
ROWS_AT_ONCE = 8192
CHARACTERS_AT_ONCE = 1 << 24
TEXT_COLUMNS = ("text", "sentence", "review", "content")


def read_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the texts or pairs to predict, from --text, --pair, --file or standard input.

    Raises:
        UserError: a file or column is missing, or there is nothing to read.
    """
    if options.text:
        yield from ((text,) for text in options.text)
    elif options.pair:
        yield from (tuple(pair) for pair in options.pair)
    elif options.rank:
        yield from ((options.rank, text) for text in _lines(options.file))
    elif options.file and Path(options.file.removesuffix(".gz")).suffix not in ("", ".txt"):
        yield from _table_rows(Path(options.file), options)
    else:
        for line in _lines(options.file):
            yield _tab_pair(line) if options.pairs else (line,)


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in lists of at most ROWS_AT_ONCE rows, each ended by the row that fills CHARACTERS_AT_ONCE."""
    chunk: list[Row] = []
    held = 0
    for row in rows:
        chunk.append(row)
        held += sum(map(len, row))
        if len(chunk) == ROWS_AT_ONCE or held >= CHARACTERS_AT_ONCE:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _tab_pair(line: str) -> Row:
    first, tab, second = line.partition("\t")
    if not tab:
        raise UserError(f"--pairs: there is no tab in the line {line[:60]!r}.", "Put one between the two texts.")
    return first, second.split("\t")[0]


@exits_with_status_2
def main(argv: Sequence[str]) -> int:
    """Predict and print; return the exit status."""
    options = _parser().parse_args(argv)
    secret.remember(options.token)
    predictor = load(options.model, options)
    rows = read_rows(options)
    if options.rank:
        return _print_ranking(predictor, list(rows))
    printer = PRINTERS[options.format]
    start = 0
    for chunk in chunks(rows):
        chances = predictor.probabilities(chunk)
        printer(predictor, chunk, chances, start)
        start += len(chunk)
    if not start:
        raise UserError("there is nothing to predict.", "Pass --text, --pair, --file, or lines on standard input.")
    return 0


def _print_table(predictor: Predictor, rows: Sequence[Row], chances: np.ndarray, start: int) -> None:
    told = []
    for row, label, chance in zip(rows, predictor.labels(chances), chances, strict=True):
        text = " | ".join(row)
        text = text if len(text) <= 90 else text[:89] + "…"
        told.append(
            (label, *([] if predictor.kind == "regression" else [float(chance.max())]), " ".join(text.split()))
        )
    header = ("score", "text") if predictor.kind == "regression" else ("label", "probability", "text")
    print(table(told, header))


def _print_json_lines(predictor: Predictor, rows: Sequence[Row], chances: np.ndarray, start: int) -> None:
    for row, label, chance in zip(rows, predictor.labels(chances), chances, strict=True):
        told: dict[str, Any] = {"text": row[0], **({"text_pair": row[1]} if len(row) > 1 else {})}
        if predictor.kind == "regression":
            told["score"] = round(float(chance[0]), 6)
        else:
            told["label"] = list(filter(None, label.split("|"))) if predictor.kind.startswith("multi") else label
            shares = (round(float(p), 6) for p in chance)
            told["probabilities"] = dict(zip(predictor.class_names, shares, strict=True))
        print(json.dumps(told, ensure_ascii=False))


def _print_tsv(predictor: Predictor, rows: Sequence[Row], chances: np.ndarray, start: int) -> None:
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    regression = predictor.kind == "regression"
    if start == 0:
        writer.writerow(
            ["idx", "prediction", *([] if regression else [f"probability_{n}" for n in predictor.class_names])]
        )
    for index, (label, chance) in enumerate(zip(predictor.labels(chances), chances, strict=True), start):
        writer.writerow([index, guarded(label), *([] if regression else [f"{p:.6f}" for p in chance])])


def _print_ranking(predictor: Predictor, rows: list[Row]) -> int:
    """Print candidate continuations, the likeliest first."""
    if not rows:
        raise UserError("--rank: the file of candidates is empty.", "Give one candidate a line with --file.")
    chances = predictor.probabilities(rows)[:, 0]
    order = np.argsort(-chances, kind="stable")
    print(table([(float(chances[i]), rows[i][1]) for i in order], (predictor.class_names[0], "candidate")))
    return 0


PRINTERS: dict[str, Callable[[Predictor, Sequence[Row], np.ndarray, int], None]] = {
    "table": _print_table,
    "jsonl": _print_json_lines,
    "tsv": _print_tsv,
}


def _parser() -> Parser:
    parser = Parser("python -m bertlab predict", description=__doc__)
    parser.add_argument("model", help="a folder of a run, a model or an ONNX export; package:…/path; a Hub name")
    parser.add_argument("--text", nargs="+", help="texts to label")
    parser.add_argument(
        "--pair", nargs=2, action="append", metavar=("A", "B"), help="a pair to label; may be repeated"
    )
    parser.add_argument("--file", help="one text a line, or CSV, TSV, JSON lines, Parquet; - is standard input")
    parser.add_argument("--pairs", action="store_true", help="lines of --file are two texts with a tab between")
    parser.add_argument("--rank", metavar="A", help="rank the lines of --file as continuations of this text")
    parser.add_argument("--text_column_names", nargs="+", help="columns of --file (two: a pair)")
    parser.add_argument("--format", choices=sorted(PRINTERS), default="table", help="how to print [table]")
    parser.add_argument("--max_seq_length", type=int, help="longest input in tokens (default: as trained)")
    parser.add_argument("--delimiter", help="field delimiter of --file")
    parser.add_argument("--encoding", help="text encoding of --file")
    parser.add_argument("--revision", default="main", help="revision of a model on the Hub")
    parser.add_argument("--token", help="access token for the Hub")
    parser.add_argument("--trust_remote_code", action="store_true", help="allow code of the model's own to run")
    return parser


def _lines(file: str | None) -> Iterator[str]:
    if file is None or file == "-":
        yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        return
    from bertlab.files import open_text

    with open_text(Path(file)) as stream:
        yield from (line.rstrip("\r\n") for line in stream if line.strip())


def _table_rows(path: Path, options: argparse.Namespace) -> Iterator[Row]:
    from bertlab import readers
    from bertlab.errors import did_you_mean

    reading = {"delimiter": options.delimiter, "encoding": options.encoding}
    names = readers.column_names(path, **reading)
    wanted = (
        options.text_column_names or [name for name in TEXT_COLUMNS if name in names][:1] or names[: len(names) == 1]
    )
    if len(wanted) > 2:
        raise UserError(f"--text_column_names names {len(wanted)} columns.", "Name one, or two for a pair.")
    for name in wanted or [""]:
        if name not in names:
            raise UserError(
                f"{path}: no column {name!r} to read the text from."
                if name
                else f"{path}: which column is the text?",
                did_you_mean(name, names) if name else f"Name it with --text_column_names: {', '.join(names)}.",
            )
    for row in readers.read_rows(path, **reading):
        yield tuple(str(row.values[name] if row.values[name] is not None else "") for name in wanted)
