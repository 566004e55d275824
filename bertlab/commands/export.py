"""`python -m bertlab export RUN --format onnx`: a trained model for ONNX Runtime, checked against PyTorch."""

import argparse
import importlib.util
import json
import logging
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bertlab.cli.command_parser import Parser
from bertlab.cli.entry_point import entry_point
from bertlab.console import info, say, table
from bertlab.errors import UserError
from bertlab.inference.onnx_predictor import MODEL
from bertlab.io import write_json, write_text
from bertlab.report.run_folder import RunFolder

if TYPE_CHECKING:
    import torch

    from bertlab.commands.scored_split import ScoredSplit
    from bertlab.inference.engines import Engine, Tokenized
    from bertlab.inference.predictor import Row
    from bertlab.inference.torch_predictor import TorchPredictor

NEEDED = ("onnx", "onnxruntime", "onnxscript")
# Written last, and what tells a folder of ours from anybody else's.
REPORT = "export.json"
# Two engines sum in another order: logits of MiniLM then differ by 1e-6, those of a wrong mask by 1e-2 and more.
TOLERANCE = 1e-4
PARITY_ROWS = 64
# Timed per engine and round: about 170 sentences of CoLA, or 4 texts of 512 tokens.
TIMED_TOKENS = 2048
TIMED_ONE_BY_ONE = 16
# Of several lengths, the last one longer than any BERT reads.
SAMPLES = (
    "Yes.",
    "The book was on the table.",
    "She asked me whether, in the end, anybody had ever found out who it was that wrote the letters.",
    " ".join(["It went on like this for so long that nobody could say where it had begun."] * 60),
)


@entry_point
def main(argv: Sequence[str]) -> int:
    """Export a run, print what was measured and how the result is used, and return the exit status.

    Raises:
        UserError: no finished run, the extra is not installed, the output is there already, the logits differ by more
            than --tolerance, or, with --quantize, there are no labels to measure the score on.
    """
    options = _parser().parse_args(argv)
    run = RunFolder.read(options.run)
    output = options.output or options.run / ("onnx-int8" if options.quantize else "onnx")
    _check(run, output, options)
    from bertlab.inference import torch_predictor

    loading = argparse.Namespace(max_seq_length=None, revision="main", token=None, trust_remote_code=False)
    predictor = torch_predictor.load(str(options.run), loading)
    predictor.model.to("cpu")  # type: ignore[arg-type]  # transformers types `to` as taking no string
    scored = _scored_split(run, predictor, options.quantize)
    with _whole_folder(output) as folder:
        report = _export(run, predictor, scored, folder, options)
        predictor.tokenizer.save_pretrained(folder)
        predictor.model.config.save_pretrained(folder)
        write_text(folder / "README.md", _readme(predictor, output))
        write_json(folder / REPORT, report)
    _print(report, output)
    say(f"\n{output} is usable alone. From Python:\n\n{usage(predictor, output)}")
    return 0


def write_onnx(predictor: "TorchPredictor", path: Path) -> None:
    """Write a model as ONNX in float32: inputs (batch, sequence) int64 of any size, `logits` (batch, outputs).

    The file's metadata hold what its use depends on: see `metadata`.

    Raises:
        UserError: PyTorch cannot export this architecture.
    """
    import torch

    from bertlab.training.collators import PaddingCollator

    rows: list[Row] = [(text,) for text in SAMPLES[:3]]
    example = PaddingCollator(predictor.tokenizer)(predictor.encode(rows))
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=_positions(predictor))}
    try:
        with _quiet():
            program = torch.onnx.export(
                _logits_module(predictor),
                kwargs=example,
                dynamic_shapes=dict.fromkeys(example, sizes),
                input_names=list(example),
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
            exported = cast(Any, program)
            exported.model.metadata_props.update(metadata(predictor))
            exported.save(path)
    except Exception as error:  # the exporter raises many types
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"PyTorch cannot export {predictor.model.config.model_type} as ONNX: {reason}", "Use `predict` instead."
        ) from error


def quantize_int8(source: Path, target: Path) -> None:
    """Write a model with int8 weights, and activations that ONNX Runtime quantises as they come (dynamic)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # The exporter notes the shape of every weight; the quantiser transposes some and then trips over the note.
    del model.graph.value_info[:]
    with _quiet():
        # A scale per output changes fewer predictions than one per matrix.
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, per_channel=True)


def metadata(predictor: "TorchPredictor") -> dict[str, str]:
    """Return what goes into the model's file: all that its predictions depend on, as text."""
    return {
        "class_names": json.dumps(predictor.class_names, ensure_ascii=False),
        "problem_type": predictor.kind,
        "max_seq_length": str(predictor.max_length),
        "clean": json.dumps(predictor.clean),
        "temperature": repr(predictor.temperature),
        "thresholds": json.dumps([float(value) for value in predictor.thresholds]),
        "reading": predictor.reading.as_json(),
    }


def usage(predictor: "TorchPredictor", output: Path) -> str:
    """Return a short program that labels two texts with the exported model."""
    kind = predictor.kind
    named = "[names[row.argmax()] for row in logits]"
    if kind == "regression":
        named = "logits[:, 0]"
    elif kind.startswith("multi"):
        limits = [float(value) for value in predictor.thresholds] or [0.5] * len(predictor.class_names)
        probabilities = f"1 / (1 + np.exp(-logits / {predictor.temperature!r}))"
        named = f"[[n for n, on in zip(names, row >= {limits}) if on] for row in {probabilities}]"
    return f"""import json
import numpy as np
import onnxruntime
from transformers import AutoTokenizer

folder = {str(output)!r}
tokenizer = AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(f"{{folder}}/{MODEL}", providers=["CPUExecutionProvider"])
told = session.get_modelmeta().custom_metadata_map
names = json.loads(told["class_names"])
texts = ["The first text.", "And another one, a little longer."]  # pairs: tokenizer(firsts, seconds, …)
batch = tokenizer(texts, padding=True, truncation=True, max_length=int(told["max_seq_length"]), return_tensors="np")
logits = session.run(None, {{i.name: np.asarray(batch[i.name], np.int64) for i in session.get_inputs()}})[0]
print({named})
"""


def _export(
    run: RunFolder,
    predictor: "TorchPredictor",
    scored: "ScoredSplit | None",
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Write the model into a folder and return what was measured of it."""
    from bertlab.inference import engines
    from bertlab.report import provenance

    rows = scored.rows if scored else [(text, text) if run.is_pair else (text,) for text in SAMPLES]
    path = folder / MODEL
    write_onnx(predictor, path)
    references = engines.torch_engines(predictor)
    exported = engines.onnx_engine(path, "onnx fp32")
    parity = _parity(references[0], exported, predictor, rows, options.tolerance)
    measured = [*references, exported]
    quantised: dict[str, Any] = {}
    if options.quantize:
        full_size = _megabytes(folder)
        quantize_int8(path, folder / "int8.onnx")
        for old in folder.glob(f"{MODEL}*"):
            old.unlink()
        (folder / "int8.onnx").rename(path)
        measured.append(engines.onnx_engine(path, "onnx int8"))
        quantised = {"megabytes_fp32": full_size, **_scores(references[0], measured[-1], predictor, scored)}
    return {
        "run": run.name,
        "format": options.format,
        "quantize": options.quantize,
        "megabytes": _megabytes(folder),
        "parity": {**parity, "texts": scored.name if scored else "samples"},
        **quantised,
        "speed": _speed(measured, predictor, rows, options.rounds),
        "versions": {**provenance.versions(), **{name: _version(name) for name in NEEDED}},
        "machine": provenance.machine(),
        "code": provenance.commit(),
    }


def _parity(
    reference: "Engine", exported: "Engine", predictor: "TorchPredictor", rows: "Sequence[Row]", tolerance: float
) -> dict[str, Any]:
    """Compare logits on rows from the shortest to the longest; refuse what differs by more than the tolerance."""
    from bertlab.inference import engines

    tokenized = predictor.encode(rows)
    order = np.argsort([len(row["input_ids"]) for row in tokenized], kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(PARITY_ROWS, len(order))).astype(int)]
    difference = engines.largest_difference(reference, exported, predictor, [tokenized[row] for row in chosen])
    if not difference <= tolerance:
        raise UserError(
            f"the exported logits differ from PyTorch's by up to {difference:.2g}, more than --tolerance "
            f"{tolerance:g}; nothing was written.",
            "Pass a larger --tolerance only if that is small beside your logits.",
        )
    return {"rows": len(chosen), "largest_difference": difference, "tolerance": tolerance}


def _scores(
    before: "Engine", after: "Engine", predictor: "TorchPredictor", scored: "ScoredSplit | None"
) -> dict[str, Any]:
    """Return each metric before and after on the labelled rows, with the paired bootstrap of their difference."""
    from bertlab.evaluation import evaluate, statistics
    from bertlab.evaluation.metrics import METRICS
    from bertlab.inference import engines

    if scored is None or scored.labels is None:
        raise UserError("there are no labels to measure int8 on.", "Leave --quantize out.")
    tokenized = predictor.encode(scored.rows)
    logits = [engines.all_logits(engine, predictor, tokenized) for engine in (before, after)]
    limits = np.asarray(predictor.thresholds) if predictor.thresholds else None
    said = [evaluate.predictions_from_logits(scored.schema, side / predictor.temperature, limits) for side in logits]
    known = evaluate.labelled_rows(scored.labels, len(tokenized))
    truth, (old, new) = scored.labels[known], [side[known] for side in said]
    told = {}
    for name in scored.metrics:
        found = statistics.paired_bootstrap(METRICS[name], new, old, truth)
        told[name] = {
            "before": METRICS[name](old, truth),
            "after": METRICS[name](new, truth),
            **{key: getattr(found, key) for key in ("difference", "low", "high", "n")},
            "verdict": statistics.describe_comparison(found, name, "int8", "fp32"),
        }
    changed = int((said[0] != said[1]).reshape(len(tokenized), -1).any(axis=1).sum())
    largest = float(np.abs(logits[0] - logits[1]).max())
    return {"score": {"split": scored.name, "metrics": told, "changed": changed, "largest_logit_difference": largest}}


def _speed(
    measured: "Sequence[Engine]", predictor: "TorchPredictor", rows: "Sequence[Row]", rounds: int
) -> dict[str, Any]:
    """Time every engine on the same rows, in batches of like length and one by one."""
    import torch

    from bertlab.inference import engines

    tokenized = _within(predictor.encode(rows[:TIMED_TOKENS]), TIMED_TOKENS)
    single = tokenized[:TIMED_ONE_BY_ONE]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "load_before": load,
        "rows": len(tokenized),
        "tokens": sum(len(row["input_ids"]) for row in tokenized),
        "batched": engines.speeds(measured, predictor, tokenized, rounds),
        "one_by_one": engines.speeds(measured, predictor, single, rounds, one_by_one=True),
    }


def _within(tokenized: "Tokenized", tokens: int) -> "Tokenized":
    """Return the first rows that hold about so many tokens, at least one."""
    total = np.cumsum([len(row["input_ids"]) for row in tokenized])
    return tokenized[: max(1, int(np.searchsorted(total, tokens, side="right")))]


def _scored_split(run: RunFolder, predictor: "TorchPredictor", quantize: str | None) -> "ScoredSplit | None":
    """Return the texts and labels of the run, or None, saying so, where sample texts are enough."""
    from bertlab.commands import scored_split

    try:
        scored = scored_split.scored_split(run, predictor.tokenizer)
    except UserError as error:
        if quantize:
            raise UserError(
                f"--quantize {quantize} changes predictions, and the data to measure it on is not at hand: "
                f"{error.problem}",
                "Call it from the folder that the run was started in, where its data lies.",
            ) from error
        info(f"the run's data is not at hand ({error.problem}), so the check is made on sample texts.")
        return None
    if quantize and scored.labels is None:
        raise UserError(
            f"--quantize {quantize} changes predictions, and {scored.name} has no labels to measure it on.",
            "Evaluate the run on labelled rows first.",
        )
    return scored


def _check(run: RunFolder, output: Path, options: argparse.Namespace) -> None:
    """Refuse, before anything is loaded, what cannot end well."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"export needs {', '.join(missing)}, not installed here.", f"pip install {' '.join(NEEDED)}")
    if run.metrics == ["masked_accuracy"]:
        raise UserError(f"{run.path} was trained on masked words alone; it has no classes to export.", "Train a head.")
    if output.is_file() or output.suffix == ".onnx":
        raise UserError(
            f"--output {output} must be a folder.", "The tokenizer and the label names go beside the model."
        )
    for parent in output.parents:
        if parent.exists() and not parent.is_dir():
            raise UserError(f"--output {output}: {parent} is a file, not a folder.", "Name another folder.")
    if output.resolve() == run.path.resolve():
        raise UserError(f"--output {output} is the run itself.", f"Leave it out for {run.path / 'onnx'}.")
    if output.is_dir() and any(output.iterdir()):
        if not options.overwrite:
            raise UserError(f"--output {output} is not empty.", "Name another folder, or pass --overwrite.")
        if not (output / REPORT).is_file():
            raise UserError(f"--overwrite: {output} holds no earlier export.", "Name another folder.")


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """Yield a folder that becomes `output` if the block ends well, and is gone if it does not."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    except OSError as error:
        raise UserError(f"--output {output} cannot be made: {error.strerror}.", "Name another folder.") from error
    try:
        yield folder
        folder.chmod(0o755)
        if output.is_dir():
            shutil.rmtree(output)
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's and the quantiser's remarks on their own workings from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _logits_module(predictor: "TorchPredictor") -> "torch.nn.Module":
    """Return a module whose only output is the class logits, whatever heads the model has."""
    import torch

    from bertlab.inference.torch_predictor import logits_of

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = predictor.model

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            token_type_ids: torch.Tensor | None = None,
        ) -> torch.Tensor:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                inputs["token_type_ids"] = token_type_ids
            return logits_of(self.model(**inputs))

    return Logits().eval()


def _positions(predictor: "TorchPredictor") -> int:
    from bertlab.data.input_length import longest_input
    from bertlab.models.loading import USUAL_POSITIONS

    longest = longest_input(predictor.tokenizer, predictor.model.config, unstated=USUAL_POSITIONS)
    return max(longest, predictor.max_length)


def _megabytes(folder: Path) -> float:
    # Above 2 GB the weights lie beside the graph, in model.onnx.data.
    return sum(path.stat().st_size for path in folder.glob(f"{MODEL}*")) / 1e6


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def _readme(predictor: "TorchPredictor", output: Path) -> str:
    return (
        f"# {output.parent.name}, as ONNX\n\n"
        f"`{MODEL}` takes token ids and gives logits. Class names, longest input and temperature are in its "
        f"metadata, and what was measured is in `{REPORT}`.\n{_preparation(predictor)}"
        f"\n```python\n{usage(predictor, Path())}```\n"
    )


def _preparation(predictor: "TorchPredictor") -> str:
    """Say what was done to the texts before they met the tokenizer, which `predict` does and a program must do."""
    reading, told = predictor.reading, []
    if predictor.clean:
        told.append(f"Clean the text first as in training: `--clean {' '.join(predictor.clean)}`.")
    if len(reading.text_column_names) > 1 and not reading.pairs:
        columns = ", ".join(f"`{name}`" for name in reading.text_column_names)
        text_column_delimiter = " " if reading.text_column_delimiter is None else reading.text_column_delimiter
        told.append(f"A text is the columns {columns}, in this order, joined with {json.dumps(text_column_delimiter)}.")
    return "".join(f"\n{sentence}\n" for sentence in told)


def _print(report: dict[str, Any], output: Path) -> None:
    parity, speed = report["parity"], report["speed"]
    say(
        f"\nLogits differ from PyTorch's by at most {parity['largest_difference']:.2g} over {parity['rows']} rows "
        f"({parity['texts']}); {parity['tolerance']:g} is allowed."
    )
    for regime, told in (("in batches of like length", speed["batched"]), ("one at a time", speed["one_by_one"])):
        rows = [(name, one["rows_per_second"], one["ratio"], _span(one)) for name, one in told.items()]
        say(f"\n{regime}, {speed['threads']} threads, {speed['rounds']} rounds in turns\n")
        say(table(rows, ("engine", "rows/s", "times torch fp32", "over rounds")))
    if "score" in report:
        score = report["score"]
        rows = [(name, one["before"], one["after"], one["n"]) for name, one in score["metrics"].items()]
        say(f"\n{score['split']}: {score['changed']} predictions changed\n")
        say(table(rows, ("metric", "fp32", "int8", "n")))
        for one in score["metrics"].values():
            say(one["verdict"])
        say(f"\n{report['megabytes_fp32']:.1f} MB became {report['megabytes']:.1f} MB.")
    say(f"\n{output / MODEL}: {report['megabytes']:.1f} MB")


def _span(one: dict[str, Any]) -> str:
    return f"{one['ratio_low']:.2f} to {one['ratio_high']:.2f}"


def _parser() -> Parser:
    parser = Parser("python -m bertlab export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the --output_dir of a finished run")
    parser.add_argument("--format", choices=("onnx",), required=True, help="what to write")
    parser.add_argument("--quantize", choices=("int8",), help="int8 weights; the score is measured before and after")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to [RUN/onnx, RUN/onnx-int8]")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export there")
    parser.add_argument(
        "--tolerance", type=_tolerance, default=TOLERANCE, help="largest difference of a float32 logit [%(default)s]"
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="how often speed is measured [%(default)s]")
    return parser


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
