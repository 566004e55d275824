"""`python -m bertlab predict MODEL`: label and probabilities for texts, pairs, files or standard input."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab import hub, long_texts, memory, modeling, secret
from bertlab.arguments import ModelArguments
from bertlab.console import table
from bertlab.errors import UserError, exits_with_status_2
from bertlab.sources import clean_text
from bertlab.spreadsheet import guarded
from bertlab.subcommands import Parser

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Rows held at once, and their characters: what bounds memory, however long the file or its rows. A row is always
# held whole. Within them rows are sorted by length.
ROWS_AT_ONCE = 8192
CHARACTERS_AT_ONCE = 1 << 24
# Tokens per batch, padding included: short rows go in large batches, long ones in small ones.
TOKENS_PER_BATCH = 8192
TEXT_COLUMNS = ("text", "sentence", "review", "content")

Row = tuple[str, ...]


@dataclass(frozen=True)
class Predictor:
    """A loaded model with all that its predictions depend on."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    class_names: tuple[str, ...]
    kind: str
    max_length: int
    clean: tuple[str, ...]
    temperature: float
    thresholds: tuple[float, ...]
    trained_in: str | None

    def probabilities(self, rows: Sequence[Row]) -> np.ndarray:
        """Return calibrated probabilities (rows, classes) of texts or pairs, or scores (rows, 1), in their order."""
        import torch

        from bertlab import calibration
        from bertlab.padding import PaddingCollator

        encoded = self.encode(rows)
        collate = PaddingCollator(self.tokenizer)
        logits = np.zeros((len(rows), max(1, len(self.class_names))), dtype=np.float64)
        device = next(self.model.parameters()).device
        with torch.inference_mode(), autocast(device, self.trained_in):
            for batch in token_batches([len(row["input_ids"]) for row in encoded]):
                inputs = collate([encoded[row] for row in batch])
                output = self.model(**{name: tensor.to(device) for name, tensor in inputs.items()})
                logits[batch] = logits_of(output).float().cpu().numpy()
        if self.kind == "regression":
            return logits
        scaled = logits / self.temperature
        return calibration.sigmoid(scaled) if self.kind.startswith("multi") else calibration.softmax(scaled)

    def labels(self, probabilities: np.ndarray) -> list[str]:
        """Return what each row of probabilities says, as text."""
        if self.kind == "regression":
            return [f"{score:.4f}" for score in probabilities[:, 0]]
        if self.kind.startswith("multi"):
            limits = np.asarray(self.thresholds or [0.5] * len(self.class_names))
            return [
                "|".join(n for n, on in zip(self.class_names, row >= limits, strict=True) if on)
                for row in probabilities
            ]
        return [self.class_names[index] for index in probabilities.argmax(axis=1)]

    def encode(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return the model's inputs for texts or pairs, cleaned and cut as in training, without padding."""
        columns = [[clean_text(text, self.clean) or "" for text in column] for column in zip(*rows, strict=True)]
        encoded = long_texts.tokenize(columns, self.tokenizer, self.max_length)
        return [dict(zip(encoded.keys(), values, strict=True)) for values in zip(*encoded.values(), strict=True)]


def token_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield row numbers in batches of like length whose padded size stays within TOKENS_PER_BATCH."""
    from bertlab.ordering import consecutive_batches

    order = np.argsort(-np.asarray(lengths), kind="stable")
    for part in consecutive_batches(np.asarray(lengths)[order], TOKENS_PER_BATCH):
        yield order[part].tolist()


def load(name: str, options: argparse.Namespace) -> Predictor:
    """Return the predictor of a run's folder, of any model on disk, or of one on the Hub.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, or has too few positions.
    """
    hub.go_offline_if_unreachable(name)
    arguments = ModelArguments(
        model_name_or_path=name,
        model_revision=options.revision,
        token=options.token,
        trust_remote_code=options.trust_remote_code,
    )
    config = modeling.load_config(arguments)
    tokenizer = modeling.load_tokenizer(arguments)
    if options.max_seq_length is not None:
        from bertlab import encoding  # imports datasets, which takes a second that most calls can save

        encoding.check_max_length(options.max_seq_length, tokenizer, config)
    model, _ = modeling.load_weights(_auto_class(config, name), arguments, config)
    model.eval().to(_device())
    if model.device.type == "cpu":
        memory.keep_freed_memory()
    told = _told(Path(modeling.resolve(name)))
    names = tuple(str(label) for _, label in sorted((config.id2label or {}).items()))
    kind = getattr(config, "problem_type", None) or "single_label_classification"
    if config.num_labels == 1:
        kind = "regression"
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", 512))
    return Predictor(
        model=model,
        tokenizer=tokenizer,
        class_names=names,
        kind=kind,
        max_length=options.max_seq_length or told["max_seq_length"] or longest,
        clean=tuple(told["clean"] or ()),
        temperature=told["temperature"] or 1.0,
        thresholds=tuple(told["thresholds"] or ()),
        trained_in=told["precision"],
    )


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
    parser.add_argument("model", help="a run's folder, a model's folder, package:IMPORT_NAME/path, or a Hub name")
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


def _told(folder: Path) -> dict[str, Any]:
    """Return what a run's folder says beyond the model: longest input, cleaning, precision, what was fitted."""
    run, results = (_read_json(folder / name) for name in ("run.json", "results.json"))
    configuration = run.get("configuration", {})
    told = {name: configuration.get(name) for name in ("max_seq_length", "clean")}
    told["precision"] = run.get("plan", {}).get("precision")
    told.update({name: results.get(name) for name in ("temperature", "thresholds")})
    return told


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _auto_class(config: Any, name: str) -> Any:
    import transformers

    architectures: Iterable[str] = config.architectures or []
    for ending, auto in (
        ("ForSequenceClassification", "AutoModelForSequenceClassification"),
        ("ForNextSentencePrediction", "AutoModelForNextSentencePrediction"),
        ("ForPreTraining", "AutoModelForPreTraining"),
    ):
        if any(architecture.endswith(ending) for architecture in architectures):
            return getattr(transformers, auto)
    raise UserError(
        f"{name} is not a classifier ({', '.join(architectures) or 'no architecture named'}).", "Train it first."
    )


def logits_of(output: Any) -> "torch.Tensor":
    """Return the class logits (rows, outputs) of a classifier's or a next-sentence model's output."""
    return output.seq_relationship_logits if hasattr(output, "seq_relationship_logits") else output.logits


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def autocast(device: "torch.device", trained_in: str | None) -> Any:
    """Return autocast in this machine's 16-bit format, unless there is none or the model was trained without."""
    import torch

    from bertlab import precision

    name, _ = precision.automatic(cpu=device.type == "cpu")
    if "fp32" in (name, trained_in):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if name == "bf16" else torch.float16)
