"""Training on one GPU at BERT's shapes: ours, the plain Trainer's ways, and what short and long sequences ask for.

    python -m benchmarks.gpu                     # on a machine with a GPU
    python -m benchmarks.gpu --tiny --cpu        # the same code on a small model, to see that it runs

Weights are random and so are the tokens: only speed is measured. The ways to train are compared in plain loops, and
the whole CoLA recipe is run by run_classification.py. Rates are examples a second and real tokens a second; the share
is that of the best bf16 matrix product measured here, at 6 operations a weight and token.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks import measure
from bertlab.models import loading
from bertlab.training.sampling import LengthGroupedOrder

ROOT = Path(__file__).resolve().parent.parent
SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
}
COLA_ROWS, BATCH = 8551, 32
# Compiled graphs are recorded for each width; rounding up to these keeps them few.
BUCKETS = (8, 12, 16, 24, 32, 48, 64, 128, 256, 512)
WARM_UP = 5
WORDS = ("the", "a", "boy", "girl", "cat", "reads", "walks", "often", "never", "film", "street", "red")


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
    # transformers takes the padding out before it and puts it back after.
    "unpadded attention": replace(OURS, attention="flash_attention_2"),
}
EVALUATION_BATCHES = (8, 32, 128, 512)
# Flags of the whole recipe, run by the script itself.
SCRIPT = {
    "defaults": (),
    "loading workers": ("--dataloader_num_workers", "2"),
    "compiled": ("--torch_compile", "true"),
    "no saving": ("--save_strategy", "no"),
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
        found[f"{shape}, the whole CoLA recipe, seconds"] = recipe(shape, texts(where)["CoLA-like"], given.cpu)
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
        ways = {n: w for n, w in ways.items() if not w.compiled and w.attention in ("sdpa", "eager")}
    steps = where.size(60, 2)
    runs: dict[str, Callable[[], float]] = {}
    failed = {}
    for way_name, way in ways.items():
        try:
            step, weights = build(shape, way, device)
            run = partial(rate, step, lengths, way, device, steps)
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
        "evaluation, examples/s by batch": {
            size: evaluation_rate(shape, lengths, size, device) for size in EVALUATION_BATCHES[: where.size(4, 2)]
        },
        "failed": failed,
    }


def classifier(shape: str, way: Way, device: torch.device) -> tuple[torch.nn.Module, int]:
    """Return a BERT with random weights, and the number of those in the encoder's matrices."""
    torch.manual_seed(0)
    config = BertConfig(num_labels=2, attn_implementation=way.attention, **SHAPES[shape])
    model = BertForSequenceClassification(config).to(device).train()
    return model, sum(p.numel() for name, p in model.named_parameters() if "layer" in name and p.ndim == 2)


def build(shape: str, way: Way, device: torch.device) -> tuple[Callable[[dict[str, torch.Tensor]], None], int]:
    """Return a function that trains one step, and the number of weights in the encoder's matrices."""
    model, weights = classifier(shape, way, device)
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


def evaluation_rate(shape: str, lengths: np.ndarray, size: int, device: torch.device) -> float:
    """Return examples a second of the forward pass, from long to short in batches of `size` rows."""
    model, _ = classifier(shape, OURS, device)
    model.eval()
    ordered = np.sort(lengths)[::-1]
    random = np.random.default_rng(0)
    ready = [padded(ordered[start : start + size], OURS, random) for start in range(0, len(ordered), size)]
    began = 0.0
    for index, batch in enumerate([ready[0], *ready]):
        if index == 1:
            wait(device)
            began = time.perf_counter()
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
            model(**{name: value.to(device) for name, value in batch.items() if name != "labels"})
    wait(device)
    return len(ordered) / (time.perf_counter() - began)


def recipe(shape: str, lengths: np.ndarray, cpu: bool) -> dict[str, Any]:
    """Return the seconds of run_classification.py --task cola, training and whole, on made-up sentences.

    On a CPU nothing is compiled: to compile every length there takes longer than to train.
    The model has random weights in the shape of BERT, and the vocabulary of MiniLM.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder, "data"), Path(folder, "model")
        write_sentences(data, lengths)
        BertForSequenceClassification(BertConfig(num_labels=2, **SHAPES[shape])).save_pretrained(model)
        AutoTokenizer.from_pretrained(loading.resolve(measure.WEIGHTS)).save_pretrained(model)
        for name, flags in SCRIPT.items():
            if cpu and "--torch_compile" in flags:
                continue
            output = Path(folder, name.replace(" ", "_"))
            words = ["--task", "cola", "--data_dir", data, "--model_name_or_path", model, "--output_dir", output]
            words += [*flags, "--disable_tqdm", "true", *(["--use_cpu", "true"] if cpu else [])]
            command = [sys.executable, "run_classification.py", *map(str, words)]
            began = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            whole = time.perf_counter() - began
            if done.returncode:
                found[name] = {"failed": done.stderr.strip().splitlines()[-1][:200]}
                continue
            training = json.loads((output / "train_results.json").read_text(encoding="utf-8"))["train_runtime"]
            found[name] = {"training": training, "from command to end": whole}
    return found


def write_sentences(folder: Path, lengths: np.ndarray) -> None:
    """Write CoLA's files with sentences of short words, about as many tokens as `lengths` say."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, part in (("train", lengths), ("dev", lengths[: len(lengths) // 8])):
        sentences = (" ".join(random.choice(WORDS, max(1, length - 2))) for length in part.tolist())
        lines = [f"made\t{random.integers(2)}\t\t{sentence}." for sentence in sentences]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def batches(lengths: np.ndarray, way: Way) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of random tokens for ever, epoch after epoch."""
    random = np.random.default_rng(0)
    order = LengthGroupedOrder(lengths, BATCH, 0)
    while True:
        rows = np.fromiter(order, dtype=np.int64) if way.grouped else random.permutation(len(lengths))
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            yield padded(lengths[rows[start : start + BATCH]], way, random)


def padded(lengths: np.ndarray, way: Way, random: np.random.Generator) -> dict[str, torch.Tensor]:
    """Return a batch of random tokens in rows of these lengths, padded as a way pads."""
    width = way.pad_to or int(lengths.max())
    if way.buckets:
        width = next(bucket for bucket in BUCKETS if bucket >= width)
    mask = np.arange(width)[None, :] < lengths[:, None]
    ids = np.where(mask, random.integers(1000, 20_000, mask.shape), 0)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "labels": torch.from_numpy(random.integers(0, 2, len(lengths))),
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
