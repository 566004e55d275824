"""One model behind several engines, given the same encoded rows: how far apart, how fast, how good."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertlab.inference import torch_predictor
from bertlab.inference.onnx_predictor import open_session
from bertlab.inference.predictor import token_batches
from bertlab.inference.torch_predictor import TorchPredictor
from bertlab.training import precision
from bertlab.training.collators import PaddingCollator

Tokenized = Sequence[dict[str, Any]]
# What every ratio is taken against.
REFERENCE = "torch fp32"


@dataclass(frozen=True)
class Engine:
    """Something that turns a padded batch into logits (rows, outputs), float32."""

    name: str
    logits: Callable[[dict[str, torch.Tensor]], np.ndarray]


def torch_engines(predictor: TorchPredictor) -> list[Engine]:
    """Return PyTorch in float32, and as `predict` runs it where that is another precision."""
    model, device = predictor.model, torch.device("cpu")

    def engine(name: str, context: Callable[[], Any]) -> Engine:
        def logits(batch: dict[str, torch.Tensor]) -> np.ndarray:
            with torch.inference_mode(), context():
                return torch_predictor.logits_of(model(**batch)).float().numpy()

        return Engine(name, logits)

    found = [engine(REFERENCE, nullcontext)]
    lower, _ = precision.automatic(cpu=True)
    if lower != "fp32" and predictor.trained_in != "fp32":
        found.append(engine(f"torch {lower}", lambda: torch_predictor.autocast(device, predictor.trained_in)))
    return found


def onnx_engine(path: Path, name: str) -> Engine:
    """Return ONNX Runtime with a model's file, on the processor with as many threads as PyTorch has."""
    session = open_session(path, threads=torch.get_num_threads())
    inputs = [value.name for value in session.get_inputs()]

    def logits(batch: dict[str, torch.Tensor]) -> np.ndarray:
        return np.asarray(session.run(None, {name: batch[name].numpy() for name in inputs})[0])

    return Engine(name, logits)


def all_logits(engine: Engine, predictor: TorchPredictor, tokenized: Tokenized) -> np.ndarray:
    """Return an engine's logits (rows, outputs) of encoded rows, in their order."""
    lengths = [len(row["input_ids"]) for row in tokenized]
    batches = list(token_batches(lengths))
    parts = [engine.logits(batch) for batch in _padded(predictor, tokenized, batches)]
    logits = np.concatenate(parts)
    found = np.empty_like(logits)
    found[np.concatenate(batches)] = logits
    return found


def largest_difference(one: Engine, other: Engine, predictor: TorchPredictor, tokenized: Tokenized) -> float:
    """Return the largest absolute difference of two engines' logits.

    Batches of one (the shortest and the longest row), one of very different lengths, and batches of like lengths.
    """
    order = np.argsort([len(row["input_ids"]) for row in tokenized], kind="stable")
    ragged = order[np.linspace(0, len(order) - 1, min(8, len(order))).astype(int)].tolist()
    like = list(token_batches([len(row["input_ids"]) for row in tokenized]))
    batches = _padded(predictor, tokenized, [[int(order[0])], [int(order[-1])], ragged, *like])
    return max(float(np.abs(one.logits(batch) - other.logits(batch)).max()) for batch in batches)


def speeds(
    engines: Sequence[Engine],
    predictor: TorchPredictor,
    tokenized: Tokenized,
    rounds: int,
    *,
    one_by_one: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return rows a second of each engine, and its speed over the first one's with the spread over rounds.

    The engines run the same batches in turns, `rounds` times after one round that is not counted, so that what else
    the machine does falls on all of them alike.
    """
    lengths = [len(row["input_ids"]) for row in tokenized]
    cut = [[row] for row in range(len(tokenized))] if one_by_one else list(token_batches(lengths))
    batches = _padded(predictor, tokenized, cut)
    seconds = np.empty((rounds + 1, len(engines)))
    for turn in range(rounds + 1):
        for position, engine in enumerate(engines):
            started = time.perf_counter()
            for batch in batches:
                engine.logits(batch)
            seconds[turn, position] = time.perf_counter() - started
    counted = seconds[1:]
    ratios = counted[:, :1] / counted
    return {
        engine.name: {
            "rows_per_second": len(tokenized) / float(np.median(counted[:, position])),
            "ratio": float(np.median(ratios[:, position])),
            "ratio_low": float(ratios[:, position].min()),
            "ratio_high": float(ratios[:, position].max()),
        }
        for position, engine in enumerate(engines)
    }


def _padded(
    predictor: TorchPredictor, tokenized: Tokenized, batches: Sequence[Sequence[int]]
) -> list[dict[str, torch.Tensor]]:
    collate = PaddingCollator(predictor.tokenizer)
    return [collate([tokenized[row] for row in batch]) for batch in batches]
