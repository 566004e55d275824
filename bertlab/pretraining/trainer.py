"""Trainer, evaluation and controls of a next-sentence run, for each of its three objectives."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import EvalPrediction

from bertlab.cli.arguments import NspArguments, RunArguments
from bertlab.console import info
from bertlab.data.labels import NO_LABEL, SINGLE
from bertlab.evaluation import baselines, evaluate
from bertlab.evaluation.evaluate import SplitResult
from bertlab.pretraining import mlm
from bertlab.pretraining.baselines import frequency_baseline, overlap_baseline, sample_rows, say_if_flipped
from bertlab.pretraining.mlm import NSP_LOGITS
from bertlab.training.collators import PaddingCollator
from bertlab.training.loss import ExactLoss
from bertlab.training.trainer import EncoderTrainer, longest_first, metrics_during_training

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

    from bertlab.data.dataset import Data

Tokenized = dict[str, "Dataset"]
Controls = dict[str, tuple[dict[str, np.ndarray], str]]


def build_trainer(
    nsp: NspArguments,
    run: RunArguments,
    args: "TrainingArguments",
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    tokenized: Tokenized,
    data: "Data",
) -> EncoderTrainer:
    """Return the trainer of an objective: the classifier's own for next sentences, one with masking for words."""
    pad = PaddingCollator(tokenizer, nsp.fixed_length)
    common: dict[str, Any] = {
        "model": model,
        "args": args,
        "train_dataset": tokenized[data.train] if data.train and args.do_train else None,
        "processing_class": tokenizer,
        "run": run,
    }
    eval_split = longest_first(tokenized.get(data.eval_split or ""))
    if nsp.objective == "nsp":
        loss = ExactLoss(SINGLE, label_smoothing=args.label_smoothing_factor)
        return EncoderTrainer(
            eval_dataset=eval_split,
            data_collator=pad,
            compute_loss_func=loss,
            compute_metrics=metrics_during_training(data.schema, data.metrics, loss.of_rows),
            **common,
        )
    if common["train_dataset"] is not None:
        common["train_dataset"] = mlm.with_mask_rows(common["train_dataset"])
    mask = mlm.TokenMasker(tokenizer, nsp.mlm_probability, nsp.whole_word_masking)
    args.label_names, args.remove_unused_columns = ["labels"], False
    return mlm.PretrainingTrainer(
        eval_dataset=None if eval_split is None else mlm.with_mask_seeds(eval_split, nsp.split_seed),
        data_collator=mlm.MaskingCollator(pad, mask, "nsp" in nsp.objective, args.seed),
        compute_loss_func=mlm.PretrainingLoss(),
        compute_metrics=_pretraining_metrics(nsp, data),
        **common,
    )


def evaluate_objective(
    nsp: NspArguments, trainer: EncoderTrainer, tokenized: Tokenized, data: "Data", names: Sequence[str | None]
) -> list[SplitResult]:
    """Return what the model says about the named splits, in the order of their pairs."""
    wanted = tuple(name for name in names if name)
    if nsp.objective == "nsp":
        loss = ExactLoss(SINGLE, label_smoothing=trainer.args.label_smoothing_factor)
        return evaluate.evaluate_splits(trainer, tokenized, data, wanted, loss.of_rows)
    return [_evaluate_pretraining(nsp, trainer, tokenized[name], data, name) for name in wanted]


def evaluate_trained(
    nsp: NspArguments, trainer: EncoderTrainer, tokenized: Tokenized, data: "Data", names: Sequence[str]
) -> list[SplitResult]:
    """Return what `evaluate` does of the splits to report on, with the control of masked words beside it."""
    results = evaluate_objective(nsp, trainer, tokenized, data, names)
    if data.train and nsp.objective != "nsp":
        for result in results:
            result.metrics.update(_frequency_baseline(trainer, tokenized[data.train], tokenized[result.name]))
    return results


def _frequency_baseline(trainer: EncoderTrainer, train: "Dataset", split: "Dataset") -> dict[str, float]:
    """Return what token frequencies alone score on masked words, from samples of both splits."""
    tokenizer: Any = trainer.processing_class
    seen, asked = (rows.select(sample_rows(len(rows)))["input_ids"][:] for rows in (train, split))
    return frequency_baseline(seen, asked, tokenizer.all_special_ids, len(tokenizer))


def compute_baselines(
    nsp: NspArguments,
    trainer: EncoderTrainer,
    tokenized: Tokenized,
    data: "Data",
    names: Sequence[str],
    has_pretrained_head: bool,
) -> Controls:
    """Return the predictions of majority, word overlap and the model before training, for the splits to report on."""
    if "nsp" not in nsp.objective or not names or data.train is None:
        return {}
    labels = np.asarray(tokenized[data.train]["labels"][:])
    rows = {name: len(tokenized[name]) for name in names}
    majority = {name: baselines.majority_baseline(labels, n) for name, n in rows.items()}
    sample = data.splits[data.train].select(sample_rows(len(labels)))
    overlap, how = overlap_baseline(
        data.read(sample[:]), np.asarray(sample["labels"][:]), {name: data.texts(name) for name in names}
    )
    found: Controls = {
        "majority": (majority, "always the most frequent training class"),
        "word_overlap": (overlap, how),
    }
    if trainer.is_fsdp_enabled:
        info("under FSDP the model is not scored before training: it is sharded only together with an optimizer.")
        return found
    untrained = {result.name: result for result in evaluate_objective(nsp, trainer, tokenized, data, names)}
    _forget_evaluation(trainer)
    kind = "pretrained" if has_pretrained_head else "new, untrained"
    if has_pretrained_head:
        for result in untrained.values():
            say_if_flipped(result.predictions, np.asarray(result.labels))
    found["zero_shot"] = (
        {name: result.predictions for name, result in untrained.items()},
        f"this model before training, with a {kind} next-sentence head",
    )
    return found


def _forget_evaluation(trainer: EncoderTrainer) -> None:
    """Give back the model as it was before it was evaluated.

    Evaluation marks it as prepared. Training then leaves it unwrapped, and processes do not share their gradients.
    """
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    model._is_accelerate_prepared = False
    trainer.accelerator.free_memory()
    trainer.model = trainer.model_wrapped = model


def _pretraining_metrics(nsp: NspArguments, data: "Data") -> Callable[[EvalPrediction], dict[str, float]]:
    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        statistics = np.asarray(prediction.predictions)
        scores = mlm.mlm_scores(statistics)
        scores["loss"] = float(np.log(scores["perplexity"]))
        if "nsp" in nsp.objective:
            labels = np.asarray(prediction.label_ids)[:, 0]
            loss = ExactLoss(SINGLE).of_rows
            found = evaluate.compute_metrics(data.schema, data.metrics, statistics[:, NSP_LOGITS], labels, loss)
            scores = {**scores, **found, "loss": scores["loss"] + found["loss"]}
        return scores

    return compute_metrics


def _evaluate_pretraining(
    nsp: NspArguments, trainer: EncoderTrainer, split: "Dataset", data: "Data", name: str
) -> SplitResult:
    started = time.perf_counter()
    order = np.argsort(-np.asarray(split["length"][:]), kind="stable")
    seeded = mlm.with_mask_seeds(split, nsp.split_seed)
    statistics = np.zeros((len(split), 5), dtype=np.float32)
    statistics[order] = trainer.predict(seeded.select(order)).predictions
    seconds = time.perf_counter() - started
    logits = statistics[:, NSP_LOGITS]
    labels = np.asarray(split["labels"][:]) if "nsp" in nsp.objective else None
    metrics: dict[str, float] = (
        {} if labels is None else evaluate.compute_metrics(data.schema, data.metrics, logits, labels)
    )
    metrics.update(mlm.mlm_scores(statistics))
    metrics.update(runtime=seconds, samples_per_second=len(split) / seconds)
    prefix = evaluate.metric_prefix(name, data)
    predictions = logits.argmax(axis=1) if labels is not None else np.full(len(split), NO_LABEL)
    return SplitResult(name, prefix, logits, predictions, labels, metrics, has_predictions=labels is not None)
