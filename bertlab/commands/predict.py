"""`python -m bertlab predict MODEL`: label and probabilities for texts, pairs, files or standard input."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bertlab import console
from bertlab.cli.command_parser import Parser
from bertlab.cli.entry_point import entry_point
from bertlab.commands.predict_inputs import check, check_pairs, columns, is_table, read_rows
from bertlab.console import table
from bertlab.data import readers
from bertlab.errors import UserError
from bertlab.inference.loading import load_predictor
from bertlab.inference.predictor import Predictor, Row
from bertlab.io import escape_formula

# Rows held at once, and their characters: what bounds memory, however long the file or its rows. A row is always
# held whole. Within them rows are sorted by length.
ROWS_AT_ONCE = 8192
CHARACTERS_AT_ONCE = 1 << 24


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


@entry_point
def main(argv: Sequence[str]) -> int:
    """Predict and print; return the exit status."""
    options = _parser().parse_args(argv)
    console.register_secret(options.token)
    check(options)
    predictor = load_predictor(options.model, options)
    reading = predictor.reading
    chosen = columns(options, reading) if is_table(options) else None
    text_column_delimiter = chosen.text_column_delimiter if chosen else None
    several = chosen.is_pair if chosen else bool(options.pair or options.pairs or options.rank is not None)
    check_pairs(several, options.model, reading)
    rows = read_rows(options, chosen, reading)
    if options.rank is not None:
        return _print_ranking(predictor, list(rows), options.model)
    predictor = replace(predictor, text_column_delimiter=text_column_delimiter)
    printer = PRINTERS[options.format]
    start = 0
    for chunk in chunks(rows):
        probabilities = predictor.probabilities(chunk)
        printer(predictor, chunk, probabilities, start)
        start += len(chunk)
    if not start:
        raise UserError("there is nothing to predict.", "Pass --text, --pair, --file, or lines on standard input.")
    return 0


def _print_table(predictor: Predictor, rows: Sequence[Row], probabilities: np.ndarray, start: int) -> None:
    told = []
    for row, label, chance in zip(rows, predictor.labels(probabilities), probabilities, strict=True):
        text = " | ".join(predictor.joined(row))
        text = text if len(text) <= 90 else text[:89] + "…"
        told.append((label, *([] if predictor.kind == "regression" else [float(chance.max())]), " ".join(text.split())))
    header = ("score", "text") if predictor.kind == "regression" else ("label", "probability", "text")
    print(table(told, header))


def _print_json_lines(predictor: Predictor, rows: Sequence[Row], probabilities: np.ndarray, start: int) -> None:
    said: Sequence[Any] = predictor.labels(probabilities)
    if predictor.kind.startswith("multi"):
        said = predictor.names(probabilities)
    for row, label, chance in zip(map(predictor.joined, rows), said, probabilities, strict=True):
        told: dict[str, Any] = {"text": row[0], **({"text_pair": row[1]} if len(row) > 1 else {})}
        if predictor.kind == "regression":
            told["score"] = float(label)
        else:
            told["label"] = label
            shares = (round(float(p), 6) for p in chance)
            told["probabilities"] = dict(zip(predictor.class_names, shares, strict=True))
        print(json.dumps(told, ensure_ascii=False))


def _print_tsv(predictor: Predictor, rows: Sequence[Row], probabilities: np.ndarray, start: int) -> None:
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    regression = predictor.kind == "regression"
    if start == 0:
        writer.writerow(
            ["idx", "prediction", *([] if regression else [f"probability_{n}" for n in predictor.class_names])]
        )
    for index, (label, chance) in enumerate(zip(predictor.labels(probabilities), probabilities, strict=True), start):
        writer.writerow([index, escape_formula(label), *([] if regression else [f"{p:.6f}" for p in chance])])


def _print_ranking(predictor: Predictor, rows: list[Row], model: str) -> int:
    """Print candidate continuations, the likeliest first."""
    if predictor.reading.next_sentence is False:
        raise UserError(
            f"--rank: {model} is no next-sentence model, so nothing in it says what follows.",
            "Train one with run_nsp.py.",
        )
    if not rows:
        raise UserError("--rank: the file of candidates is empty.", "Give one candidate a line with --file.")
    probabilities = predictor.probabilities(rows)[:, 0]
    order = np.argsort(-probabilities, kind="stable")
    print(table([(float(probabilities[i]), rows[i][1]) for i in order], (predictor.class_names[0], "candidate")))
    return 0


PRINTERS: dict[str, Callable[[Predictor, Sequence[Row], np.ndarray, int], None]] = {
    "table": _print_table,
    "jsonl": _print_json_lines,
    "tsv": _print_tsv,
}


def _parser() -> Parser:
    parser = Parser("python -m bertlab predict", description=__doc__)
    parser.add_argument("model", help="a folder of a run, a model or an ONNX export; package:…/path; a Hub name")
    parser.add_argument("--text", nargs="+", action="extend", help="texts to label")
    parser.add_argument("--pair", nargs=2, action="append", metavar=("A", "B"), help="a pair to label; may be repeated")
    parser.add_argument("--file", help="one text a line, or CSV, TSV, JSON lines, Parquet; - is standard input")
    parser.add_argument("--pairs", action="store_true", help="lines of --file are two texts with a tab between")
    parser.add_argument("--rank", metavar="A", help="rank the lines of --file as continuations of this text")
    parser.add_argument("--text_column_names", nargs="+", help="columns of --file [as trained]")
    parser.add_argument("--format", choices=sorted(PRINTERS), default="table", help="how to print [table]")
    parser.add_argument("--max_seq_length", type=int, help="longest input in tokens (default: as trained)")
    parser.add_argument("--delimiter", help="field delimiter of --file")
    parser.add_argument("--text_column_delimiter", help="join the columns with this into one text [as trained]")
    parser.add_argument("--quoting", choices=readers.QUOTINGS, help="how --file uses double quotes [as trained]")
    parser.add_argument("--encoding", help="text encoding of --file or standard input")
    parser.add_argument("--revision", default="main", help="revision of a model on the Hub")
    parser.add_argument("--token", help="access token for the Hub")
    parser.add_argument("--trust_remote_code", action="store_true", help="allow code of the model's own to run")
    return parser
