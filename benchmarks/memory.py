"""How much memory a training step takes, and how long, with each of the ways to save some.

    python -m benchmarks.memory --data FOLDER

Each is a run of run_classification.py as a process of its own, in fp32, on made-up texts that fill 512 positions: few
steps, nothing saved but the end, nothing scored. Peak memory is that of the process, libraries included.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measure

ROOT = Path(__file__).resolve().parent.parent
WAYS: dict[str, list[str]] = {
    "plain": [],
    "--activation_checkpointing": ["--activation_checkpointing"],
    "--freeze_embeddings": ["--freeze_embeddings"],
    "--lora_rank 8": ["--lora_rank", "8"],
    "--lora_rank 8 --activation_checkpointing": ["--lora_rank", "8", "--activation_checkpointing"],
    "--freeze_encoder": ["--freeze_encoder"],
}
LENGTH, BATCH, STEPS = 512, 8, 4
WORDS = ("the", "a", "boy", "girl", "cat", "reads", "sleeps", "walks", "often", "never", "film", "story")


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    length = where.size(LENGTH, 32)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        texts = write_texts(Path(folder, "train.csv"), length)
        for turn in range(where.rounds):
            for number, (name, flags) in enumerate(WAYS.items()):
                measured[name].append(run(flags, texts, length, Path(folder, f"{number}-{turn}")))
    found: dict[str, Any] = {
        what: {name: measure.spread([one[what] for one in rounds]) for name, rounds in measured.items()}
        for what in ("peak MB", "seconds a step")
    }
    found["rows a step"], found["tokens a row"] = BATCH, length
    measure.write(where, "memory", found, rounds=where.rounds)
    return 0


def write_texts(path: Path, length: int) -> Path:
    """Write rows of two classes that are longer than every input."""
    dice = random.Random(0)
    rows = [f"{' '.join(dice.choices(WORDS, k=length))},{'ab'[row % 2]}" for row in range(BATCH * STEPS)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def run(flags: list[str], texts: Path, length: int, output: Path) -> dict[str, float]:
    """Train for a few steps in a process of its own; return its peak memory and the time of a step."""
    settings = {
        "train_file": texts,
        "model_name_or_path": measure.WEIGHTS,
        "max_seq_length": length,
        "per_device_train_batch_size": BATCH,
        "max_steps": STEPS,
        "precision": "fp32",
        "save_strategy": "no",
        "output_dir": output,
    }
    words = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    command = [sys.executable, "run_classification.py", *words, *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    told = json.loads((output / "run.json").read_text(encoding="utf-8"))
    return {"peak MB": told["peak_memory_mb"]["host"], "seconds a step": told["seconds"]["training"] / STEPS}


if __name__ == "__main__":
    sys.exit(main())
