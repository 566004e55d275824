"""Training on one GPU at BERT's shapes: ours, the plain Trainer's ways, and what short and long sequences ask for.

    python -m benchmarks.gpu                     # on a machine with a GPU
    python -m benchmarks.gpu --tiny --cpu        # the same code on a small model, to see that it runs

Weights are random and so are the tokens: only speed is measured. Rates are examples a second and real tokens a
second; the share is that of the best bf16 matrix product measured here, at 6 operations a weight and token.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks import measure
from bertlab.ordering import LengthGroupedOrder

SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
}
COLA_ROWS, COLA_EPOCHS, BATCH = 8551, 3, 32
# Compiled graphs are recorded for each width; rounding up to these keeps them few.
BUCKETS = (8, 12, 16, 24, 32, 48, 64, 128, 256, 512)
WARM_UP = 5


@dataclass(frozen=True)
class Way:
    """One way to train: precision, padding, order, optimizer, compilation, attention."""

    bf16: bool = True
    pad_to: int | None = None
    grouped: bool = True
    buckets: bool = False
    fused: bool = True
    compiled: str | None = None
    attention: str = "sdpa"


OURS = Way()
PEERS = {
    "example scripts, defaults": replace(OURS, bf16=False, pad_to=128, grouped=False),
    "example scripts, best flags": replace(OURS, grouped=False),
    "tutorials' loop": replace(OURS, bf16=False, pad_to=64, grouped=False, fused=False),
}
TRIALS = {
    "buckets": replace(OURS, buckets=True),
    "compiled, buckets": replace(OURS, buckets=True, compiled="default"),
    "CUDA graphs, buckets": replace(OURS, buckets=True, compiled="reduce-overhead"),
    "unfused AdamW": replace(OURS, fused=False),
    "eager attention": replace(OURS, attention="eager"),
}


def main() -> int:
    """Measure, print, write."""
    given = parse()
    where = measure.Options(Path(), given.rounds, given.tiny, given.results)
    device = torch.device("cpu" if given.cpu else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("error: there is no GPU here. Add --cpu --tiny to see that the benchmark runs.")
    peak = best_product(device, where.size(8192, 256))
    found: dict[str, Any] = {"best bf16 matrix product, GFLOP/s": peak / 1e9}
    for shape in ("tiny",) if given.tiny else ("base", "large"):
        for name, lengths in texts(where).items():
            found[f"{shape}, {name}"] = compare(shape, name, lengths, device, where, peak)
    measure.write(where, "gpu", found)
    return 0


def parse() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="run on the CPU")
    parser.add_argument("--tiny", action="store_true", help="a small model and few steps: figures mean nothing")
    parser.add_argument("--results", type=Path, default=measure.RESULTS)
    return parser.parse_args()


def texts(where: measure.Options) -> dict[str, np.ndarray]:
    """Return lengths in tokens: CoLA's (log-normal about 11 tokens), and rows that all have 128 or 512."""
    random = np.random.default_rng(0)
    cola = np.clip(np.round(random.lognormal(2.35, 0.38, where.size(COLA_ROWS, 200))), 5, 47).astype(np.int64)
    full = {f"{n} tokens": np.full(where.size(1024, 48), n) for n in ((16,) if where.quick else (128, 512))}
    return {"CoLA-like": cola, **full}


def compare(
    shape: str, name: str, lengths: np.ndarray, device: torch.device, where: measure.Options, peak: float
) -> dict[str, Any]:
    """Return the rates of every way on one set of lengths, in turns; a way that fails is named with its error."""
    ways = {measure.OURS: OURS, **PEERS, **TRIALS}
    if name != "CoLA-like":
        # Of equal rows there is nothing to group, and 64 tokens would be another text.
        ways = {n: replace(w, pad_to=None) for n, w in ways.items() if n != "tutorials' loop"}
    if device.type == "cpu":
        ways = {n: w for n, w in ways.items() if not w.compiled}
    steps = where.size(60, 2)
    runs: dict[str, Callable[[], float]] = {}
    failed = {}
    for way_name, way in ways.items():
        step, weights = build(shape, way, device)
        run = partial(rate, step, lengths, way, device, steps)
        try:
            run()
        except (RuntimeError, ImportError) as error:
            failed[way_name] = str(error).splitlines()[0]
            continue
        runs[way_name] = run
    rates = measure.in_turns(runs, where.rounds)
    tokens = {n: float(np.median(r) * lengths.mean()) for n, r in rates.items()}
    return {
        **measure.compared(rates, "examples/s", {"example scripts, defaults": 5.0}),
        "tokens_per_second": tokens,
        "share_of_peak": {n: t * 6 * weights / peak for n, t in tokens.items()},
        "cola_recipe_seconds": {n: COLA_ROWS * COLA_EPOCHS / float(np.median(r)) for n, r in rates.items()},
        "failed": failed,
    }


def build(shape: str, way: Way, device: torch.device) -> tuple[Callable[[dict[str, torch.Tensor]], None], int]:
    """Return a function that trains one step, and the number of weights in the encoder's matrices."""
    torch.manual_seed(0)
    config = BertConfig(num_labels=2, **SHAPES[shape])
    config._attn_implementation = way.attention
    model = BertForSequenceClassification(config).to(device).train()
    weights = sum(p.numel() for name, p in model.named_parameters() if "layer" in name and p.ndim == 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=way.fused)
    forward = torch.compile(model, mode=way.compiled) if way.compiled else model

    def step(batch: dict[str, torch.Tensor]) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=way.bf16):
            logits = forward(**{name: value for name, value in batch.items() if name != "labels"}).logits
        torch.nn.functional.cross_entropy(logits.float(), batch["labels"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, weights


def batches(lengths: np.ndarray, way: Way) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of random tokens for ever, epoch after epoch."""
    random = np.random.default_rng(0)
    order = LengthGroupedOrder(lengths, BATCH, 0)
    while True:
        rows = np.fromiter(order, dtype=np.int64) if way.grouped else random.permutation(len(lengths))
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            part = lengths[rows[start : start + BATCH]]
            width = way.pad_to or int(part.max())
            if way.buckets:
                width = next(bucket for bucket in BUCKETS if bucket >= width)
            mask = np.arange(width)[None, :] < part[:, None]
            ids = np.where(mask, random.integers(1000, 20_000, mask.shape), 0)
            yield {
                "input_ids": torch.from_numpy(ids),
                "attention_mask": torch.from_numpy(mask.astype(np.int64)),
                "labels": torch.from_numpy(random.integers(0, 2, BATCH)),
            }


def rate(
    step: Callable[[dict[str, torch.Tensor]], None], lengths: np.ndarray, way: Way, device: torch.device, steps: int
) -> float:
    """Return examples a second, from batches in pinned memory to the end of the last step."""
    source = batches(lengths, way)
    ready = [next(source) for _ in range(WARM_UP + steps)]
    if device.type == "cuda":
        ready = [{name: value.pin_memory() for name, value in batch.items()} for batch in ready]
    began = 0.0
    for index, batch in enumerate(ready):
        if index == WARM_UP:
            wait(device)
            began = time.perf_counter()
        step({name: value.to(device, non_blocking=True) for name, value in batch.items()})
    wait(device)
    return BATCH * steps / (time.perf_counter() - began)


def best_product(device: torch.device, size: int) -> float:
    """Return the operations a second of a square bf16 matrix product, the best of five."""
    left, right = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    torch.mm(left, right)
    seconds = []
    for _ in range(5):
        wait(device)
        began = time.perf_counter()
        torch.mm(left, right)
        wait(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def wait(device: torch.device) -> None:
    """Wait until the GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
