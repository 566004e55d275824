"""How fast, how large and how good an exported model is beside the model it was made from.

    python benchmarks/export.py --run runs/cola --output benchmarks/results/export.json

Exports a finished run in float32 and in int8 into a temporary folder. PyTorch in float32, PyTorch as `predict` runs it,
and ONNX Runtime in float32 and int8 then take turns on the same texts, with the same number of threads, in
length-bucketed batches and one text at a time. The run must have labels, and its data must still be where it was
trained on.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bertlab.cli.arguments import ModelArguments  # noqa: E402
from bertlab.commands import export  # noqa: E402
from bertlab.console import say, table  # noqa: E402
from bertlab.inference import onnx_predictor, torch_predictor  # noqa: E402
from bertlab.inference.predictor import Predictor, token_batches  # noqa: E402
from bertlab.io import read_json, write_json  # noqa: E402
from bertlab.report.run_folder import RunFolder  # noqa: E402
from bertlab.training import precision  # noqa: E402

# What every ratio is taken against.
REFERENCE = "torch fp32"
# Timed per engine and round: about 170 sentences of CoLA, or 4 texts of 512 tokens.
TIMED_TOKENS = 2048
TIMED_ONE_BY_ONE = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the report; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="a finished run with a labelled evaluation split")
    parser.add_argument("--rounds", type=int, default=5, help="how often speed is measured [%(default)s]")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "export.json")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="export_") as folder:
        for name, more in {"fp32": (), "int8": ("--quantize", "int8")}.items():
            output = Path(folder) / name
            status = export.main([str(options.run), "--format", "onnx", "--output", str(output), *more])
            if status:
                return status
        report = read_json(Path(folder) / "int8" / export.REPORT)
        report["speed"] = speed(options.run, Path(folder), options.rounds)
    write_json(options.output, report)
    return 0


def speed(run: Path, exports: Path, rounds: int) -> dict[str, Any]:
    """Return what the engines do in batches and one by one, on the first rows of the run's evaluation split."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    engines = open_engines(run, exports)
    reference = engines[REFERENCE]
    tokenized = reference.tokenize(export.scored_split(RunFolder.read(run), reference.tokenizer).rows)
    total = np.cumsum([len(row["input_ids"]) for row in tokenized])
    tokenized = tokenized[: max(1, int(np.searchsorted(total, TIMED_TOKENS, side="right")))]
    bucketed = list(token_batches([len(row["input_ids"]) for row in tokenized]))
    single = [[row] for row in range(min(TIMED_ONE_BY_ONE, len(tokenized)))]
    return {
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "load_before": load,
        "rows": len(tokenized),
        "tokens": sum(len(row["input_ids"]) for row in tokenized),
        "batched": speeds("in length-bucketed batches", engines, tokenized, bucketed, rounds),
        "one_by_one": speeds("one text at a time", engines, tokenized, single, rounds),
    }


def open_engines(run: Path, exports: Path) -> dict[str, Predictor]:
    """Return the same model in PyTorch and ONNX Runtime, by name; PyTorch's 16 bits where `predict` would use them."""
    predictor = torch_predictor.load_torch_predictor(ModelArguments(model_name_or_path=str(run)))
    predictor.model.to("cpu")  # type: ignore[arg-type]  # transformers types `to` as taking no string
    engines: dict[str, Predictor] = {REFERENCE: replace(predictor, config=replace(predictor.config, precision="fp32"))}
    lower, _ = precision.automatic(cpu=True)
    if "fp32" not in (lower, predictor.config.precision):
        engines[f"torch {lower}"] = predictor
    for name in ("fp32", "int8"):
        engines[f"onnx {name}"] = onnx_predictor.load_onnx_predictor(
            str(exports / name), threads=torch.get_num_threads()
        )
    return engines


def speeds(
    title: str,
    engines: Mapping[str, Predictor],
    tokenized: Sequence[dict[str, Any]],
    batches: Sequence[Sequence[int]],
    rounds: int,
) -> dict[str, dict[str, Any]]:
    """Return rows a second of each engine, and its speed over the first one's with the range over rounds.

    The engines run the same batches in turns, `rounds` times after one round that is not counted, so that what else
    the machine does falls on all of them alike.
    """
    seconds = np.empty((rounds + 1, len(engines)))
    for turn in range(rounds + 1):
        for column, engine in enumerate(engines.values()):
            padded = [engine.pad([tokenized[row] for row in batch]) for batch in batches]
            started = time.perf_counter()
            with engine.inference_mode():
                for batch in padded:
                    engine.forward(batch)
            seconds[turn, column] = time.perf_counter() - started
    rates = sum(map(len, batches)) / seconds[1:]
    ratios = rates / rates[:, :1]
    found = {
        name: {
            "rows_per_second": float(np.median(rates[:, column])),
            "ratio": float(np.median(ratios[:, column])),
            "ratio_low": float(ratios[:, column].min()),
            "ratio_high": float(ratios[:, column].max()),
        }
        for column, name in enumerate(engines)
    }
    say(f"\n{title}, {torch.get_num_threads()} threads, {rounds} rounds in turns\n")
    header = ("engine", "rows/s", "times torch fp32", "lowest", "highest")
    say(table([(name, *values.values()) for name, values in found.items()], header))
    return found


if __name__ == "__main__":
    sys.exit(main())
