"""bertlab export: a trained model for ONNX Runtime, checked against PyTorch.

bertlab export runs/cola
bertlab export runs/cola --quantize int8
"""

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from bertlab.cli.arguments import DataArguments, ModelArguments, NspArguments, setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.console import info, say, table
from bertlab.data.groups import resampled_groups
from bertlab.data.labels import labelled_rows
from bertlab.errors import UserError, first_line
from bertlab.evaluation import evaluate, statistics
from bertlab.evaluation.metrics import METRICS, Predicted
from bertlab.inference import onnx_predictor
from bertlab.inference.predictor import Predictor, Row
from bertlab.io import write_json
from bertlab.report import provenance
from bertlab.report.run_folder import RunFolder
from bertlab.training import output_dir

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertlab.data.dataset import Data
    from bertlab.inference.torch_predictor import TorchPredictor

T = TypeVar("T")
NEEDED = ("onnx", "onnxruntime", "onnxscript")
# Written last: a folder without it is not an export.
REPORT = "export.json"
# Two engines sum in another order: logits of MiniLM then differ by 1e-6, those of a wrong mask by 1e-2 and more.
TOLERANCE = 1e-4
PARITY_ROWS = 64
# Compared where the run's data is not at hand; the last one is longer than any BERT reads.
SAMPLES = (
    "Yes.",
    "The book was on the table.",
    " ".join(["It went on like this for so long that nobody could say where it had begun."] * 60),
)


@dataclass(frozen=True)
class ScoredSplit:
    """The split that a run is judged by: its texts or pairs and its labels or None, read again from their source."""

    name: str
    rows: list[Row]
    labels: np.ndarray | None
    data: "Data"


@dataclass
class ExportArguments:
    """Which run is exported, as what and where to."""

    run: Path = setting(None, "the --output_dir of a finished run", positional=True)
    format: Literal["onnx"] = setting("onnx", "what to write")
    quantize: Literal["int8"] | None = setting(None, "int8 weights; the score is measured before and after")
    output: Path | None = setting(None, "folder to write (default: RUN/onnx, or RUN/onnx-int8)")
    overwrite: bool = setting(False, "replace an earlier export there")
    tolerance: float = setting(TOLERANCE, "largest difference of a float32 logit", minimum=0)


@entry_point
def main(argv: Sequence[str]) -> int:
    """Export a run, print how far it is from PyTorch, and return the exit status.

    Raises:
        UserError: no finished run, the extra is not installed, the output is there already, the logits differ by more
            than --tolerance, or, with --quantize, there are no labels to measure the score on.
    """
    options = parse_command(argv, ExportArguments, __doc__ or "")
    run = RunFolder.read(options.run)
    output = options.output or options.run / ("onnx-int8" if options.quantize else "onnx")
    _check(run, output, options)
    from bertlab.inference import torch_predictor

    predictor = torch_predictor.load_torch_predictor(ModelArguments(model_name_or_path=str(options.run)))
    predictor.model.to("cpu")  # type: ignore[arg-type]  # transformers types `to` as taking no string
    reference = replace(predictor, config=replace(predictor.config, precision="fp32"))
    scored = _scored_or_none(run, reference, options.quantize)
    with _new_folder(output) as folder:
        report = _export(run, reference, scored, folder, options)
        write_json(folder / REPORT, report)
    _print(report)
    say(f"\n{output}: {report['megabytes']:.1f} MB, usable alone; its README.md has a program that uses it.")
    return 0


def _export(
    run: RunFolder,
    reference: "TorchPredictor",
    scored: ScoredSplit | None,
    folder: Path,
    options: ExportArguments,
) -> dict[str, Any]:
    """Write the model into a folder and return what was measured."""
    from bertlab.inference import onnx_export

    onnx_export.export_onnx(reference, folder)
    onnx_export.write_readme(reference, folder / "README.md", run.name, options.quantize)
    report: dict[str, Any] = {"run": run.name, "format": options.format, "quantize": options.quantize}
    rows = scored.rows if scored else [(text, text) if run.is_pair else (text,) for text in SAMPLES]
    with _onnx_runtime_errors():
        parity = _parity(reference, onnx_predictor.load_onnx_predictor(str(folder)), rows, options.tolerance)
    report["parity"] = {**parity, "texts": scored.name if scored else "samples"}
    if options.quantize and scored and scored.labels is not None:
        report["megabytes_fp32"] = onnx_export.megabytes(folder)
        onnx_export.quantize_int8(folder)
        report["score"] = _score(reference, onnx_predictor.load_onnx_predictor(str(folder)), scored, scored.labels)
    return {
        **report,
        "megabytes": onnx_export.megabytes(folder),
        "versions": {**provenance.versions(), **{name: version(name) for name in NEEDED}},
        "machine": provenance.machine(),
        "code": provenance.commit(),
    }


@contextmanager
def _onnx_runtime_errors() -> Iterator[None]:
    """Say in one line that ONNX Runtime cannot run what was exported, as with CANINE and mBART."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # ONNX Runtime's types have no base of their own
        raise UserError(
            f"ONNX Runtime cannot run the exported model: {first_line(error)}; nothing was written.", "Use `predict`."
        ) from error


def _parity(reference: Predictor, exported: Predictor, rows: Sequence[Row], tolerance: float) -> dict[str, Any]:
    """Compare logits on rows from the shortest to the longest; refuse a difference above the tolerance."""
    from bertlab.inference import onnx_export

    tokenized = reference.tokenize(rows)
    by_length = np.argsort([len(row["input_ids"]) for row in tokenized], kind="stable")
    chosen = by_length[np.linspace(0, len(rows) - 1, min(PARITY_ROWS, len(rows))).astype(int)]
    difference = onnx_export.largest_difference(reference, exported, [tokenized[row] for row in chosen])
    if not difference <= tolerance:
        raise UserError(
            f"the exported logits differ from PyTorch's by up to {difference:.2g}, more than --tolerance "
            f"{tolerance:g}; nothing was written.",
            "Pass a larger --tolerance only if that is small beside your logits.",
        )
    return {"rows": len(chosen), "largest_difference": difference, "tolerance": tolerance}


def _score(fp32: Predictor, int8: Predictor, scored: ScoredSplit, labels: np.ndarray) -> dict[str, Any]:
    """Return each metric before and after on the labelled rows, with the paired bootstrap of their difference.

    As in the run itself, groups are resampled where there are any.
    """
    labelled = labelled_rows(labels, len(scored.rows))
    logits = [side.logits(scored.rows) for side in (fp32, int8)]
    thresholds = np.asarray(fp32.config.thresholds) if fp32.config.thresholds else None
    schema = scored.data.schema
    outputs = (evaluate.outputs_of(schema, side, fp32.config.temperature) for side in logits)
    before, after = (evaluate.as_scored(schema, side, thresholds) for side in outputs)
    sides = after.rows(labelled), before.rows(labelled), schema.binary_ids(labels[labelled])
    together = resampled_groups(scored.data.splits[scored.name], scored.name, by_text=scored.data.text_is_group)
    groups = None if together is None else together.numbers[labelled]
    metrics = {name: _compare(name, *sides, groups) for name in scored.data.metrics}
    changed = int((before.predictions != after.predictions).reshape(len(labels), -1).any(axis=1).sum())
    largest = float(np.abs(logits[0] - logits[1]).max())
    alone = np.concatenate([int8.logits([row]) for row in scored.rows[:PARITY_ROWS]])
    return {
        "split": scored.name,
        "metrics": metrics,
        "changed": changed,
        "largest_logit_difference": largest,
        "alone": {"rows": len(alone), "largest_difference": float(np.abs(alone - logits[1][: len(alone)]).max())},
    }


def _compare(
    name: str, int8: Predicted, fp32: Predicted, labels: np.ndarray, groups: np.ndarray | None
) -> dict[str, Any]:
    metric = METRICS[name]
    comparison = statistics.paired_bootstrap(metric, metric.read(int8), metric.read(fp32), labels, groups)
    return {
        "before": metric(metric.read(fp32), labels),
        "after": metric(metric.read(int8), labels),
        **{key: getattr(comparison, key) for key in ("difference", "low", "high", "n")},
        "verdict": statistics.describe_comparison(comparison, name, "int8", "fp32"),
    }


def scored_split(run: RunFolder, tokenizer: "PreTrainedTokenizerBase") -> ScoredSplit:
    """Return the split that a run is judged by, or its first one where none has labels.

    Raises:
        UserError: the data is not where the run found it, or no longer the same.
    """
    name, data = run.main_split or next(iter(run.results["splits"]), ""), _load(run, tokenizer)
    split = data.splits.get(name)
    if split is None or provenance.fingerprint(split, data.read) != run.fingerprint(name):
        raise UserError(
            f"{run.path}: the split {name!r} is no longer the one that the run was scored on.", "Restore it."
        )
    labels = np.asarray(split["labels"][:]) if "labels" in split.column_names else None
    return ScoredSplit(name, list(zip(*data.texts(name), strict=True)), labels, data)


def _load(run: RunFolder, tokenizer: "PreTrainedTokenizerBase") -> "Data":
    cache_dir = run.configuration.get("cache_dir")
    if "negatives" in run.configuration:
        from bertlab.pretraining.dataset import make_splits, read

        arguments = _arguments(NspArguments, run.configuration)
        return make_splits(read(arguments, cache_dir), arguments, tokenizer)
    from bertlab.data.dataset import load_splits

    training = bool(run.configuration.get("do_train", True))
    arguments_of_data = _arguments(DataArguments, run.configuration)
    return load_splits(arguments_of_data, run.class_names, training=training, cache_dir=cache_dir, token=None)


def _arguments(group: type[T], configuration: dict[str, Any]) -> T:
    names = {field.name for field in fields(group)}  # type: ignore[arg-type]
    return group(**{name: value for name, value in configuration.items() if name in names})


def _scored_or_none(run: RunFolder, predictor: "TorchPredictor", quantize: str | None) -> ScoredSplit | None:
    """Return the texts and labels of the run, or None, saying so, where sample texts are enough."""
    try:
        scored = scored_split(run, predictor.tokenizer)
    except UserError as error:
        if quantize:
            raise UserError(
                f"--quantize {quantize} changes predictions, and the data to measure it on is not at hand: "
                f"{error.problem}",
                "Call it from the folder that the run was started in, where its data is.",
            ) from error
        info(f"the run's data is not at hand ({error.problem}), so the check is made on sample texts.")
        return None
    if quantize and scored.labels is None:
        raise UserError(
            f"--quantize {quantize} changes predictions, and {scored.name} has no labels to measure it on.",
            "Evaluate the run on labelled rows first.",
        )
    return scored


def _check(run: RunFolder, output: Path, options: ExportArguments) -> None:
    """Refuse, before anything is loaded, what cannot end well."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"export needs {', '.join(missing)}, not installed here.", f"pip install {' '.join(NEEDED)}")
    if run.fills_masks:
        raise UserError(
            f"{run.path} is a masked language model; it has no classes to export.", "Train a classifier on it."
        )
    if output.is_file() or output.suffix == ".onnx":
        raise UserError(
            f"--output {output} must be a folder.", "The tokenizer and the label names go beside the model."
        )
    if output.is_dir() and any(output.iterdir()):
        if not options.overwrite:
            raise UserError(f"--output {output} is not empty.", "Name another folder, or pass --overwrite.")
        if not (output / REPORT).is_file():
            raise UserError(f"--overwrite: {output} holds no earlier export.", "Name another folder.")
    output_dir.make_writable(output.parent, "--output")


@contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """Yield a folder that replaces `output` if the block ends well, and is deleted if it does not."""
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        yield folder
        if output.is_dir():
            shutil.rmtree(output)
        folder.rename(output)


def _print(report: dict[str, Any]) -> None:
    parity, score = report["parity"], report.get("score")
    say(
        f"\nLogits differ from PyTorch's by at most {parity['largest_difference']:.2g} over {parity['rows']} rows "
        f"({parity['texts']}); {parity['tolerance']:g} is allowed."
    )
    if score:
        rows = [(name, one["before"], one["after"], one["n"]) for name, one in score["metrics"].items()]
        say(f"\n{score['split']}: {score['changed']} predictions changed\n")
        say(table(rows, ("metric", "fp32", "int8", "n")))
        for one in score["metrics"].values():
            say(one["verdict"])
        say(
            "Activations are quantized with one scale for a whole batch, so an answer depends on what else is in it: "
            f"alone, the logits of {score['alone']['rows']} rows differ by up to "
            f"{score['alone']['largest_difference']:.2g}."
        )
        say(f"\n{report['megabytes_fp32']:.1f} MB became {report['megabytes']:.1f} MB.")
