"""What a GPU makes of training: one command for eight minutes on a rented machine without a network.

    python -m benchmarks.gpu FOLDER --build        # where requirements.txt is installed; then copy FOLDER and this code
    python -m benchmarks.gpu FOLDER                # on the machine
    python -m benchmarks.gpu FOLDER --device cpu --shape tiny     # to see that it runs: figures mean nothing

FOLDER holds a tokenizer, a configuration, made-up rows of three lengths (CoLA's, 128 and 512 tokens), and the names of
the packages to install (wheels.txt). Weights are random: what is measured is speed, and whether killed runs end as
others. A cell adds a line to FOLDER/gpu.jsonl when it is done, the most telling first; a second call does the others.
"""

import argparse
import gc
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("torch", "transformers", "datasets", "evaluate", "accelerate", "sklearn", "yaml")
SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
}
WORDS = ("the", "a", "boy", "girl", "cat", "reads", "walks", "often", "never", "film", "street", "red")
COLA_ROWS, LONG_ROWS = 8551, 2048
LENGTHS = {"CoLA": 128, "128 tokens": 128, "512 tokens": 512}  # and --max_seq_length
HF_DEFAULTS, HF_BEST, OURS = "example scripts, defaults", "example scripts, best flags", "bertlab"
GRAPHS = ("--torch_compile", "true", "--torch_compile_mode", "reduce-overhead", "--pad_to_max_length")


@dataclass(frozen=True)
class Place:
    """Where the rows and the model are, what computes, how much is measured, and when to stop."""

    folder: Path
    device: str
    tiny: bool
    end: float

    @property
    def flags(self) -> list[str]:
        """The flags of every run."""
        return ["--use_cpu", "true"] if self.device == "cpu" else []


# A function of the place and of what follows it.
Cell = tuple[Callable[..., dict[str, Any]], *tuple[Any, ...]]


def cells() -> dict[str, Cell]:
    """Return what is measured, the most telling first."""
    whos, few = (HF_DEFAULTS, HF_BEST, OURS), ("CoLA", "128 tokens")
    batch = "--per_device_train_batch_size"
    return {
        "bf16 matrix product": (ceiling,),
        **{f"{who}, {text}": (training, who, text) for text in LENGTHS for who in whos},
        **{f"{OURS}, {text}, batch {n}": (training, OURS, text, batch, str(n)) for text in few for n in (128, 512)},
        "CoLA, from command to end": (whole_run,),
        "fp16, killed and resumed": (killed_run, "fp16"),
        "bf16, killed and resumed": (killed_run, "bf16"),
        f"{OURS}, 128 tokens, CUDA graphs": (training, OURS, "128 tokens", *GRAPHS),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Build the folder where it is missing, run the cells for which there is time, and say which were not reached."""
    given = parse(argv)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"error: not installed here: {', '.join(missing)}. {given.folder / 'wheels.txt'} lists what to install."
        )
    began = time.monotonic()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: there is no GPU here. Add --device cpu --shape tiny to see that the benchmark runs.")
    tiny = given.shape == "tiny"
    if not (given.folder / "wheels.txt").exists():
        build(given.folder, given.shape)
    if given.build:
        return 0
    write_weights(given.folder / "model")
    lines = given.folder / "gpu.jsonl"
    done = {line["cell"]: line for line in map(json.loads, lines.read_text().splitlines())} if lines.exists() else {}
    if "about" not in done:
        append(lines, done, {"cell": "about", **about()})
    place = Place(given.folder, given.device, tiny, began + given.seconds)
    wanted = cells()
    for name, cell in wanted.items():
        if name not in done and time.monotonic() < place.end:
            append(lines, done, {"cell": name, **measured(cell, place)})
    publish(done, given.results)
    not_reached = [name for name in wanted if name not in done]
    print(f"not reached: {'; '.join(not_reached)}" if not_reached else "every cell was reached")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--build", action="store_true", help="only write the folder")
    parser.add_argument("--seconds", type=float, default=480, help="no cell begins after so many [480]")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shape", choices=tuple(SHAPES), default="base")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of gpu.json")
    return parser.parse_args(argv)


def measured(cell: Cell, place: Place) -> dict[str, Any]:
    """Return the figures of a cell, or why it failed, and how long it took."""
    import torch

    began = time.monotonic()
    try:
        found = cell[0](place, *cell[1:])
    except Exception as error:  # one cell must not end the others
        found = {"failed": (str(error).strip() or type(error).__name__).splitlines()[-1][:300]}
    gc.collect()
    torch.cuda.empty_cache()
    return {**found, "seconds of this cell": round(time.monotonic() - began, 1)}


def append(path: Path, done: dict[str, Any], line: dict[str, Any]) -> None:
    """Add a line to the file at once, and print it."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    done[line["cell"]] = line
    print(json.dumps(line), flush=True)


def about() -> dict[str, Any]:
    """Return machine, versions and commit."""
    from bertlab.report import provenance

    return {"machine": provenance.machine(), "versions": provenance.versions(), "code": provenance.commit()}


def publish(done: dict[str, Any], results: Path) -> None:
    """Write gpu.json, from which the table in docs/numbers.md is made: each figure of every cell that has it."""
    from bertlab.io import write_json

    found: dict[str, dict[str, Any]] = {}
    for name, line in done.items():
        for figure, value in line.items():
            if name != "about" and figure != "cell":
                found.setdefault(figure, {})[name] = value
    write_json(results / "gpu.json", {**found, **{k: v for k, v in done["about"].items() if k != "cell"}, "rounds": 1})


# ------------------------------------------------------------------------------------------------------------ folder


def build(folder: Path, shape: str) -> None:
    """Write all that a machine without a network needs, but for the packages, whose names and versions it lists."""
    from importlib.metadata import version

    import numpy as np
    from transformers import AutoTokenizer, BertConfig

    from benchmarks.measure import WEIGHTS
    from bertlab.models import loading
    from bertlab.report import provenance

    model, random = folder / "model", np.random.default_rng(0)
    tokenizer = AutoTokenizer.from_pretrained(loading.resolve(WEIGHTS))
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(model)
    BertConfig(vocab_size=len(tokenizer), num_labels=2, **SHAPES[shape]).save_pretrained(model)
    cola = np.clip(np.round(random.lognormal(2.35, 0.38, COLA_ROWS)), 5, 47).astype(int)
    for name, longest in LENGTHS.items():
        lengths = cola if name == "CoLA" else np.full(LONG_ROWS, longest)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for split, part in (("train", lengths), ("dev", lengths[: len(lengths) // 8])):
            # [CLS], the full stop and [SEP] are tokens too.
            sentences = (" ".join(random.choice(WORDS, length - 3)) for length in part.tolist())
            rows = [f"made\t{random.integers(2)}\t\t{sentence}." for sentence in sentences]
            (folder / name / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    named = [f"{name}=={number}" for name, number in provenance.versions().items() if name not in ("python", "bertlab")]
    named += [f"{name}=={version(name)}" for name in ("pyyaml", "filelock", "safetensors", "sentencex", "jinja2")]
    (folder / "wheels.txt").write_text("\n".join(named) + "\n", encoding="utf-8")


def write_weights(model: Path) -> None:
    """Write the random weights of the configuration in a folder: they are larger than all else, and the same."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    if not (model / "model.safetensors").exists():
        torch.manual_seed(0)
        BertForSequenceClassification(BertConfig.from_pretrained(model)).save_pretrained(model)


# ------------------------------------------------------------------------------------------------------------- cells


def ceiling(place: Place) -> dict[str, float]:
    """Return the rate of a square bf16 matrix product, the best of five."""
    import torch

    size = 256 if place.tiny else 8192
    left, right = (torch.randn(size, size, device=place.device).to(torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(6):
        wait()
        began = time.perf_counter()
        torch.mm(left, right)
        wait()
        seconds.append(time.perf_counter() - began)
    return {"TFLOP/s": 2 * size**3 / min(seconds[1:]) / 1e12}


def training(place: Place, who: str, text: str, *flags: str) -> dict[str, float]:
    """Return the rates of a real Trainer, and what its real tokens need at 6 operations a weight and token."""
    from benchmarks import peers

    words = [*place.flags, "--max_seq_length", str(LENGTHS[text]), *flags]
    one = peers.contender(who, place.folder / text, *words, model=str(place.folder / "model"))
    steps = 2 if place.tiny else 30
    rows = peers.training_rate(one, steps)
    tokens = rows * sum(one.train["length"]) / len(one.train)
    weights = sum(p.numel() for name, p in one.trainer.model.named_parameters() if "layer" in name and p.ndim == 2)
    return {"examples/s": rows, "real tokens/s": tokens, "useful TFLOP/s": tokens * 6 * weights / 1e12}


def whole_run(place: Place) -> dict[str, float]:
    """Return the seconds of run_classification.py --task cola, of training alone and from command to end."""
    output, steps = place.folder / "runs" / "cola", ["--max_steps", "2"] if place.tiny else []
    began = time.monotonic()
    script(place, output, *steps)
    whole = time.monotonic() - began
    train = json.loads((output / "train_results.json").read_text(encoding="utf-8"))
    return {"seconds of training": train["train_runtime"], "seconds from command to end": whole}


def killed_run(place: Place, precision: str) -> dict[str, Any]:
    """Return how far a killed and resumed run is from one that nobody killed, beside two that nobody killed.

    On a GPU some sums have no fixed order, so two runs may differ as well.
    """
    runs = [place.folder / "runs" / f"{precision}-{name}" for name in ("whole", "again", "killed")]
    save, steps = (1, 4) if place.tiny else (40, 120)
    flags = ["--precision", precision, "--max_steps", str(steps), "--save_strategy", "steps", "--save_steps", str(save)]
    for run in runs[:2]:
        script(place, run, *flags)
    process = subprocess.Popen(command(place, runs[2], *flags), cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(runs[2].glob("checkpoint-*")):
        time.sleep(0.02)
    process.kill()
    process.wait()
    script(place, runs[2], *flags, "--resume", "must")
    last = f"checkpoint-{steps}"
    return {
        "largest difference of two runs": farthest(runs[0], runs[1]),
        "largest difference of a resumed run": farthest(runs[0], runs[2]),
        "checkpoint has a loss scale": (runs[2] / last / "scaler.pt").exists(),
    }


def farthest(first: Path, second: Path) -> float:
    """Return the largest difference between the weights of two runs."""
    from safetensors.torch import load_file

    ours, its = (load_file(folder / "model.safetensors") for folder in (first, second))
    return max(float((ours[name] - its[name]).abs().max()) for name in ours)


def command(place: Place, output: Path, *flags: str) -> list[str]:
    """Return the command that trains on the rows of CoLA's lengths."""
    words = ["--task", "cola", "--data_dir", place.folder / "CoLA", "--model_name_or_path", place.folder / "model"]
    words += ["--output_dir", output, "--disable_tqdm", "true", *place.flags, *flags]
    return [sys.executable, "run_classification.py", *map(str, words)]


def script(place: Place, output: Path, *flags: str) -> None:
    """Run that command to its end, which must be a good one; it has until the time is up, and a minute."""
    limit = max(0, place.end - time.monotonic()) + 60
    more = [] if "--resume" in flags else ["--overwrite_output_dir"]
    words = command(place, output, *flags, *more)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")


def wait() -> None:
    """Wait until the GPU has done what it was told."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
