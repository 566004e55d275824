"""bertlab predict: label and probabilities for texts, pairs, files or standard input.

bertlab predict runs/cola --text "The more he reads, the more he wonders."
bertlab predict runs/mrpc --pair "He left early." "He went home soon."
bertlab predict runs/cola --file sentences.csv --format tsv
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bertlab.cli.arguments import ModelArguments
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.commands import predict_inputs
from bertlab.commands.predict_inputs import (
    PredictArguments,
    check_pairs,
    columns,
    is_delimited,
    is_table,
    is_trained_table,
    read_rows,
)
from bertlab.console import info, table, table_width
from bertlab.data import tokenization
from bertlab.data.columns import Columns
from bertlab.data.labels import MULTI, REGRESSION
from bertlab.errors import UserError
from bertlab.inference.inference_config import InputFormat
from bertlab.inference.loading import load_predictor
from bertlab.inference.predictor import Predictor, Row
from bertlab.io import escape_formula
from bertlab.models.loading import resolve

GIVE_PAIRS = "Give two: --pair A B, --pairs for lines with a tab, or two --text_column_names."
GIVE_TEXTS = "Give one text a row (--text), or join columns with --text_column_delimiter."
# Rows held at once, and their characters: what bounds memory, however long the file or its rows. A row is always
# held whole. Within them rows are sorted by length.
ROWS_AT_ONCE = 8192
CHARACTERS_AT_ONCE = 1 << 24
# So much of the input is looked at for unknown tokens.
SAMPLED_ROWS, SAMPLED_CHARACTERS = 200, 2000


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
    options = parse_command(argv, PredictArguments, __doc__ or "", predict_inputs.RULES)
    predict_inputs.check_texts(options)
    reads_table = is_table(options)  # before the model, which takes longer: the file may be missing
    model = ModelArguments(
        model_name_or_path=options.model,
        model_revision=options.model_revision,
        token=options.token,
        trust_remote_code=options.trust_remote_code,
    )
    predictor = load_predictor(model, options.max_seq_length, options.abstain_below)
    input_format = predictor.config.input_format
    chosen = columns(options, input_format) if reads_table or is_trained_table(options, input_format) else None
    _check_task(options, input_format, chosen)
    rows = read_rows(options, chosen, input_format)
    if options.rank is not None:
        _print_ranking(predictor, list(rows))
    else:
        if chosen is not None:
            predictor = replace(predictor, text_column_delimiter=chosen.text_column_delimiter)
        _print_predictions(predictor, rows, options, are_of_table=chosen is not None)
    return 0


def _check_task(options: PredictArguments, input_format: InputFormat, chosen: Columns | None) -> None:
    """Refuse an input that is not what the model was trained on.

    Raises:
        UserError: --rank of a model that knows no next sentence, pairs for one of single texts, or the other way round.
    """
    if options.rank is not None and input_format.next_sentence is False:
        raise UserError(
            f"--rank: {options.model} is no next-sentence model, so nothing in it says what follows.",
            "Train one with run_nsp.py.",
        )
    pairs = chosen.is_pair if chosen else bool(options.pair or options.pairs or options.rank is not None)
    check_pairs(pairs, options.model, input_format, GIVE_PAIRS, GIVE_TEXTS)


def _print_predictions(
    predictor: Predictor, rows: Iterable[Row], options: PredictArguments, are_of_table: bool
) -> None:
    """Predict and print the rows chunk by chunk, and say how many predictions are empty.

    Raises:
        UserError: every row is empty.
    """
    if options.abstain_below:
        _say_coverage(options.model, options.abstain_below)
    start = empty = abstained = 0
    for chunk in chunks(rows):
        if not start:
            _warn_if_unknown(predictor, chunk)
        probabilities = predictor(chunk)
        PRINTERS[options.format](predictor, chunk, probabilities, start)
        start += len(chunk)
        without_text = int(np.isnan(probabilities[:, 0]).sum())
        empty += without_text
        if options.abstain_below:
            abstained += predictor.labels(probabilities).count("") - without_text
    without = "without text" + " or with too few or too many fields" * (are_of_table and is_delimited(options))
    if empty == start:
        hint = "Pass --text, --pair, --file, or lines on standard input."
        hint = "Pass --on_missing error to see what is wrong with the first." if are_of_table else hint
        raise UserError(f"there is nothing to predict: every row is {without}.", hint)
    if empty:
        info(f"{empty} of {start} rows {without} have an empty prediction (--on_missing error stops at the first).")
    if options.abstain_below:
        info(
            f"{abstained} of {start - empty} predictions are below --abstain_below {options.abstain_below:g} and empty."
        )


def _say_coverage(model: str, below: float) -> None:
    """Say which share of a run's predictions on its evaluation split is kept, and how many of these are correct."""
    from bertlab.report.run_folder import RunFolder  # not before an exported model's first answer

    try:
        run = RunFolder.read(resolve(model))
        name = run.main_split or ""
        rows = run.predictions(name)
    except UserError:
        info(f"--abstain_below: {model} has no predictions of an evaluation split, so what it costs is not known.")
        return
    both = zip(rows.labels, rows.predictions, strict=True)
    correct = np.array([label == prediction for label, prediction in both])
    confidence = np.array([rows.probabilities[label][row] for row, label in enumerate(rows.predictions)])
    known = np.array([label != "" for label in rows.labels])
    kept = known & (confidence >= below)
    of_all = f"{correct[known].mean():.1%} of all"
    what = f"none of the predictions; {of_all} are correct"
    if kept.any():
        of_kept = f"{correct[kept].mean():.1%} of these are correct"
        what = f"{kept.sum() / known.sum():.1%} of the predictions; {of_kept}, and {of_all}"
    info(f"on {name} ({known.sum():,} examples), {below:g} keeps {what}.")


def _warn_if_unknown(predictor: Predictor, rows: Sequence[Row]) -> None:
    texts = [text[:SAMPLED_CHARACTERS] for row in rows[:SAMPLED_ROWS] for text in row]
    tokenization.warn_if_unknown(texts, predictor.tokenizer)


def _print_table(predictor: Predictor, rows: Sequence[Row], probabilities: np.ndarray, start: int) -> None:
    regression = predictor.config.problem_type == REGRESSION
    several = predictor.config.problem_type == MULTI
    highest = probabilities.max(axis=1) if several or regression else predictor.decide(probabilities)[1]
    lines = []
    for row, label, value in zip(rows, predictor.labels(probabilities), highest, strict=True):
        text = " ".join(" | ".join(predictor.join(row)).split())
        text = text if len(text) <= table_width() else f"{text[: table_width() - 1]}…"
        probability = None if np.isnan(value) else float(value)
        lines.append((label, text) if regression else (label, probability, text))
    print(table(lines, ("score", "text") if regression else ("label", "probability", "text")))


def _print_json_lines(predictor: Predictor, rows: Sequence[Row], probabilities: np.ndarray, start: int) -> None:
    config = predictor.config
    labels: Sequence[Any] = predictor.labels(probabilities)
    if config.problem_type == MULTI:
        labels = predictor.predicted_classes(probabilities)
    for row, label, values in zip(map(predictor.join, rows), labels, probabilities, strict=True):
        line: dict[str, Any] = dict(zip(("text", "text_pair"), row, strict=False))
        if config.problem_type == REGRESSION:
            line["score"] = float(label) if label else None
        else:
            empty = bool(np.isnan(values[0]))
            line["label"] = None if empty or label == "" else label
            line["probabilities"] = {
                name: None if empty else round(float(value), 6)
                for name, value in zip(config.class_names, values, strict=True)
            }
        print(json.dumps(line, ensure_ascii=False))


def _print_tsv(predictor: Predictor, rows: Sequence[Row], probabilities: np.ndarray, start: int) -> None:
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    names = () if predictor.config.problem_type == REGRESSION else predictor.config.class_names
    if start == 0:
        writer.writerow(["idx", "prediction", *(f"probability_{name}" for name in names)])
    for index, (label, values) in enumerate(zip(predictor.labels(probabilities), probabilities, strict=True), start):
        cells = ("" if np.isnan(value) else f"{value:.6f}" for value in values[: len(names)])
        writer.writerow([index, escape_formula(label), *cells])


def _print_ranking(predictor: Predictor, rows: Sequence[Row]) -> None:
    """Print candidate continuations, the most probable first.

    Raises:
        UserError: there are none.
    """
    if not rows:
        raise UserError("--rank: the file of candidates is empty.", "Give one candidate a line with --file.")
    _warn_if_unknown(predictor, rows)
    probabilities = predictor(rows)[:, 0]
    order = np.argsort(-probabilities, kind="stable")
    header = (predictor.config.class_names[0], "candidate")
    print(table([(float(probabilities[i]), rows[i][1]) for i in order], header))


PRINTERS: dict[str, Callable[[Predictor, Sequence[Row], np.ndarray, int], None]] = {
    "table": _print_table,
    "jsonl": _print_json_lines,
    "tsv": _print_tsv,
}
