"""Trainers to compare: ours with its defaults, and the plain Trainer with the values of configs/benchmarks/*.yaml."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from transformers import Trainer, TrainerCallback

from benchmarks.measure import OURS, WEIGHTS
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.data import dataset, tokenization
from bertlab.evaluation import evaluate
from bertlab.models import loading
from bertlab.training import collators
from bertlab.training.arguments import prepare_process, training_arguments
from bertlab.training.loss import loss_for
from bertlab.training.trainer import EncoderTrainer

PRESETS = Path(__file__).resolve().parent.parent / "configs" / "benchmarks"
# The names in tables, and the recipe of each.
PEERS = {
    "example scripts, defaults": PRESETS / "hf_defaults.yaml",
    "example scripts, bf16": PRESETS / "hf_bf16.yaml",
    "example scripts, best flags": PRESETS / "hf_best.yaml",
    "tutorials' loop": PRESETS / "tutorial_loop.yaml",
}
# Steps that are not timed: the first ones fill caches and start threads.
WARM_UP = 2

disable_progress_bars()
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@dataclass
class Contender:
    """Tokenized splits, and a trainer on them."""

    trainer: Trainer
    train: Dataset
    validation: Dataset
    pad_to: int | None


class _Clock(TrainerCallback):
    """Notes when the steps of these numbers ended, on a GPU too."""

    def __init__(self, *steps: int) -> None:
        self.ends = dict.fromkeys(steps, 0.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when a step ended."""
        if state.global_step in self.ends:
            if args.device.type == "cuda":
                torch.cuda.synchronize()
            self.ends[state.global_step] = time.perf_counter()


def contender(name: str, folder: Path, *words: str, model: str | None = None) -> Contender:
    """Return ours, or a peer by its name in PEERS, on GLUE's CoLA in `folder`, with more flags in `words`."""
    recipe = ["--task", "cola"] if name == OURS else ["--config", str(PEERS[name])]
    given = [*recipe, "--data_dir", str(folder), "--model_name_or_path", model or WEIGHTS, *words]
    given += ["--save_strategy", "no", "--disable_tqdm", "true", "--logging_steps", "1000000", "--report_to", "none"]
    given += ["--output_dir", tempfile.gettempdir()]
    parsed = parser.parse(given, (DataArguments, ModelArguments, RunArguments), "")
    data_args, model_args, run_args, training, invocation = parsed.unpack()
    config, tokenizer = loading.load_config(model_args), loading.load_tokenizer(model_args)
    loaded = dataset.load_splits(data_args, [], training=True, cache_dir=None, token=None)
    tokenized = tokenization.tokenize_splits(loaded, tokenizer, data_args)
    if name != OURS:  # as the example scripts keep it; Trainer counts tokens by it
        tokenized = {key: split.map(_attention_mask, batched=True) for key, split in tokenized.items()}
    args = training_arguments(training, run_args, loaded, invocation.given)
    prepare_process(args)
    classifier = loading.build_classifier(model_args, config, loaded.schema, tokenizer)
    collator = collators.PaddingCollator(tokenizer, data_args.max_seq_length, data_args.pad_to_max_length)
    common: dict[str, Any] = {
        "model": classifier,
        "args": args,
        "train_dataset": tokenized["train"],
        "data_collator": collator,
        "processing_class": tokenizer,
    }
    if name == OURS:
        loss = loss_for(loaded.schema, tokenized["train"], "none", args)
        trainer = EncoderTrainer(compute_loss_func=loss, run=run_args, **common)
    else:
        trainer = Trainer(**common)
    return Contender(trainer, tokenized["train"], tokenized["validation"], collator.pad_to)


def _attention_mask(batch: dict[str, Any]) -> dict[str, Any]:
    return {"attention_mask": [[1] * len(row) for row in batch["input_ids"]]}


def training_rate(one: Contender, steps: int) -> float:
    """Return training examples a second over `steps` steps after WARM_UP."""
    clock = _Clock(WARM_UP, WARM_UP + steps)
    one.trainer.add_callback(clock)
    one.trainer.args.max_steps = WARM_UP + steps
    one.trainer.train()
    one.trainer.remove_callback(clock)
    batch = one.trainer.args.train_batch_size
    return batch * steps / (clock.ends[WARM_UP + steps] - clock.ends[WARM_UP])


def evaluation_rate(one: Contender, rows: int) -> float:
    """Return rows a second from encoded rows to logits in their order, over `rows` rows drawn at random."""
    drawn = np.random.default_rng(0).permutation(len(one.validation))[:rows]
    split = one.validation.select(np.sort(drawn))
    began = time.perf_counter()
    logits(one, split)
    return len(split) / (time.perf_counter() - began)


def logits(one: Contender, split: Dataset) -> np.ndarray:
    """Return logits (rows, classes) in the order of a split, each trainer in its own way."""
    if isinstance(one.trainer, EncoderTrainer):
        return evaluate.predict_logits(one.trainer, split)
    return np.asarray(one.trainer.predict(split).predictions)
