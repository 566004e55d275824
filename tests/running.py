"""Runs of the classification script in this process, and what they leave behind."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

# Models this small are slower on several threads than on one.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
# Small, quiet and the same on every machine: no bf16 where the processor happens to have it.
QUIET: dict[str, Any] = {"precision": "fp32", "use_cpu": True, "disable_tqdm": True, "max_seq_length": 32}
_WORDS = "the a boy girl cat dog reads sleeps walks sang often never film story in on street night red small"
WORDS = _WORDS.split(" ")


def to_argv(settings: dict[str, Any]) -> list[str]:
    """Return settings as a command line; a list becomes several arguments, None is left out."""
    argv: list[str] = []
    for name, value in settings.items():
        if value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            argv += [f"--{name}", *(str(item).lower() if isinstance(item, bool) else str(item) for item in values)]
    return argv


@contextmanager
def drawing(enabled: bool) -> Iterator[None]:
    """Leave out plots, page and card unless `enabled`: they take longer than so small a run."""
    from bertlab.report import writer

    with pytest.MonkeyPatch.context() as patch:
        if not enabled:
            patch.setattr(writer, "_render", lambda *_: None)
        yield


def classify(output_dir: Path, *, drawn: bool = False, **settings: Any) -> int:
    """Run run_classification.py in this process, quietly on the CPU by default; return its exit status."""
    import run_classification

    with drawing(drawn):
        return run_classification.main(to_argv({**QUIET, "output_dir": output_dir, **settings}))


def predict(*argv: object) -> int:
    """Run `python -m bertlab predict` in this process and return its exit status."""
    from bertlab.__main__ import main

    return main(["predict", *map(str, argv)])


def subprocess_of(
    command: Sequence[object], cwd: Path = ROOT, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command with this interpreter's tools and the test's environment; None removes a variable."""
    changed = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=1800,  # ends a process that hangs; no machine is that slow
        check=False,
    )


def accelerate(*argv: object) -> list[object]:
    """Return the command `accelerate launch …` under this interpreter."""
    return [sys.executable, "-m", "accelerate.commands.launch", *argv]


def on_two_processes(script: object, *flags: object) -> list[object]:
    """Return the command that starts two CPU processes of a script, as configs/accelerate/cpu_2_processes.yaml says."""
    return accelerate("--config_file", "configs/accelerate/cpu_2_processes.yaml", script, *flags)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def results(folder: Path) -> dict[str, Any]:
    """Return all_results.json of a run."""
    return read_json(folder / "all_results.json")


def history(folder: Path, key: str) -> list[float]:
    """Return every value of `key` that a run logged, in order."""
    return [entry[key] for entry in read_json(folder / "trainer_state.json")["log_history"] if key in entry]


def predictions(folder: Path, split: str) -> list[dict[str, str]]:
    """Return the rows of predictions/<split>.tsv."""
    with (folder / "predictions" / f"{split}.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a run or a model's folder holds."""
    return load_file(folder / "model.safetensors")


def farthest(first: Path, second: Path) -> float:
    """Return the largest difference between two runs' weights."""
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def sentence(dice: random.Random, good: bool) -> str:
    """Return 3 to 19 words, one of which tells the class."""
    body = dice.choices(WORDS, k=dice.randint(2, 18))
    body.insert(dice.randrange(len(body)), "good" if good else "bad")
    return " ".join(body)


def labelled_sentences(rows: int, seed: int, names: Sequence[str] = ("bad", "good")) -> list[tuple[str, str]]:
    """Return rows of (text, label) whose classes alternate."""
    dice = random.Random(seed)
    return [(sentence(dice, bool(row % 2)), names[row % 2]) for row in range(rows)]


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refusal(action: Callable[..., Any], *args: object, **settings: object) -> str:
    """Return the one line with which a call is refused."""
    from bertlab.errors import UserError

    with pytest.raises(UserError) as caught:
        action(*args, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@contextmanager
def interrupted_after(step: int) -> Iterator[None]:
    """Press Ctrl-C in a run, once it has saved the checkpoint of a step."""
    from transformers import TrainerCallback

    def interrupt(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainerCallback, "on_save", interrupt)
        yield


def save_classifier(model: Path, folder: Path, **config: Any) -> Path:
    """Save a model with an untrained classification head, and its tokenizer; return the folder."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(model, **config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def variant(model: Path, folder: Path, **config: Any) -> Path:
    """Copy a model and change its configuration; max_position_embeddings and initializer_range give it new weights."""
    from transformers import AutoConfig, AutoModel

    shutil.copytree(model, folder)
    changed = AutoConfig.from_pretrained(folder)
    for name, value in config.items():
        setattr(changed, name, value)
    changed.save_pretrained(folder)
    if "max_position_embeddings" in config or "initializer_range" in config:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModel.from_config(changed).save_pretrained(folder)
        settings = read_json(folder / "tokenizer_config.json")
        settings["model_max_length"] = changed.max_position_embeddings
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
